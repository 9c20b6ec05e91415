"""Start-up time of the commands, on a warm disk.

    python benchmarks/bench_startup.py [--repeats 7]

Prints the median wall time of each command, of a bare Python interpreter and of importing
TensorFlow, all in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

import environment

from electra_zh.commands import COMMANDS as ALL_COMMANDS

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import tensorflow": [sys.executable, "-c", "import tensorflow"],
    "electra-zh --help": [sys.executable, "-m", "electra_zh", "--help"],
    **{
        f"electra-zh {name} --help": [sys.executable, "-m", "electra_zh", name, "--help"]
        for name in ALL_COMMANDS
    },
    "electra-zh pretrain (unknown recipe)": [
        *(sys.executable, "-m", "electra_zh", "pretrain"),
        *("--config", "nowhere", "--data", "nowhere", "--output", "nowhere"),
    ],
}


def main() -> None:
    """Runs every command in turn, `--repeats` times, and prints the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    environment.add_flags(parser)
    args = parser.parse_args()
    print(environment.header())
    repeats = 1 if args.quick else args.repeats
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats + 1):
        for name, command in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run(command, capture_output=True, check=False)
            seconds[name].append(time.perf_counter() - start)
    print(f"{'command':40s} {'median s':>9s} {'worst s':>9s}")
    for name, times in seconds.items():
        warm = times[1:]  # the first round warms the disk
        print(f"{name:40s} {statistics.median(warm):9.3f} {max(warm):9.3f}")
    figures = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    environment.record(args.json, "start-up", sys.argv, figures)


if __name__ == "__main__":
    main()
