"""The command line: help, wrong usage, exit codes, one-line errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from electra_zh import cli, demo
from electra_zh.errors import UserError
from electra_zh.text.wordpiece import train as learn
from support.runner import electra

COMMANDS = (
    *("build-vocab", "build-data", "pretrain", "evaluate", "fill-mask", "detect", "demo"),
    *("tasks", "finetune", "predict", "submission"),
)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("build_tfrecords",)])
def test_help(command: tuple[str, ...]) -> None:
    result = electra(*command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith("usage: electra-zh")
    assert result.stderr == ""


def test_help_does_not_load_tensorflow() -> None:
    code = (
        "import sys; from electra_zh import cli; sys.argv = ['electra-zh', 'pretrain', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "assert not {'tensorflow', 'numpy', 'jieba'} & set(sys.modules), 'heavy import'"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretrian"], 'no command "pretrian". Did you mean "pretrain"?'),
        (["--bogus"], "error: unknown argument --bogus before the command. See `electra-zh"),
        (["--versoin"], 'before the command. Did you mean "--version"? See `electra-zh --help`.'),
        (["--output", "o", "clean", "x"], "unknown argument --output before the command"),
        (["-", "clean"], "unknown argument - before the command"),
        (["build-data"], "the following arguments are required: input, --vocab, --output"),
        (["demo", "--outptu", "x"], 'argument --outptu. Did you mean "--output"? See `electra-zh'),
        (["demo", "extra"], "unknown argument extra"),
        (["build-data", "a", "--vocab", "v", "--output", "o", "--seed", "x"], "invalid int value"),
        (
            ["pretrain", "--config", "tny", "--data", "d", "--output", "o"],
            'No pretrain recipe is named "tny". Did you mean "tiny"?',
        ),
        (
            ["pretrain", "--config", "tiny", "--data", "d", "--output", "o", "--mask_prob=1"],
            "unknown argument --mask_prob=1",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    words: list[str], message: str, tmp_path: Path
) -> None:
    result = electra(*words, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_flag_of_several_words_may_be_repeated() -> None:
    words = ["clean", "x", "--output", "o", "--decontaminate", "a", "b", "--decontaminate", "c"]
    assert cli._parse(["electra-zh", *words]).decontaminate == ["a", "b", "c"]
    words = ["finetune", "--model", "m", "--task", "t", "--data", "d", "--output", "o"]
    words += ["--grid", "a=1,2", "--grid", "b=3", "c=4"]
    assert cli._parse(["electra-zh", *words]).grid == ["a=1,2", "b=3", "c=4"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("old", "old is a folder; --output names the vocabulary file to write"),
        ("", "--output is empty; it names the vocabulary file to write"),
        ("corpus.txt/vocab.txt", "corpus.txt is a file, and must be a folder"),
        ("none/vocab.txt", "--output none/vocab.txt: none does not exist, and must be a folder"),
    ],
)
def test_a_vocabulary_s_name_is_checked_before_its_text_is_read(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "corpus.txt").write_text("天地玄黄\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(learn, "build_vocab", None)
    words = ["build-vocab", "corpus.txt", "--output", output, "--overwrite"]
    args = cli._parse(["electra-zh", *words])
    with pytest.raises(UserError, match=message):
        args.run(args)


def test_a_folder_to_write_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    message = r"thesis\.doc is a file; --output names a folder"
    with pytest.raises(UserError, match=message):
        demo.run(str(tmp_path / "thesis.doc"))
    words = ["convert", "m", "--to", "onnx", "--output", str(tmp_path / "thesis.doc" / "new")]
    args = cli._parse(["electra-zh", *words])
    with pytest.raises(UserError, match=message):
        args.run(args)


def test_no_command_shows_help() -> None:
    result = electra()
    assert result.returncode == 2
    assert "build-data" in result.stdout
