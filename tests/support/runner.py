"""Runs the commands in processes of their own, as a user does."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest import mock

from electra_zh import cli, machine
from support.faults import Fault, Faults

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


# Modules that take long to import.
_PRELOADED = (
    *("tensorflow", "tensorflow_text", "sklearn.metrics"),
    *("electra_zh.pretraining.run", "electra_zh.finetuning.run"),
)


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
    *words: str, cwd: Path | None = None, stdin: bytes = b"", fork: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs `electra-zh` in a process of its own and returns its exit code and output.

    The process is forked from one that has imported TensorFlow, which saves seconds per command;
    with `fork=False` it is a new interpreter, as a shell starts it. One that is forked does not see
    a changed environment.
    """
    if fork:
        return _run_forked(words, cwd, stdin=stdin)
    command = [sys.executable, "-m", "electra_zh", *words]
    result = subprocess.run(command, cwd=cwd, capture_output=True, check=False, input=stdin)
    return subprocess.CompletedProcess(
        result.args, result.returncode, result.stdout.decode(), result.stderr.decode()
    )


@dataclasses.dataclass(frozen=True)
class Blow:
    """An early end of a command: a fault in it, or a signal from outside after a time."""

    fault: Fault | None = None
    signal: int = 0
    seconds: float = 0.0


def struck(
    *words: str, cwd: Path, blow: Blow, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """Runs `electra-zh` in a process and deals it a blow; a signal's exit code is negative."""
    start = time.monotonic()
    return _run_forked(
        *(words, cwd),
        interrupt=lambda: bool(blow.signal) and time.monotonic() - start > blow.seconds,
        number=blow.signal,
        fault=blow.fault,
        timeout=timeout,
    )


def interrupted(
    *words: str, cwd: Path | None = None, when: Callable[[], bool]
) -> subprocess.CompletedProcess[str]:
    """Runs `electra-zh` and sends it SIGTERM as soon as `when` is true."""
    return _run_forked(words, cwd, interrupt=when)


def _run_forked(
    words: Sequence[str],
    cwd: Path | None,
    *,
    stdin: bytes = b"",
    interrupt: Callable[[], bool] | None = None,
    number: int = signal.SIGTERM,
    fault: Fault | None = None,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(stdin)
        arguments = (words, cwd or Path.cwd(), streams, fault)
        process = _server().Process(target=_command, args=arguments)
        process.start()
        try:
            while interrupt and number and process.is_alive() and not interrupt():
                time.sleep(0.005)
            if interrupt and number and process.is_alive() and process.pid:
                with contextlib.suppress(ProcessLookupError):  # It has ended since.
                    os.kill(process.pid, number)
            process.join(timeout=timeout)
        finally:
            process.kill()
        assert process.exitcode is not None, f"the command takes longer than {timeout} seconds"
        output = [path.read_text("utf-8") if path.exists() else "" for path in streams[1:]]
    return subprocess.CompletedProcess(words, process.exitcode, *output)


@functools.cache
def _server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    # As `electra_zh.commands.loading` does before the import.
    with mock.patch.dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3"):
        machine.set_up()
        forkserver.ensure_running()
    return context


def processor_seconds() -> float:
    """Returns the processor time of the commands that have ended."""
    _server()
    path = Path(f"/proc/{vars(forkserver._forkserver)['_forkserver_pid']}/stat")
    # Fields 16 and 17 of proc(5): its children and theirs, in user and in system mode.
    ticks = path.read_text().rpartition(")")[2].split()[13:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _command(words: Sequence[str], cwd: Path, streams: Sequence[Path], fault: Fault | None) -> None:
    """Runs a command in this process, which ends with it."""
    for number, path in enumerate(streams):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    os.chdir(cwd)
    # A shell starts its background jobs, tests too, with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["electra-zh", *words]
    if fault is not None:
        Faults(fault).install()
    cli.main()


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
