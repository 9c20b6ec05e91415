"""The machine and the libraries of a measurement, and how measurements are written down."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from electra_zh import __version__, machine

_LIBRARIES = ("tensorflow", "numpy", "torch", "transformers", "tokenizers", "jieba", "rjieba")


def describe() -> dict[str, Any]:
    """Returns CPU, instruction sets, threads, load and versions of libraries."""
    found = machine.cpu()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "cpu": found.name,
        "instruction_sets": list(found.instruction_sets),
        "threads": machine.threads(),
        "load": round(os.getloadavg()[0], 1),
        "python": ".".join(map(str, sys.version_info[:3])),
        "electra-zh": __version__,
        **{name: version for name in _LIBRARIES if (version := _version(name))},
    }


def header() -> str:
    """Returns the line above every table."""
    facts = describe()
    sets = " ".join(facts.pop("instruction_sets"))
    load = facts.pop("load")
    quiet = "" if load <= 0.5 else f" (load {load}: not quiet)"
    cpu, threads = facts.pop("cpu"), facts.pop("threads")
    rest = ", ".join(f"{name} {value}" for name, value in facts.items())
    return f"{cpu} ({sets}), {threads} threads{quiet}; {rest}"


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that every benchmark has."""
    parser.add_argument("--quick", action="store_true", help="a short form, under three minutes")
    parser.add_argument("--json", default="", help="file to add the figures to")


def record(path: str, name: str, command: Sequence[str], figures: Any) -> None:
    """Adds the figures of a benchmark to a JSON file, with the command and the machine.

    Nothing is written without a path.
    """
    if not path:
        return
    file = Path(path)
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known[name] = {"command": " ".join(command), "machine": describe(), "figures": figures}
    file.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


class Usage(NamedTuple):
    """The cost of a process and its children."""

    seconds: float  # from start to end
    cpu: float  # processor time, that of the system and of children included
    memory: float  # MiB, the peak of the process


def run_measured(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> tuple[Usage, str]:
    """Runs a command and returns its cost and its standard output.

    Raises:
      SystemExit: it failed; the message is its standard error.
    """
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        environment = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, stdout=out, stderr=errors, env=environment)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        errors.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{errors.read()}")
        return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), out.read()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
