"""The command that a step names at its end can be called as it is printed."""

from __future__ import annotations

import importlib.resources
import shlex
from pathlib import Path

import pytest

from electra_zh import cli
from electra_zh.commands import load_command


@pytest.mark.parametrize(
    ("call", "follows"),
    [
        ("clean INPUT --output OUT", "build-data OUT --vocab VOCAB --output DATA"),
        (
            "build-vocab VOCAB INPUT --output OUT --size 1500",
            "build-data VOCAB INPUT --vocab OUT --output DATA",
        ),
        (
            "build-data INPUT --vocab VOCAB --output OUT --max-seq-length 64 --holdout-every 9",
            "pretrain --config small --data OUT --eval-data OUT/heldout --output RUN "
            "max_seq_length=64",
        ),
        ("build-data INPUT --vocab VOCAB --output OUT", "pretrain --config small --data OUT "),
    ],
)
def test_a_step_names_the_next(
    call: str,
    follows: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = importlib.resources.files("electra_zh.sample").joinpath("heldout.txt").read_text("utf-8")
    Path("INPUT").write_text(text, encoding="utf-8")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    Path("VOCAB").write_text("\n".join([*special, *sorted({*text} - {*" \n"})]), encoding="utf-8")
    name, *words = call.split()
    assert load_command(name).run(cli.parse(name, words)) == 0
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("Next: ")]
    assert line.startswith(f"Next: electra-zh {follows}")
    _, _, name, *words = shlex.split(line)
    cli.parse(name, words)
