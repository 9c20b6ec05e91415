#!/usr/bin/env python3
"""Speed and memory of clean: the whole command, rule by rule.

    python benchmarks/bench_clean.py TEXT_FILE... [--rounds 5] [--evaluation FILE]

Each variant runs as a separate command, start-up included, in turns, so that a busy moment of the
machine affects all alike; figures are medians of the rounds. MB/s of processor time is the speed of
one otherwise idle core; the target is 10 with exact deduplication of documents and lines.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import environment

TARGET = 10.0
EXACT = "documents and lines, exact"


class Cost(NamedTuple):
    """Seconds by the clock and of the processors, and the most memory of a process in MB."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    """Runs the rounds and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--evaluation", help="file of evaluation data, for --decontaminate")
    environment.add_flags(parser)
    args = parser.parse_args()
    print(environment.header())
    args.rounds = 1 if args.quick else args.rounds
    size = sum(os.path.getsize(path) for path in args.text) / 1e6
    variants = {
        "the defaults": [],
        EXACT: ["--duplicate-lines", "20"],
        "nfkc": ["--unicode", "nfkc"],
        "to simplified": ["--to-simplified"],
        "near-duplicates 0.8": ["--near-duplicates", "0.8"],
        "zst": ["--compress", "zst"],
        f"{EXACT}, 2 processes": ["--duplicate-lines", "20", "--processes", "2"],
    }
    if args.evaluation:
        variants["decontaminate"] = ["--decontaminate", args.evaluation]
    runs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, flags in variants.items():
            runs[name].append(_run(args.text, flags))
    costs = {
        name: Cost(*(statistics.median(kind) for kind in zip(*each, strict=True)))
        for name, each in runs.items()
    }
    print(f"{size:.1f} MB of text, medians of {args.rounds} rounds\n")
    print(f"{'':40}{'s':>8}{'CPU s':>8}{'MB/s':>8}{'MB/CPU s':>10}{'MB held':>9}")
    for name, cost in costs.items():
        rates = f"{size / cost.wall:8.1f}{size / cost.cpu:10.1f}"
        print(f"{name:40}{cost.wall:8.2f}{cost.cpu:8.2f}{rates}{cost.memory:9.0f}")
    figures = {name: cost._asdict() for name, cost in costs.items()}
    environment.record(args.json, "clean", sys.argv, figures)
    print(f"\n{EXACT}: {size / costs[EXACT].cpu / TARGET:.1f} times the target of {TARGET:g} MB/s")


def _run(texts: list[str], flags: list[str]) -> Cost:
    processes = [] if "--processes" in flags else ["--processes", "1"]
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "cleaned")
        words = ["clean", *texts, "--output", output, *flags, *processes]
        start = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, "-m", "electra_zh", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert child.stderr is not None
        errors = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        if status:
            raise SystemExit(errors.decode())
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


if __name__ == "__main__":
    main()
