r"""Fine-tunes pretrained models on the tasks of `lower_tasks.py`, by JAX without TensorFlow.

    python scripts/experiments/gpu/run_tasks.py FOLDER --output RESULTS.jsonl --seconds 300 \
        --models electra=RUN/model.safetensors masked-lm=OTHER/ckpt-6000 fresh --seeds 0,1,2

A model is NAME=PATH, a safetensors file of a pretraining run or the folder of its checkpoint, or
`fresh`, new random weights. All programs are compiled side by side first. RESULTS gets one line per
trial at its end: losses, seconds, and the outputs for dev after each epoch, which `score_tasks.py`
scores. Trials of the first seed are first, and those that RESULTS has are skipped.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from electra_zh.finetuning.encoding import batches
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.programs.steps import Pending, TaskPrograms
from electra_zh.runtime.pjrt import find_devices
from electra_zh.runtime.program import StepProgram

_MANIFEST = "tasks.json"


def main() -> int:
    """Runs the trials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--models", required=True, nargs="+", metavar="NAME=PATH")
    parser.add_argument("--tasks", type=lambda text: text.split(","), help="some of the tasks")
    parser.add_argument("--seeds", default="0", help="comma-separated")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no trial begins after")
    parser.add_argument("--steps", type=int, help="cut the trials to this many, to try it out")
    parser.add_argument("--device", default="gpu", choices=("gpu", "cpu", "tpu"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    start = time.monotonic()
    device = find_devices(arguments.device, most=1)[0]
    manifest = json.loads((arguments.folder / _MANIFEST).read_text())
    names = arguments.tasks or list(manifest["tasks"])
    with ThreadPoolExecutor(arguments.threads) as pool:
        made = pool.map(
            lambda name: _Task(arguments.folder / name, manifest["tasks"][name], device), names
        )
        tasks = dict(zip(names, made, strict=True))
        calls = [call for task in tasks.values() for call in task.compilations()]
        for seconds in pool.map(_timed, calls):
            print(f"{time.monotonic() - start:.0f} s: compiled in {seconds:.0f} s", flush=True)
    models = _Models(dict(_pair(text) for text in arguments.models), manifest)
    done = {(x["model"], x["task"], x["seed"]) for x in read_results(arguments.output)}
    with arguments.output.open("a") as file:
        for model, task, seed in _order(models.names, names, arguments.seeds, done):
            if time.monotonic() - start > arguments.seconds:
                print("no time for the rest", flush=True)
                break
            line = tasks[task].run(models.weights(model, seed), seed, steps=arguments.steps)
            file.write(json.dumps({"model": model, "task": task, "seed": seed, **line}) + "\n")
            file.flush()
            losses = ", ".join(f"{loss:.4f}" for loss in line["losses"])
            print(
                f"{time.monotonic() - start:.0f} s: {model} {task} seed {seed} in "
                f"{line['seconds']:.1f} s, loss by epoch {losses}",
                flush=True,
            )
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, _, path = text.partition("=")
    return name, path


def _timed(call: Any) -> float:
    start = time.monotonic()
    call()
    return time.monotonic() - start


def _order(
    models: list[str], tasks: list[str], seeds: str, done: set[Any]
) -> Iterator[tuple[str, str, int]]:
    for seed in map(int, seeds.split(",")):
        for task in tasks:
            for model in models:
                if (model, task, seed) not in done:
                    yield model, task, seed


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


class _Models:
    """The pretrained encoders."""

    def __init__(self, paths: Mapping[str, str], manifest: Any) -> None:
        self.names, self._fresh = list(paths), manifest["fresh"]
        self._read_ones = {name: self._read(Path(path)) for name, path in paths.items() if path}

    def weights(self, name: str, seed: int) -> dict[str, np.ndarray]:
        """Returns the weights of an encoder; new ones depend on the seed."""
        return self._read_ones.get(name) or dict(self._drawn(seed))

    def _read(self, path: Path) -> dict[str, np.ndarray]:
        from safetensors.numpy import load_file

        file = path / "model.safetensors" if path.is_dir() else path
        tensors = load_file(file)
        missing = [name for name in self._fresh if name not in tensors]
        if missing:
            raise SystemExit(f"{file}: {len(missing)} tensors are missing, first {missing[0]}")
        return {name: tensors[name] for name in self._fresh}

    def _drawn(self, seed: int) -> Iterator[tuple[str, np.ndarray]]:
        for name, (shape, mean, deviation) in self._fresh.items():
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
