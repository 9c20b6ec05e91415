#!/usr/bin/env python3
"""The exported step on an accelerator: equality with the CPU, speed, memory, and a peer.

    python benchmarks/bench_gpu.py prepare OUT [--steps tiny:128:128,small:128:128,base:128:128]
    python benchmarks/bench_gpu.py run OUT [--device gpu] [--seconds 5] [--json FILE]

`prepare` needs TensorFlow and no accelerator. It exports each step (model:length:batch, bfloat16,
and float32 for `nano`), and for `nano` the variables before and after TensorFlow's own step.

`run` needs JAX alone. It checks one step of `nano` against these numbers. Then it times each step:
sequences per second, the fraction of the device's own matrix ceiling (a product of 8192^3 in the
same run) and the memory. Variables and batches are made up. With PyTorch and transformers installed
the same step of theirs, compiled, runs in turn with ours, in a process of its own. All steps are
compiled side by side before the first is timed.
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
    for name in ["nano:64:16", *steps.split(",")]:
        model, length, batch = name.split(":")
        precision = "float32" if model == "nano" else "bfloat16"
        export(out / name.replace(":", "-"), model, int(length), int(batch), precision)


def export(folder: Path, model: str, length: int, batch: int, precision: str) -> None:
    """Exports one step."""
    from safetensors.numpy import save_file

    from electra_zh.pretraining.config import resolve
    from electra_zh.pretraining.programs.lower import lower_step
    from electra_zh.pretraining.run import PretrainStep
    from electra_zh.pretraining.state import TrainState
    from electra_zh.text.vocabulary import Vocabulary
    from electra_zh.training import loop

    vocab = NANO_VOCAB if model == "nano" else VOCAB
    values = {"train_batch_size": batch, "max_seq_length": length, "precision": precision}
    config = resolve(model, values, vocab_size=vocab).settings
    vocabulary = Vocabulary([*SPECIAL, *(f"t{i}" for i in range(vocab - len(SPECIAL)))])
    state = TrainState(config, vocabulary)
    program = lower_step(state)
    program.save(str(folder))
    if model == "nano":
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
    is_nano = (folder / "first").exists()
    first = load_file(folder / "first") if is_nano else make_variables(program)
    vocab = NANO_VOCAB if is_nano else VOCAB
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
    return 1e9 * bench_step.step_gflop(model)


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


class Peer:
    """The process that measures the speed of PyTorch on one step."""

    def __init__(self, folder: Path, seconds: float) -> None:
        command = [sys.executable, __file__, "peer", str(folder), "--seconds", str(seconds)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> str:
        """Returns the next line; empty if the process failed."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def rate(self) -> float | None:
        """Returns the sequences per second, and ends the process."""
        found, _ = self._process.communicate("\n")
        return float(found) if found else None


def timed(out: Path) -> list[Path]:
    """Returns the folders of the steps to time: all but nano's."""
    folders = sorted(path for path in out.iterdir() if path.is_dir())
    return [path for path in folders if not path.name.startswith("nano")]


def run(out: Path, name: str, seconds: float, size: int) -> dict[str, Any]:
    """Checks and times all prepared steps."""
    from electra_zh.runtime import device as devices

    has_peer = all(importlib.util.find_spec(each) for each in ("torch", "transformers"))
    peers = {folder: Peer(folder, seconds) for folder in timed(out) if has_peer}
    device = devices.choose(name, most=1, by_jax=True).found[0]
    results: dict[str, Any] = {"device": str(getattr(device, "device_kind", device))}
    (nano,) = out.glob("nano-*")
    results["equality"] = check(nano, device)
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
        found["peer_sequences_per_s"] = peers[folder].rate() if folder in peers else None
        print("peer:", found["peer_sequences_per_s"], flush=True)
        results[folder.name] = found
    return results


def main() -> None:
    """Prepares, or runs and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["prepare", "run", "peer"])
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
    results = run(args.out, args.device, args.seconds, args.size)
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
