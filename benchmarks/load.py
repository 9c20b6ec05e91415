"""Large and odd corpora, and long runs: peak memory, threads and open files of the real commands.

    python benchmarks/load.py [--cases NAME ...] [--gigabytes 5] [--steps 20000]

Every case is generated. Memory is that of the command with its processes (RSS, sampled); a case
fails if the command does, or if the memory is above its limit. For a run, the figures are those
after a quarter, a half, three quarters and all of its steps: they must not grow. Seconds are those
of the clock and of processors.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

_CHARACTERS = "".join(chr(0x4E00 + index) for index in range(2000))
_LIMIT = 1000  # MB of memory for build-data and clean, with two processes
_GROWTH = 1.05  # of the memory of a run
_SAMPLES = 40


class Usage(NamedTuple):
    """Use of a process and its children."""

    seconds: float  # since the start
    processor: float  # seconds of processors, of the command with its processes; 0 before its end
    megabytes: float
    threads: int
    files: int
    lines: int  # of the log of a run, `metrics.jsonl`


def _line(generator: random.Random, length: int) -> str:
    return "".join(generator.choices(_CHARACTERS, k=length)) + "。\n"


def _write_large(folder: Path, *, gigabytes: float) -> None:
    generator = random.Random(0)
    # 4 MB of lines in new orders. Each begins with its number: `clean` removes lines that occur in
    # over 100 documents.
    lines = [_line(generator, generator.randint(20, 120)) for _ in range(20_000)]
    numbers = map("".join, itertools.product(_CHARACTERS, repeat=3))
    for number in range(max(1, int(gigabytes * 1000 / 100))):
        with (folder / f"{number}.txt").open("w", encoding="utf-8") as file:
            while file.tell() < 100e6:
                sample = zip(numbers, generator.sample(lines, 1000), strict=False)
                file.write("".join(map("".join, sample)) + "\n")


def _write_long_line(folder: Path) -> None:
    generator = random.Random(0)
    (folder / "a.txt").write_text(
        _line(generator, 17_000_000) + "\n" + _line(generator, 100), encoding="utf-8"
    )


def _write_long_document(folder: Path) -> None:
    generator = random.Random(0)
    text = "".join(_line(generator, 40) for _ in range(100_000))
    (folder / "a.txt").write_text(text, encoding="utf-8")


def _write_empty_lines(folder: Path) -> None:
    text = _line(random.Random(0), 40)
    (folder / "a.txt").write_text(text + "\n" * 1_000_000 + text, encoding="utf-8")


def _write_many_files(folder: Path) -> None:
    generator = random.Random(0)
    for number in range(20_000):
        path = folder / f"{number % 100}" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        text = "".join(_line(generator, 40) for _ in range(3))
        path.write_text(text, encoding="utf-8")


def _tree(pid: int) -> list[int]:
    """Returns a process and its descendants."""
    found = [pid]
    for each in found:
        path = Path(f"/proc/{each}/task/{each}/children")
        found += map(int, path.read_text().split()) if path.exists() else []
    return found


def _usage(pid: int, start: float, log: Path) -> Usage:
    pages = threads = files = 0
    for each in _tree(pid):
        try:
            pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
            threads += len(os.listdir(f"/proc/{each}/task"))
            files += len(os.listdir(f"/proc/{each}/fd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    lines = log.read_bytes().count(b"\n") if log.exists() else 0
    return Usage(time.monotonic() - start, 0.0, megabytes, threads, files, lines)


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(words: Sequence[str], cwd: Path) -> list[Usage]:
    """Runs a command; returns its use, sampled every 0.1 s."""
    start, used, found = time.monotonic(), _processor_seconds(), []
    command = [sys.executable, "-m", "electra_zh", *words]
    with (cwd / "output.txt").open("w") as output:
        process = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=output)
        while process.poll() is None:
            found.append(_usage(process.pid, start, cwd / "run" / "metrics.jsonl"))
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(f"{words[0]} failed:\n{(cwd / 'output.txt').read_text()[-2000:]}")
    found.append(found[-1]._replace(processor=_processor_seconds() - used))
    return found


def _write_vocabulary(folder: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_CHARACTERS, "。"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def _report(what: str, used: Sequence[Usage]) -> None:
    """Prints the peak memory of a command; fails above the limit."""
    peak = max(each.megabytes for each in used)
    files = max(each.files for each in used)
    print(
        f"{what}, {used[-1].seconds:.0f} s, {used[-1].processor:.0f} s of processors, "
        f"peak {peak:,.0f} MB, at most {files} open files",
        flush=True,
    )
    if peak > _LIMIT:
        raise SystemExit(f"The limit is {_LIMIT:,} MB")


def _corpus(name: str, write: Callable[[Path], None], folder: Path) -> None:
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    write(corpus)
    _write_vocabulary(folder)
    size = sum(path.stat().st_size for path in corpus.rglob("*.txt"))
    build = ["build-data", "corpus", "--vocab", "vocab.txt", "--output", "data"]
    clean = ["clean", "corpus", "--output", "cleaned", "--min-document", "1"]
    for words in (build, clean):
        used = _run([*words, "--processes", "2"], folder)
        _report(f"{name}: {words[0]}, {size / 1e6:,.0f} MB", used)


def _build(folder: Path, *words: str) -> list[Usage]:
    """Builds the data of a document of 100,000 lines."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    _write_long_document(corpus)
    _write_vocabulary(folder)
    build = ["build-data", "corpus", "--vocab", "vocab.txt", "--output", "data"]
    return _run([*build, "--max-seq-length", "32", *words], folder)


def _pretrain(folder: Path, device: str, *, steps: int) -> list[Usage]:
    words = ["pretrain", "--config", "nano", "--data", "data", "--output", "run"]
    words += ["--device", device, "hidden_size=32", "embedding_size=32", "intermediate_size=64"]
    words += ["num_hidden_layers=1", "train_batch_size=4", "max_seq_length=32"]
    return _run([*words, f"num_train_steps={steps}", "save_checkpoints_steps=500"], folder)


def _many_shards(folder: Path) -> None:
    _report("many-shards: build-data", _build(folder, "--num-shards", "2000"))
    shards = len(list((folder / "data").glob("*-of-*")))
    _report(f"many-shards: pretrain of {shards:,} shards", _pretrain(folder, "cpu", steps=2000))


def _steps(device: str, folder: Path, *, steps: int) -> None:
    _build(folder)
    used = _pretrain(folder, device, steps=steps)
    print(
        f"{steps:,} steps on {device}, {used[-1].seconds:.0f} s, {used[-1].processor:.0f} s of "
        "processors: after a quarter, a half, three quarters and at the end",
    )
    lines = used[-1].lines
    found = [
        # The most of some samples: at its end a process has nothing.
        max(
            [each for each in used if each.lines >= lines * part // 4][:_SAMPLES],
            key=lambda each: each.megabytes,
        )
        for part in (1, 2, 3, 4)
    ]
    for each in found:
        print(f"  {each.megabytes:,.0f} MB, {each.threads} threads, {each.files} open files")
    if found[-1].megabytes > _GROWTH * found[0].megabytes:
        raise SystemExit("The memory of the run grows")


def main() -> None:
    """Runs the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="*", default=[])
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=20_000)
    words = parser.parse_args()
    corpora: dict[str, Callable[[Path], None]] = {
        "empty-lines": _write_empty_lines,
        "long-document": _write_long_document,
        "long-line": _write_long_line,
        "many-files": _write_many_files,
        "large": functools.partial(_write_large, gigabytes=words.gigabytes),
    }
    cases: dict[str, Callable[[Path], None]] = {
        name: functools.partial(_corpus, name, write) for name, write in corpora.items()
    }
    cases["many-shards"] = _many_shards
    for device in ("cpu", "pjrt:cpu"):
        cases[f"steps-{device}"] = functools.partial(_steps, device, steps=words.steps)
    for name in words.cases or cases:
        with tempfile.TemporaryDirectory() as folder:
            cases[name](Path(folder) / "case")


if __name__ == "__main__":
    main()
