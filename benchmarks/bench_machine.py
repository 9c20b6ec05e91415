"""The settings of `electra_zh/machine.py`, each switched off: steps of 32 x 128 on this CPU.

    python benchmarks/bench_machine.py [--models nano,tiny] [--rounds 3] [--steps 10] [--quick]
        [--json FILE]

Each variant is a process with environment variables of the user, which win over the settings. They
take turns. Per step: seconds, processor time of the program and of the system, page faults; medians
of the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import environment
from bench_step import tensorflow_step

from electra_zh import machine

# As `machine.keep_freed_memory` sets it, but for its single arena.
ARENAS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
VARIANTS = {
    "as set up": {},
    "an arena per thread": ARENAS,
    "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"},
    # Any variable of glibc's allocator leaves it alone; this one has its default.
    "memory given back": {"MALLOC_MMAP_MAX_": "65536"},
    "without both": {"TF_ENABLE_ONEDNN_OPTS": "0", "MALLOC_MMAP_MAX_": "65536"},
    "all cores in each operation": {"TF_NUM_INTRAOP_THREADS": str(machine.threads())},
    "kernels of AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
}
FIGURES = ("seconds", "user", "system", "faults")


def work(model: str, precision: str, steps: int) -> dict[str, float]:
    """Returns the figures of a step in this process."""
    print(machine.set_up(), file=sys.stderr)
    step = tensorflow_step(model, precision)
    for _ in range(3):
        step()
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    for _ in range(steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    totals = (
        time.perf_counter() - start,
        after.ru_utime - before.ru_utime,
        after.ru_stime - before.ru_stime,
        after.ru_minflt - before.ru_minflt,
    )
    return {name: total / steps for name, total in zip(FIGURES, totals, strict=True)}


def main() -> None:
    """Measures the variants of each model in turn and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="nano,tiny")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    environment.add_flags(parser)
    args = parser.parse_args()
    if args.work:
        print(json.dumps(work(args.work, args.precision, args.steps)))
        return
    if args.quick:
        args.models, args.rounds, args.steps = "nano", 1, 5
    print(environment.header())
    for model in args.models.split(","):
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
        command = [sys.executable, __file__, "--work", model, "--precision", args.precision]
        for _ in range(args.rounds):
            for name, variables in VARIANTS.items():
                result = subprocess.run(
                    [*command, "--steps", str(args.steps)],
                    env={**os.environ, **variables},
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                )
                taken[name].append(json.loads(result.stdout.splitlines()[-1]))
        print(f"\n{model}, {args.precision}{'':20}" + "".join(f"{name:>10}" for name in FIGURES))
        figures = {
            name: {key: statistics.median(run[key] for run in runs) for key in FIGURES}
            for name, runs in taken.items()
        }
        for name, found in figures.items():
            print(f"  {name:28}" + "".join(f"{found[key]:10.4g}" for key in FIGURES))
        environment.record(args.json, f"machine {model}", sys.argv, figures)


if __name__ == "__main__":
    main()
