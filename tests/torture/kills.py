"""Kills commands at random moments and at their writes, and compares what they make in the end.

`make torture` runs the short mode; `make torture HOURS=n` repeats with new seeds for n hours. A
subject is run once untouched, and then in rounds: each round starts in an empty folder, kills every
command a few times, starts it again until it is done, and compares the outcome.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from electra_zh import files
from support.faults import Fault, changes
from support.runner import Blow, processor_seconds, struck
from torture.subjects import Outcome, Subject, make_corpus, make_data, subjects, train_run

_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_INTERRUPTED = 130
_ERRORS = {"ENOSPC": "full disk", "EDQUOT": "full quota"}
# A finished output is not made again.
_FINISHED = ("has finished data. Choose", "exists; choose another --output")


class Torture:
    """Rounds of one subject, and the number of kills by kind."""

    def __init__(self, subject: Subject, folder: Path, seed: int) -> None:
        self._subject, self._folder = subject, folder
        self._random = random.Random(f"{subject.name} {seed}")
        self.kills: Counter[str] = Counter()
        self._seconds: list[float] = []
        self._changes: list[int] = []
        self._expected = self._untouched()

    def _untouched(self) -> Outcome:
        folder = self._make("untouched")
        for words in self._subject.commands:
            start = time.monotonic()
            counted = Fault("count", count_file=str(folder / "changes"))
            self._run(words, folder, Blow(counted))
            self._changes.append(changes(folder))
            (folder / "changes").unlink(missing_ok=True)
            self._seconds.append(time.monotonic() - start)
        return self._subject.outcome(folder)

    def _make(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def round(self, number: int, *, kills: int) -> None:
        """Runs the commands in an empty folder, each after up to `kills` kills, and compares."""
        folder = self._make("round")
        for index, words in enumerate(self._subject.commands):
            for _ in range(kills):
                code = self._run(words, folder, self._blow(index, number))
                if code == 0:
                    break
            if code:
                self._run(words, folder, Blow())
        found = self._subject.outcome(folder)
        names = {*found, *self._expected}
        wrong = sorted(name for name in names if found.get(name) != self._expected.get(name))
        assert not wrong, f"{self._subject.name}, round {number}: other outcome of {wrong[:5]}"

    def _blow(self, index: int, number: int) -> Blow:
        """Returns a kill or a full disk at a change, in turn or any, or a signal after a time."""
        count = self._changes[index]
        if count and self._random.random() < 0.7:
            kind = self._random.choice(("kill", "kill", "kill", "kill", *_ERRORS))
            in_turn = number % count + 1 if self._random.random() < 0.5 else 0
            return Blow(Fault(kind, in_turn or self._random.randint(1, count)))
        seconds = self._random.uniform(0.0, 1.2 * self._seconds[index])
        return Blow(None, self._random.choice(_SIGNALS), seconds)

    def _run(self, words: Sequence[str], folder: Path, blow: Blow) -> int:
        result = struck(*words, cwd=folder, blow=blow)
        code, fault = result.returncode, blow.fault.kind if blow.fault else ""
        name = signal.Signals(blow.signal).name if blow.signal else "kill at a change"
        shown = f"{self._subject.name}: `{' '.join(words)}`, {blow}: exit code {code}\n"
        shown += result.stderr[-3000:]
        # Python drops an interruption inside a destructor or a callback of the garbage collector.
        dropped = result.stderr.count("Exception ignored in")
        # The signal may come before the command has a handler.
        begun = any(words in result.stderr for words in ("cli.py", "error:"))
        is_early = blow.signal > 0 and (code == -blow.signal or (code == 1 and not begun))
        assert is_early or result.stderr.count("Traceback") == dropped, shown
        if code == -signal.SIGKILL:
            inside = any(files.is_partial(path.name) for path in folder.glob("*/checkpoints/*"))
            self.kills["kill in a checkpoint" if inside else name] += 1
        elif code == _INTERRUPTED and blow.signal:
            assert "error: Interrupted" in result.stderr, shown
            self.kills[name] += 1
        elif any(words in result.stderr for words in _FINISHED):
            # The kill before came between the last change and the end of the process.
            return 0
        elif code == 1 and fault in _ERRORS:
            errors = [line for line in result.stderr.splitlines() if "error:" in line]
            assert len(errors) == 1, shown
            assert os.strerror(getattr(errno, fault)) in errors[0], shown
            self.kills[_ERRORS[fault]] += 1
        elif code:
            assert is_early, shown
        return code


def run(folder: Path, *, seed: int, names: list[str], until: float, short: bool) -> Counter[str]:
    """Tortures the subjects once, or with further rounds until a time; returns all kills."""
    total: Counter[str] = Counter()
    chosen = [each for each in subjects() if not names or each.name in names]
    for make in (make_corpus, make_data, train_run):
        make(folder / "job")
    for subject in chosen:
        start, used = time.monotonic(), processor_seconds()
        torture = Torture(subject, folder, seed)
        for number in range(subject.rounds):
            torture.round(number, kills=2 if short else 5)
        seconds, used = time.monotonic() - start, processor_seconds() - used
        kills = dict(torture.kills)
        print(f"{subject.name}: {kills}, {seconds:.0f} s, {used:.0f} of processors", flush=True)
        total += torture.kills
    while time.monotonic() < until:
        seed += 1
        for subject in chosen:
            torture = Torture(subject, folder, seed)
            torture.round(10**6, kills=5)
            total += torture.kills
    return total


def main() -> None:
    """Runs the torture; the exit code is 1 after a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=0.0, help="repeat for so long")
    parser.add_argument("--subjects", nargs="*", default=[], help="names, by default all")
    words = parser.parse_args()
    until = time.monotonic() + 3600 * words.hours
    with tempfile.TemporaryDirectory() as folder:
        short = not words.hours
        kills = run(Path(folder), seed=words.seed, names=words.subjects, until=until, short=short)
    full = sum(kills[name] for name in _ERRORS.values())
    print(
        f"{kills.total() - full} kills and {full} full disks: {dict(kills)}; "
        "every outcome is that of the untouched run; "
        f"{processor_seconds():.0f} s of processors"
    )


if __name__ == "__main__":
    main()
