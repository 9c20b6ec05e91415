"""Completion: a script per shell, with the commands, their flags and their values."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from electra_zh.commands import COMMANDS, completion
from electra_zh.commands.command import Call
from electra_zh.commands.completion import SHELLS, Completion

ASK = """
source %s
COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
name=$(complete -p electra-zh | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$name electra-zh "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%%s\\n' "${COMPREPLY[@]}"
"""


def _script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert completion.completion(Call(Completion(shell), {}, dry_run=False)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = _script(shell, capsys)
    assert [name for name in COMMANDS if name not in script] == []
    assert "holdout-every" in script
    assert "small-hours" in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("electra-zh pre", ["pretrain", "predict"]),
        ("electra-zh pretrain --conf", ["--config"]),
        ("electra-zh pretrain --data a b --eval-d", ["--eval-data"]),
        ("electra-zh pretrain --config tiny", ["tiny", "tiny-hours"]),
        ("electra-zh finetune --task cmrc", ["cmrc2018"]),
        ("electra-zh convert run --to hu", ["huggingface"]),
        ("electra-zh inspect corp", ["corpus.txt"]),
    ],
)
def test_bash_completes(
    words: str, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "script").write_text(_script("bash", capsys), encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("")
    result = subprocess.run(
        ["bash", "-c", ASK % ("./script", words)], cwd=tmp_path, capture_output=True, text=True
    )
    assert result.stdout.split() == expected, result.stderr
