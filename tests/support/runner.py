"""Runs the commands in processes of their own, as a user does."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

# A run of milliseconds per step: 30 steps with three checkpoints and evaluations.
PRETRAIN = [
    *("pretrain", "--config", "nano", "--data", "data", "--eval-data", "data/heldout"),
    *("hidden_size=32", "embedding_size=16", "num_hidden_layers=1", "intermediate_size=64"),
    *("train_batch_size=8", "eval_batch_size=8", "max_seq_length=64", "num_train_steps=30"),
    *("num_warmup_steps=5", "log_steps=10", "save_checkpoints_steps=10"),
]


def with_changes(words: list[str], *changes: str) -> list[str]:
    """Returns the words of a command with other values: `--flag value` or `key=value`."""
    changed = {word.partition("=")[0] for word in changes if word.startswith("--") or "=" in word}
    kept = []
    for number, word in enumerate(words):
        flag = word if word.startswith("--") else words[number - 1]
        name = word.partition("=")[0] if "=" in word else flag
        if name not in changed:
            kept.append(word)
    return [*kept, *changes]


@dataclasses.dataclass(frozen=True)
class Job:
    """Folders and files of the job."""

    folder: Path
    corpus: Path
    vocab: Path
    data: Path
    heldout: Path
    run: Path


def electra(
    *words: str, cwd: Path | None = None, stdin: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Runs `electra-zh` and returns its exit code and output."""
    result = subprocess.run(
        [sys.executable, "-m", "electra_zh", *words],
        cwd=cwd,
        capture_output=True,
        check=False,
        input=stdin,
    )
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


def done(result: subprocess.CompletedProcess[str]) -> str:
    """Returns the output of a command, after checking that it succeeded."""
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    return result.stdout


def refused(result: subprocess.CompletedProcess[str], *, code: int = 1) -> str:
    """Returns the one line of a command that refused, after checking that it is one line."""
    assert result.returncode == code, result.stderr
    errors = [line for line in result.stderr.split("\n") if "error:" in line]
    assert len(errors) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return errors[0]
