"""Peak memory: build-data on a corpus and on several times the corpus, and pretraining.

    python benchmarks/bench_memory.py --vocab VOCAB TEXT [TEXT ...] [--times 4]

build-data's memory must not grow with the corpus: the same files are given once and as `--times`
copies. Pretraining runs a few steps of tiny and small at batch 32, length 128. Figures are the
peak resident size of the largest process, for build-data of all its processes together.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import environment

MIB = 1 << 20


def resident(pid: int) -> int:
    """Returns the resident bytes of a process and its descendants; 0 once it is gone."""
    total = 0
    try:
        with open(f"/proc/{pid}/statm") as file:
            total = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(word) for word in file.read().split()]
    except (OSError, IndexError):
        return total
    return total + sum(resident(child) for child in children)


def peak(command: list[str]) -> tuple[float, float]:
    """Runs a command and returns (peak MiB over its processes, seconds)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    highest = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, resident(process.pid))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    done.set()
    watcher.join()
    if status != 0:
        raise SystemExit(f"failed with {status}: {' '.join(command)}")
    return highest / MIB, time.perf_counter() - start


def main() -> None:
    """Measures build-data and pretraining and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--models", default="tiny,small")
    environment.add_flags(parser)
    args = parser.parse_args()
    print(environment.header())
    if args.quick:
        args.times, args.models = 1, "nano"
    figures: dict[str, float] = {}
    electra = [sys.executable, "-m", "electra_zh"]
    with tempfile.TemporaryDirectory() as folder:
        copies = Path(folder, "copies")
        copies.mkdir()
        for copy in range(args.times):
            for path in args.text:
                shutil.copy(path, copies / f"{copy}-{Path(path).name}")
        print(f"{'what':44s} {'peak MiB':>9s} {'seconds':>8s}")
        for name, inputs in (("corpus", args.text), (f"{args.times} x corpus", [str(copies)])):
            for processes in (1, 2):
                data = f"{folder}/{name.replace(' ', '-')}-{processes}"
                build = [*electra, "build-data", *inputs, "--vocab", args.vocab, "--output", data]
                mebibytes, seconds = peak([*build, "--processes", str(processes)])
                what = f"build-data, {name}, {processes} process(es)"
                print(f"{what:44s} {mebibytes:9.0f} {seconds:8.1f}")
                figures[what] = mebibytes
        for model in args.models.split(","):
            for precision in ("float32", "bfloat16"):
                run = f"{folder}/{model}-{precision}"
                pretrain = [*electra, "pretrain", "--config", model, "--data", data]
                settings = ["num_train_steps=12", "train_batch_size=32", f"precision={precision}"]
                mebibytes, seconds = peak([*pretrain, "--output", run, *settings])
                what = f"pretrain {model} {precision}, 12 steps"
                print(f"{what:44s} {mebibytes:9.0f} {seconds:8.1f}")
                figures[what] = mebibytes
    environment.record(args.json, "memory", sys.argv, figures)


if __name__ == "__main__":
    main()
