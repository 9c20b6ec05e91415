r"""Fine-tunes pretrained models on the tasks of `lower_tasks.py`, by JAX without TensorFlow.

    python scripts/experiments/gpu/run_tasks.py FOLDER --output RESULTS.jsonl --seconds 300 \
        --models electra=RUNS/electra-{seed} masked-lm=OTHER/ckpt-6000 fresh --seeds 0,1,2 \
        --workers 6

A model is NAME=PATH, a safetensors file or the folder of one, such as a checkpoint; {seed} stands
for the seed of the trial, and seeds without a file have no trial. Or it is `fresh`, new random
weights. RESULTS gets one line per trial at its end: losses, seconds, and the outputs for dev after
each epoch, which `score_tasks.py` scores. Trials of the first seed are first, and those that
RESULTS has are skipped.

A step of a small model leaves a GPU waiting, so several workers share one. They overlap best under
CUDA MPS: start `nvidia-cuda-mps-control -d` first. The first worker compiles all programs side by
side, and the others read them from JAX's cache.
"""

from __future__ import annotations

import argparse
import base64
import functools
import json
import math
import multiprocessing
import os
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from safetensors.numpy import load_file

from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.programs.steps import Pending, TaskPrograms
from electra_zh.runtime.pjrt import find_devices
from electra_zh.runtime.program import StepProgram

_MANIFEST = "tasks.json"


def main() -> int:
    """Runs the trials."""
    arguments = _arguments()
    names = arguments.tasks or list(_manifest(arguments.folder)["tasks"])
    paths = dict(_pair(text) for text in arguments.models)
    done = {(x["model"], x["task"], x["seed"]) for x in read_results(arguments.output)}
    trials = _trials(paths, names, [int(seed) for seed in arguments.seeds.split(",")], done)
    # A part of the memory for each process.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.8 / arguments.workers:.3f}")
    setup = _Setup(arguments.folder, arguments.device, arguments.steps)
    with arguments.output.open("a") as file:
        queue = _Queue(setup, trials, names, file, arguments.seconds)
        with ThreadPoolExecutor(arguments.workers) as pool:
            for each in [pool.submit(queue.work, number) for number in range(arguments.workers)]:
                each.result()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--models", required=True, nargs="+", metavar="NAME=PATH")
    parser.add_argument("--tasks", type=lambda text: text.split(","), help="some of the tasks")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no trial begins after")
    parser.add_argument("--steps", type=int, help="cut the trials to this many, to try it out")
    parser.add_argument("--device", default="gpu", choices=("gpu", "cpu", "tpu"))
    parser.add_argument("--workers", type=int, default=1, help="processes that share the device")
    return parser.parse_args()


def _manifest(folder: Path) -> Any:
    return json.loads((folder / _MANIFEST).read_text())


def _pair(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    return name, path


class _Trial(NamedTuple):
    model: str
    path: Path | None  # of the weights; None for new ones
    task: str
    seed: int


def _trials(
    paths: Mapping[str, str], tasks: list[str], seeds: list[int], done: set[Any]
) -> list[_Trial]:
    """Returns the trials in order; seeds of a model without a file have none."""
    files = {
        (model, seed): _file(path.format(seed=seed)) if path else None
        for model, path in paths.items()
        for seed in seeds
    }
    for model, path in paths.items():
        missing = [seed for seed in seeds if path and files[model, seed] is None]
        if len(missing) == len(seeds):
            raise SystemExit(f"{model}: no weights in {path}")
        if missing:
            print(f"{model}: no weights of seed {', '.join(map(str, missing))}")
    return [
        _Trial(model, files[model, seed], task, seed)
        for seed in seeds
        for task in tasks
        for model, path in paths.items()
        if not (path and files[model, seed] is None) and (model, task, seed) not in done
    ]


def _file(path: str) -> Path | None:
    found = (Path(path), Path(path) / "model.safetensors")
    return next((each for each in found if each.is_file()), None)


class _Queue:
    """The trials, which workers take one after the other."""

    def __init__(
        self, setup: _Setup, trials: list[_Trial], tasks: list[str], file: TextIO, seconds: float
    ) -> None:
        self._setup, self._trials, self._tasks, self._file = setup, iter(trials), tasks, file
        self._start, self._seconds = time.monotonic(), seconds
        self._lock, self._compiled = threading.Lock(), threading.Event()

    def work(self, number: int) -> None:
        """Runs trials in a process until none is left, or no time; number 0 compiles first."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            process.submit(_open, self._setup).result()
            try:
                if number == 0:
                    process.submit(_compile, self._setup, self._tasks).result()
                    self._say("compiled")
            finally:
                if number == 0:
                    self._compiled.set()
            self._compiled.wait()
            while trial := self._next():
                self._write(trial, process.submit(_run, self._setup, trial).result())

    def _next(self) -> _Trial | None:
        with self._lock:
            trial = next(self._trials, None)
        if trial and time.monotonic() - self._start > self._seconds:
            self._say(f"no time for {trial.model} {trial.task} seed {trial.seed}")
            return None
        return trial

    def _write(self, trial: _Trial, line: Mapping[str, Any]) -> None:
        names = {"model": trial.model, "task": trial.task, "seed": trial.seed}
        with self._lock:
            self._file.write(json.dumps({**names, **line}) + "\n")
            self._file.flush()
        losses = ", ".join(f"{loss:.4f}" for loss in line["losses"])
        self._say(
            f"{trial.model} {trial.task} seed {trial.seed} in {line['seconds']:.1f} s, "
            f"loss by epoch {losses}"
        )

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._start:.0f} s: {text}", flush=True)


class _Setup(NamedTuple):
    """The folder, the device and the length of the trials."""

    folder: Path
    device: str
    steps: int | None


class _Opened(NamedTuple):
    manifest: Any
    device: Any
    tasks: dict[str, _Task]


@functools.cache
def _opened(setup: _Setup) -> _Opened:
    """Finds the device; once in each process."""
    device = find_devices(setup.device, most=1)[0]
    return _Opened(_manifest(setup.folder), device, {})


def _open(setup: _Setup) -> None:
    _opened(setup)


def _task(setup: _Setup, name: str) -> _Task:
    manifest, device, tasks = _opened(setup)
    if name not in tasks:
        tasks[name] = _Task(setup.folder / name, manifest["tasks"][name], device)
    return tasks[name]


def _compile(setup: _Setup, names: list[str]) -> None:
    """Compiles all programs side by side."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tasks = list(pool.map(functools.partial(_task, setup), names))
        calls = [call for task in tasks for call in task.compilations()]
        list(pool.map(lambda call: call(), calls))


def _run(setup: _Setup, trial: _Trial) -> dict[str, Any]:
    """Returns the result of a trial."""
    fresh = _opened(setup).manifest["fresh"]
    encoder = _read(trial.path, fresh) if trial.path else dict(_drawn(fresh, trial.seed))
    return _task(setup, trial.task).run(encoder, trial.seed, steps=setup.steps)


def read_results(path: Path) -> list[dict[str, Any]]:
    """Returns the lines of the results; a last one that is cut is skipped."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: skipped a line that is cut")
    return found


def read_rows(path: Path) -> EncodedSplit:
    """Returns the rows of a split as `lower_tasks.py` wrote them."""
    found = dict(np.load(path))
    per = {
        part: {k.partition("/")[2]: v for k, v in found.items() if k.startswith(f"{part}/")}
        for part in ("per_token", "per_group")
    }
    return EncodedSplit(
        found["ids"],
        np.cumsum(found["lengths"], dtype=np.int64),
        found["segments"],
        found["example"].astype(np.int64),
        int(found["group"]),
        **per,
    )


def _read(file: Path, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the weights of a pretrained encoder."""
    tensors = load_file(file)
    missing = [name for name in wanted if name not in tensors]
    if missing:
        raise SystemExit(f"{file}: {len(missing)} tensors are missing, first {missing[0]}")
    return {name: tensors[name] for name in wanted}


def _drawn(wanted: Mapping[str, Any], seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields new random weights."""
    for name, (shape, mean, deviation) in wanted.items():
        drawn = np.random.default_rng([seed, *name.encode()]).standard_normal(shape, np.float32)
        # Truncated, as the initializers are, and of the same deviation.
        yield name, mean + np.float32(deviation / 0.8796) * np.clip(drawn, -2, 2)


class _Task:
    """A task: its rows on the device and its compiled steps."""

    def __init__(self, folder: Path, entry: Mapping[str, Any], device: Any) -> None:
        self._entry = entry
        self._training = entry["task"]["training"]
        self._heads = dict(np.load(folder / "heads.npz"))

        def programs(kind: str, lengths: list[int], size: str, room: int) -> TaskPrograms:
            def load(length: int) -> StepProgram:
                return StepProgram.load(str(folder / f"{kind}-{length}"))

            batch_size = self._training[size]
            return TaskPrograms(load, lengths, [device], batch_size=batch_size, room=room)

        train, dev = read_rows(folder / "train.npz"), read_rows(folder / "dev.npz")
        size, lengths = self._training["eval_batch_size"], entry["lengths"]
        self._dev_plan = batches.evaluation_plan(dev, batch_size=size)
        self._variables = StepProgram.load(str(folder / f"train-{lengths[0]}")).variables
        self._steps = programs("train", lengths, "train_batch_size", entry["epoch_steps"])
        self._outputs = programs(
            "outputs", entry["output_lengths"], "eval_batch_size", len(self._dev_plan)
        )
        self._train, self._dev = self._steps.hold(train), self._outputs.hold(dev)

    def compilations(self) -> list[Any]:
        """Returns calls that compile the steps and the outputs."""
        return [
            *self._steps.compilations(self._train),
            *self._outputs.compilations(self._dev),
        ]

    def run(
        self, encoder: Mapping[str, Any], seed: int, *, steps: int | None = None
    ) -> dict[str, Any]:
        """Returns the result of a trial, of at most `steps` steps."""
        for compile_ in self.compilations():
            compile_()
        start = time.monotonic()
        state = self._first(encoder, seed)
        total, per_epoch = self._entry["num_train_steps"], self._entry["epoch_steps"]
        total = min(total, steps or total)
        losses, outputs = [], []
        for epoch in range(math.ceil(total / per_epoch)):
            plan = batches.training_plan(
                self._train.rows,
                batch_size=self._training["train_batch_size"],
                seed=seed,
                epoch=epoch,
                by_length=self._training["bucket_by_length"],
            )[: total - epoch * per_epoch]
            state, summed = self._steps.run(state, self._train, plan)
            losses.append(summed)
            outputs.append(self._outputs.run(state, self._dev, self._dev_plan)[1])
        means = [each.losses() / [len(groups) for groups in each.plan] for each in losses]
        return {
            "steps": total,
            "losses": [round(float(each.mean()), 5) for each in means],
            "first_losses": [round(float(each), 5) for each in means[0][:8]],
            "outputs": [_pack(self._collect(each)) for each in outputs],
            "seconds": round(time.monotonic() - start, 3),
        }

    def _collect(self, outputs: Pending) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        outputs.collect(found, self._dev.rows.groups)
        return found

    def _first(self, encoder: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Returns the variables before the first step, on the device."""
        numbers = {"step": np.int32(0), "seed": np.int32(seed)}
        state: dict[str, Any] = {}
        for info in self._variables:
            head = self._heads.get(f"{seed}/{info.name}")
            if info.name in numbers:
                state[info.name] = numbers[info.name]
            elif head is not None:
                state[info.name] = head
            elif info.name.startswith(("m/", "v/")):
                state[info.name] = np.zeros(info.shape, np.float32)
            elif info.name.startswith("heads/"):
                raise SystemExit(f"no head of seed {seed}: raise --trials of lower_tasks.py")
            else:
                state[info.name] = encoder[info.name]
        return self._steps.put(state)


class _Packed(NamedTuple):
    dtype: str
    shape: list[int]
    data: str


def _pack(outputs: Mapping[str, np.ndarray]) -> dict[str, _Packed]:
    """Returns outputs as text: the best label for probabilities, the best span of each window."""
    packed = {}
    for name, value in outputs.items():
        if "probabilities" in name:
            value = value.argmax(-1)
        if name in ("scores", "starts", "ends"):
            value = value[:, :1]
        if value.dtype.kind in "iu":
            value = value.astype(np.uint8 if value.max(initial=0) < 256 else np.int16)
        data = base64.b64encode(zlib.compress(value.tobytes(), 9)).decode()
        packed[name] = _Packed(value.dtype.name, list(value.shape), data)
    return packed


def unpack(values: tuple[str, list[int], str]) -> np.ndarray:
    """Returns an output of `_pack`."""
    dtype, shape, data = values
    return np.frombuffer(zlib.decompress(base64.b64decode(data)), dtype).reshape(shape)


if __name__ == "__main__":
    raise SystemExit(main())
