#!/usr/bin/env python3
"""The exported step on an accelerator: equality with the CPU, speed, memory, and a peer.

    python benchmarks/bench_gpu.py prepare OUT [--steps tiny:128:128,small:128:128,base:128:128]
    python benchmarks/bench_gpu.py run OUT [--device gpu] [--seconds 5] [--json FILE]
    python benchmarks/bench_gpu.py kernels OUT [--device gpu] [--seconds 5] [--json FILE]

`prepare` needs TensorFlow and no accelerator. It exports each step (model:length:batch, bfloat16,
and `nano:64:16` in float32), and for that the variables before and after TensorFlow's own step.

`run` needs JAX alone. It checks one step of `nano` against these numbers. Then it times each step:
sequences per second, the fraction of the device's own matrix ceiling (a product of 8192^3 in the
same run) and the memory. Variables and batches are made up. With PyTorch and transformers installed
the same step of theirs, compiled, runs in turn with ours, in a process of its own. All steps are
compiled side by side before the first is timed.

`kernels` compares each bfloat16 step with and without our kernels for GPUs: the losses of the first
steps, the gradients of the first, and the time of a step. It ends with a verdict, and with exit
code 1 if the numbers differ. On `pjrt:cpu` the kernels are interpreted, to test this script.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

VOCAB, NANO_VOCAB = 21128, 1000
_CALL = 32  # steps of a timed call
# With kernels and without: steps whose losses are compared, their largest relative difference, and
# that of the gradients of all weights. Few sampled tokens differ, where two are equally likely.
_FIRST, _LOSSES, _GRADIENTS = 4, 1e-3, 0.05
CHECKED = "nano:64:16"
STEPS = "tiny:128:256,small:128:256,base:128:256,base:512:64"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_batches(batch: int, length: int, vocab: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields one made-up batch again and again, int32 [B, L]."""
    ids = np.random.default_rng(0).integers(5, vocab, [batch, length]).astype(np.int32)
    ids[:, 0], ids[:, -1] = 2, 3
    segments = np.repeat([[0] * (length // 2) + [1] * (length - length // 2)], batch, 0)
    while True:
        yield {
            "input_ids": ids,
            "input_mask": np.ones_like(ids),
            "segment_ids": segments.astype(np.int32),
        }


def prepare(out: Path, steps: str) -> None:
    """Writes the programs, their first variables, and the numbers of TensorFlow for nano."""
    from electra_zh.runtime import lowering

    lowering.prepare()
    for name in [CHECKED, *steps.split(",")]:
        model, length, batch = name.split(":")
        folder, is_checked = out / name.replace(":", "-"), name == CHECKED
        export(folder, model, int(length), int(batch), is_checked=is_checked)


def export(folder: Path, model: str, length: int, batch: int, *, is_checked: bool) -> None:
    """Exports one step; `is_checked`: in float32, with TensorFlow's numbers."""
    from safetensors.numpy import save_file

    from electra_zh.pretraining.config import resolve
    from electra_zh.pretraining.programs.lower import lower_step
    from electra_zh.pretraining.run import PretrainStep
    from electra_zh.pretraining.state import TrainState
    from electra_zh.text.vocabulary import Vocabulary
    from electra_zh.training import loop

    vocab = NANO_VOCAB if model == "nano" else VOCAB
    precision = "float32" if is_checked else "bfloat16"
    values = {"train_batch_size": batch, "max_seq_length": length, "precision": precision}
    config = resolve(model, values, vocab_size=vocab).settings
    vocabulary = Vocabulary([*SPECIAL, *(f"t{i}" for i in range(vocab - len(SPECIAL)))])
    state = TrainState(config, vocabulary)
    program = lower_step(state)
    program.save(str(folder))
    if is_checked:
        save_file(read_variables(state), folder / "first")
        batches = make_batches(batch, length, vocab)
        sums = loop.make_inner_loop(PretrainStep(state).compiled(), batches)(1)
        save_file(read_variables(state), folder / "after")
        (folder / "loss").write_text(repr(float(sums.objective.loss)))
    print(f"{folder.name}: {program.size / 1e6:.1f} MB", flush=True)


def read_variables(state: Any) -> dict[str, np.ndarray]:
    """Returns the values of variables by name."""
    return {
        variable.name.partition(":")[0]: np.array(variable.numpy(), order="C")
        for variable in state.variables
    }


def make_variables(program: Any) -> dict[str, np.ndarray]:
    """Returns made-up weights, and zeros for the optimizer's variables."""
    generator = np.random.default_rng(0)
    return {
        info.name: np.zeros(info.shape, info.dtype)
        if info.name == "step" or info.name.endswith(("adam_m", "adam_v"))
        else 0.02 * generator.standard_normal(info.shape, np.float32)
        for info in program.all_variables
    }


def load_steps(folder: Path, device: Any) -> Any:
    """Returns the steps of a prepared folder on a device."""
    from safetensors.numpy import load_file

    from electra_zh.runtime.pjrt import PjrtSteps
    from electra_zh.runtime.program import StepProgram

    program = StepProgram.load(str(folder))
    batch, length = program.batch[0].shape
    is_checked = (folder / "first").exists()
    first = load_file(folder / "first") if is_checked else make_variables(program)
    vocab = NANO_VOCAB if folder.name.startswith("nano") else VOCAB
    batches = make_batches(batch, length, vocab)
    return PjrtSteps(program, first, batches, devices=[device])


def check(folder: Path, device: Any) -> dict[str, float]:
    """Compares one step from one state with TensorFlow's numbers."""
    from safetensors.numpy import load_file

    steps = load_steps(folder, device)
    expected_loss = float((folder / "loss").read_text())
    # The second of the sums is the total loss.
    loss = float(steps(1)[1])
    expected, found = load_file(folder / "after"), steps.state()
    worst = max(float(np.abs(found[name] - expected[name]).max()) for name in expected)
    result = {"loss": loss, "loss_of_tensorflow": expected_loss, "largest_difference": worst}
    print("one step of nano:", result, flush=True)
    return result


def median_rate(work: Callable[[], object], seconds: float) -> float:
    """Returns the median calls per second of repeated work."""
    work()
    times: list[float] = []
    while sum(times) < seconds:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times)


def ceiling(device: Any, seconds: float, size: int) -> float:
    """Returns the device's rate of bfloat16 matrix products, in FLOP/s."""
    import jax
    import jax.numpy as jnp

    x = jax.device_put(jnp.ones([size, size], jnp.bfloat16), device)
    product = jax.jit(lambda a: jax.lax.fori_loop(0, 10, lambda _, b: a @ b, a))
    return 10 * 2 * size**3 * median_rate(lambda: product(x).block_until_ready(), seconds)


def measure(folder: Path, steps: Any, seconds: float, peak: float) -> dict[str, Any]:
    """Times one step."""
    waited = steps.waited
    start = time.perf_counter()
    rate = _CALL * median_rate(lambda: steps(_CALL), seconds)
    waiting = (steps.waited - waited) / (time.perf_counter() - start)
    model, length, batch = folder.name.split("-")
    flops = matrix_flops(model, int(length), int(batch))
    memory = steps.compiled.memory_analysis()
    found = {
        "step": folder.name,
        "sequences_per_s": round(rate * int(batch), 1),
        "fraction_of_ceiling": round(rate * flops / peak, 3),
        "waiting_for_batches": round(waiting, 4),
        "temporary_GB": round(memory.temp_size_in_bytes / 1e9, 2),
        "state_GB": round(memory.alias_size_in_bytes / 1e9, 2),
    }
    print(json.dumps(found), flush=True)
    return found


def matrix_flops(model: str, length: int, batch: int) -> float:
    """Returns the floating-point operations of a step's matrix products."""
    import bench_step

    bench_step.BATCH, bench_step.LENGTH = batch, length
    bench_step.PREDICTIONS = int((0.15 + 0.005) * length)
    return 1e9 * bench_step.step_gflop(model, all_positions=False)


def serve_peer(folder: Path, seconds: float) -> None:
    """Compiles the same step of transformers by PyTorch in bfloat16, and times it when asked.

    Writes a line when it is compiled, and for each line that it reads the sequences per second.
    """
    import bench_step
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, length, batch = folder.name.split("-")
    bench_step.BATCH, bench_step.LENGTH = int(batch), int(length)
    bench_step.PREDICTIONS = int((0.15 + 0.005) * int(length))
    step = bench_step.torch_step(model, "bfloat16", compiled=True, device=device)

    def call() -> float:
        return float([step() for _ in range(_CALL)][-1].item())

    call()
    torch.cuda.empty_cache()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(round(_CALL * int(batch) * median_rate(call, seconds), 1), flush=True)


class Variant:
    """A process that measures the steps of another kind, when it is asked."""

    def __init__(self, what: str, folder: Path, *options: object) -> None:
        """Starts this script for a folder."""
        command = [sys.executable, __file__, what, str(folder), *map(str, options)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> str:
        """Returns the next line; empty if the process failed."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self) -> str:
        """Lets the process measure; returns the next line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.read()

    def end(self) -> str:
        """Lets the process measure for the last time; returns its lines."""
        return self._process.communicate("\n")[0]


def serve_kernels(out: Path, name: str, seconds: float, *, has_kernels: bool) -> None:
    """Compiles the steps with kernels or without, and runs and times each when asked."""
    from safetensors.numpy import save_file

    from electra_zh.runtime import device as devices

    device = devices.choose(name, most=1, by_jax=True).found[0]
    with ThreadPoolExecutor() as pool:
        steps = list(
            pool.map(lambda folder: compile_variant(folder, device, has_kernels), timed(out))
        )
    print("ready", flush=True)
    for folder, each, _ in zip(timed(out), steps, sys.stdin, strict=False):
        losses = [float(each(1)[1])]
        # The optimizer's first moments are the gradients, times a constant.
        moments = {name: value for name, value in each.state().items() if name.endswith("adam_m")}
        save_file(moments, folder / f"gradients-{int(has_kernels)}")
        losses += [float(each(1)[1]) for _ in range(_FIRST - 1)]
        rate = _CALL * median_rate(lambda each=each: each(_CALL), seconds)
        memory = each.compiled.memory_analysis().temp_size_in_bytes
        found = {"losses": losses, "ms": 1e3 / rate, "temporary_GB": memory / 1e9}
        print(json.dumps(found), flush=True)
        each.stop()


def compile_variant(folder: Path, device: Any, has_kernels: bool) -> Any:
    """Returns the compiled steps of a folder; what the compiler raises ends the process."""
    from electra_zh.runtime.compiling import compile_for_devices
    from electra_zh.runtime.kernels import Kernels
    from electra_zh.runtime.placement import Placement
    from electra_zh.runtime.program import StepProgram

    place = Placement.on([device], StepProgram.load(str(folder)))
    found = Kernels([device], interpret=device.platform == "cpu") if has_kernels else None
    lowered = place.lowered(found)
    if found is not None:
        print(f"{folder.name}: kernels {sorted(found.used)}", file=sys.stderr, flush=True)
        assert found.used, "no region of the step has a kernel"
    steps = load_steps(folder, device)
    steps.compiled = compile_for_devices(lowered, place.everywhere)
    return steps


def compare_kernels(out: Path, name: str, seconds: float) -> tuple[dict[str, Any], bool]:
    """Compares steps with kernels and without; returns the figures, and if the numbers agree."""
    options = ["--device", name, "--seconds", seconds]
    variants = [Variant("without-kernels", out, *options), Variant("with-kernels", out, *options)]
    start = time.perf_counter()
    if any(each.read() != "ready" for each in variants):
        print("VERDICT: a step does not compile, see above", flush=True)
        return {}, False
    print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    results: dict[str, Any] = {}
    for folder in timed(out):
        plain, ours = (json.loads(each.ask()) for each in variants)
        results[folder.name] = found = {
            "without": plain,
            "with": ours,
            "gradients": compare_gradients(folder),
            "losses": float(np.abs(np.divide(ours["losses"], plain["losses"]) - 1).max()),
            "speed": plain["ms"] / ours["ms"],
        }
        found["agrees"] = found["losses"] < _LOSSES and found["gradients"]["all"] < _GRADIENTS
        print(f"{folder.name}: {json.dumps(found)}", flush=True)
    for each in variants:
        each.end()
    agrees = all(found["agrees"] for found in results.values())
    speeds = ", ".join(f"{name} {found['speed']:.2f}" for name, found in results.items())
    is_faster = all(found["speed"] > 1 for found in results.values())
    print(
        f"VERDICT: the numbers {'agree' if agrees else 'DIFFER'}; the kernels are "
        f"{'faster' if is_faster else 'NOT faster'} (times as fast: {speeds})",
        flush=True,
    )
    return results, agrees


def compare_gradients(folder: Path) -> dict[str, Any]:
    """Returns the relative differences of the first gradients: of all, and the largest of one."""
    from safetensors.numpy import load_file

    plain, ours = (load_file(folder / f"gradients-{number}") for number in range(2))
    off = {name: float(np.linalg.norm(ours[name] - plain[name])) for name in plain}
    size = {name: float(np.linalg.norm(plain[name])) for name in plain}
    worst = max(off, key=lambda name: off[name] / (size[name] or np.inf))
    total, whole = (float(np.linalg.norm(list(each.values()))) for each in (off, size))
    return {"all": total / whole, "largest": off[worst] / size[worst], "of": worst}


def timed(out: Path) -> list[Path]:
    """Returns the folders of the steps to time: all but the one with TensorFlow's numbers."""
    folders = sorted(path for path in out.iterdir() if path.is_dir())
    return [path for path in folders if not (path / "first").exists()]


def run(out: Path, name: str, seconds: float, size: int) -> dict[str, Any]:
    """Checks and times all prepared steps."""
    from electra_zh.runtime import device as devices

    has_peer = all(importlib.util.find_spec(each) for each in ("torch", "transformers"))
    peers = {
        folder: Variant("peer", folder, "--seconds", seconds) for folder in timed(out) if has_peer
    }
    device = devices.choose(name, most=1, by_jax=True).found[0]
    results: dict[str, Any] = {"device": str(getattr(device, "device_kind", device))}
    results["equality"] = check(out / CHECKED.replace(":", "-"), device)
    start = time.perf_counter()
    steps = {folder: load_steps(folder, device) for folder in timed(out)}
    with ThreadPoolExecutor(len(steps)) as pool:
        list(pool.map(lambda each: each(_CALL), steps.values()))
    print(f"compiled in {time.perf_counter() - start:.0f} s", flush=True)
    peers = {folder: peer for folder, peer in peers.items() if peer.read() == "ready"}
    print(f"{len(peers)} peers ready in {time.perf_counter() - start:.0f} s", flush=True)
    peak = ceiling(device, seconds, size)
    results["ceiling_TFLOPs"] = round(peak / 1e12, 2)
    print("matrix ceiling, bfloat16:", results["ceiling_TFLOPs"], "TFLOP/s", flush=True)
    for folder, each in steps.items():
        found = measure(folder, each, seconds, peak)
        rate = peers[folder].end() if folder in peers else ""
        found["peer_sequences_per_s"] = float(rate) if rate else None
        print("peer:", found["peer_sequences_per_s"], flush=True)
        results[folder.name] = found
    return results


def main() -> None:
    """Prepares, or runs and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    served = ["peer", "with-kernels", "without-kernels"]
    parser.add_argument("what", choices=["prepare", "run", "kernels", *served])
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", default=STEPS, help="model:length:batch,...")
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--size", type=int, default=8192, help="of the product of the ceiling")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sys.path.insert(0, os.path.dirname(__file__))
    # PyTorch, in the same process, needs memory too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if args.what == "prepare":
        prepare(args.out, args.steps)
        return
    if args.what == "peer":
        serve_peer(args.out, args.seconds)
        return
    if args.what.endswith("-kernels"):
        has_kernels = args.what == "with-kernels"
        serve_kernels(args.out, args.device, args.seconds, has_kernels=has_kernels)
        return
    agrees = True
    if args.what == "kernels":
        results, agrees = compare_kernels(args.out, args.device, args.seconds)
    else:
        results = run(args.out, args.device, args.seconds, args.size)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if not agrees:
        sys.exit(1)


if __name__ == "__main__":
    main()
