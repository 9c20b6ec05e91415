"""The command line: help, wrong usage, exit codes, one-line errors."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from electra_zh import cli, demo, interrupts, messages
from electra_zh.commands import COMMANDS, load_command
from electra_zh.commands.command import Call, make_command_line
from electra_zh.errors import UserError
from electra_zh.messages import Style, width
from support.runner import electra


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("build_tfrecords",)])
def test_help(command: tuple[str, ...]) -> None:
    result = electra(*command, "--help", fork=False)
    assert result.returncode == 0
    assert result.stdout.startswith("usage: electra-zh")
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EACCES, "Permission denied: f. Change its permissions, or give another path"),
        (errno.ENOSPC, "No space left on device: f. Free some space, then run the same command ag"),
        (errno.EIO, "Input/output error: f"),
    ],
)
def test_an_error_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "f")

    monkeypatch.setattr(cli, "parse", fail)
    assert cli.run(["runs", "."]) == 1
    assert capsys.readouterr().err.startswith(f"electra-zh: error: {line}")


@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_no_line_of_the_help_is_wider_than_80_columns(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.run([*words, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert [line for line in lines if width(line) > 79] == []
    # Names such as build-data are not broken.
    assert [line for line in lines if line.endswith("-")] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_the_help_can_be_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name_of_input in ("new.txt", "texts.txt"):
        (tmp_path / name_of_input).write_text("")
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        command, *words = shlex.split(example.partition(" > ")[0])
        assert command == name
        cli.parse(name, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_one_style(name: str) -> None:
    parser = argparse.ArgumentParser()
    make_command_line(load_command(name), parser)
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or action.dest == "help":
            continue
        where = (name, action.option_strings or action.metavar)
        assert action.help, where
        assert not action.help.rstrip().endswith("."), where
        if action.nargs != 0:
            metavar = str(action.metavar)
            assert metavar.isupper() or metavar[0] in "{[" or "=" in metavar, (where, metavar)
        for bracket in re.findall(r"\(default[^)]*", action.help):
            assert bracket.startswith("(default: "), where


def test_the_list_of_commands_fits_80_columns() -> None:
    lines = electra("--help", fork=False).stdout.splitlines()
    assert max(map(len, lines)) < 80
    assert lines[-1] == "A first run, in minutes: electra-zh demo"
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["data:", "pretraining:", "tasks:", "reports:", "tools:"]


def test_messages_are_quiet_verbose_or_json() -> None:
    assert _call("tasks", "-q").common.style() == Style(quiet=True)
    assert _call("tasks", "-v", "--json-logs").common.style() == Style(verbose=True, as_json=True)
    with pytest.raises(SystemExit):
        _call("tasks", "-q", "-v")


@pytest.mark.parametrize(("flag", "level"), [("-q", "3"), ("-v", "0")])
def test_messages_of_native_libraries_are_hidden(
    flag: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    style = messages.style()
    assert cli.run(["tasks", flag]) == 0
    messages.start(style)
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == level


def test_help_does_not_load_large_libraries() -> None:
    code = (
        "import sys; from electra_zh import cli, commands\n"
        "for name in commands.COMMANDS:\n"
        "    try:\n        cli.run([name, '--help'])\n    except SystemExit:\n        pass\n"
        "    heavy = {'tensorflow', 'numpy', 'jieba'} & set(sys.modules)\n"
        "    assert not heavy, f'{name} imports {heavy}'"
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
        (["build-data"], "required settings are missing: INPUT, --output, --vocab. See `electra"),
        (["demo", "--outptu", "x"], 'argument --outptu. Did you mean "--output"? See `electra-zh'),
        (["demo", "extra"], "unknown argument extra: write a setting as key=value"),
        (["demo", "outptu=x"], 'unknown setting "outptu". Did you mean "output"? See `electra-zh'),
        (["demo", "--output", "a", "output=b"], "output is given twice, as --output and as output"),
        (
            ["build-data", "a", "--vocab", "v", "--output", "o", "--seed", "x"],
            "seed must be a whole number; received 'x'",
        ),
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
    assert _call(*words).settings.decontaminate == ("a", "b", "c")
    words = ["finetune", "--model", "m", "--task", "t", "--data", "d", "--output", "o"]
    words += ["--grid", "a=1,2", "--grid", "b=3", "c=4"]
    assert _call(*words).settings.grid == ("a=1,2", "b=3", "c=4")


def _call(*words: str) -> Call[Any]:
    return cli.parse(words[0], words[1:])


def test_overrides_are_passed_on_under_their_names() -> None:
    words = ["--model", "m", "--task", "t", "--data", "d", "--output", "o"]
    call = _call("finetune", *words, "--batch-size", "8", "tnews.seed=1", "training.dropout=0")
    assert call.overrides == {"train_batch_size": "8", "tnews.seed": "1", "dropout": "0"}


def test_an_override_may_be_of_one_phase() -> None:
    words = ("--data", "d", "--output", "o", "phases.long.mask_prob=0.2", "hidden_size=8")
    call = _call("pretrain", *words, "phases.long.model.hidden_dropout_prob=0")
    assert call.overrides == {
        "phases.long.mask_prob": "0.2",
        "hidden_size": "8",
        "phases.long.model.hidden_dropout_prob": "0",
    }
    call = _call("pretrain", "--data", "d", "--output", "o", "model=tiny", "--hidden-size", "8")
    assert call.overrides == {"model": "tiny", "hidden_size": "8"}


def test_settings_from_a_file_are_overridden_by_flags(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(
        "model: m\ntask: t\ndata: d\noutput: o\ntrials: 3\ntraining: {seed: 5}\n"
        "tnews.learning_rate: 1e-4\nlearning_rate: 2e-4\n"
    )
    call = _call("finetune", "--config", str(path), "--trials", "2", "learning_rate=3e-4")
    assert (call.settings.model, call.settings.trials) == ("m", 2)
    assert call.overrides == {"seed": 5, "learning_rate": "3e-4", "tnews.learning_rate": "1e-4"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("outptu: o\n", 'my.yaml: unknown setting "outptu". Did you mean "output"'),
        ("output: o\nmin_line: x\n", "my.yaml: min_line must be a whole number; received 'x'"),
        ("output: o\nmin_line: -1\n", "my.yaml: min_line must be at least 0; received -1"),
        ("processes: 1\nnum_processes: 2\n", "my.yaml: num_processes is given twice: remove one"),
    ],
)
def test_mistakes_in_a_file_name_the_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text(text)
    result = electra("clean", "x", "--config", "my.yaml", cwd=tmp_path)
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_error_of_memory_or_a_disk_advises_what_the_command_has() -> None:
    class ResourceExhaustedError(Exception):
        message = "OOM"

    errors = SimpleNamespace(
        OpError=ResourceExhaustedError,
        ResourceExhaustedError=ResourceExhaustedError,
    )
    sys_modules = {"tensorflow": SimpleNamespace(errors=errors)}
    with mock.patch.dict(sys.modules, sys_modules):
        for name, advice in (
            ("pretrain", "out of memory: OOM. Try a smaller train_batch_size."),
            ("predict", "out of memory: OOM. Try a smaller batch_size."),
            ("evaluate", "out of memory: OOM."),
        ):
            assert cli.device_message(ResourceExhaustedError(), load_command(name)) == advice
        error = ResourceExhaustedError()
        error.message = (
            "{{function_node __wrapped__SaveV2}} "
            "a.partial-5dc521a814af4d0484ebb1139cb31c77/x.index; "
            "No space left on device [Op:SaveV2]"
        )
        assert cli.device_message(error, load_command("pretrain")) == (
            "No space left on device: a/x.index. Free some space, then run the same command again"
        )


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("old", "old is a folder; --output names a file"),
        ("", "--output is empty; it names a file"),
        ("corpus.txt/vocab.txt", "corpus.txt is a file; it must be a folder"),
        ("none/vocab.txt", "--output none/vocab.txt: none does not exist; it must be a folder"),
    ],
)
def test_a_vocabulary_s_name_is_checked_before_its_text_is_read(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "corpus.txt").write_text("天地玄黄\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ["build-vocab", "corpus.txt", "--output", output, "--overwrite"]
    with pytest.raises(UserError, match=message):
        _call(*words)


def test_a_folder_to_write_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("mine")
    message = r"thesis\.doc is a file; --output names a folder"
    with pytest.raises(UserError, match=message):
        demo.run(str(tmp_path / "thesis.doc"))
    words = ["convert", "m", "--to", "onnx", "--output", str(tmp_path / "thesis.doc" / "new")]
    with pytest.raises(UserError, match=message):
        load_command("convert").run(_call(*words))


def test_no_command_shows_help() -> None:
    result = electra(fork=False)
    assert result.returncode == 2
    assert "build-data" in result.stdout


def test_an_interruption_that_a_library_turns_into_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = {number: signal.getsignal(number) for number in interrupts.SIGNALS}

    def load(name: str) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        raise TypeError

    monkeypatch.setattr(cli, "load_command", load)
    try:
        assert cli.run(["configs"]) == 130
        assert capsys.readouterr().err == "electra-zh: error: Interrupted.\n"
        # Another error is none.
        monkeypatch.setattr(cli, "load_command", mock.Mock(side_effect=TypeError))
        with pytest.raises(TypeError):
            cli.run(["configs"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_an_interruption_before_the_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "load_command", mock.Mock(side_effect=KeyboardInterrupt))
    assert cli.run(["configs"]) == 130
    assert capsys.readouterr().err == "electra-zh: error: Interrupted.\n"


def test_an_interruption_before_it_is_explained_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interrupts, "explained", mock.Mock(side_effect=KeyboardInterrupt))
    assert cli.run(["configs"]) == 130
    assert capsys.readouterr().err == "electra-zh: error: Interrupted.\n"
