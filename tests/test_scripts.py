"""The scripts: their syntax, their dry runs, the commands they run, and a download that breaks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from electra_zh import cli
from electra_zh.commands import load_command
from electra_zh.finetuning import registry
from electra_zh.pretraining.config import resolve
from support.task_files import TASKS

SCRIPTS = Path(__file__).parents[1] / "scripts"
CALLS = {
    "continue_from_hfl.sh": "electra corpus tnews clue_data out num_train_steps=9 --device cpu",
    "download_clue.sh": "clue_data tnews afqmc",
    "reproduce_clue_tiny.sh": "corpus vocab.txt clue_data out tnews.num_train_epochs=1",
    "reproduce_finetune.sh": "run clue_data out --from-scratch",
    "reproduce_hfl_small.sh": "corpus vocab.txt hfl_data out train_batch_size=128",
    "reproduce_tiny.sh": "corpus vocab.txt out precision=bfloat16",
}


def _run(
    script: str, *words: str, cwd: Path, url: str = "file:///none"
) -> subprocess.CompletedProcess[str]:
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [str(SCRIPTS / script), *words],
        cwd=cwd,
        env={**os.environ, "PATH": tools, "CLUE_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_the_syntax_is_right_and_the_time_or_the_use_is_said(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text("utf-8")
    if text.startswith("#!"):
        assert os.access(script, os.X_OK)
        assert f"#   scripts/{script.name} " in text
        assert "set -euo pipefail" in text


@pytest.mark.parametrize("script", CALLS)
def test_a_script_says_its_time_and_shows_its_usage(script: str, tmp_path: Path) -> None:
    for words in ([], ["--help"]):
        result = _run(script, *words, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert f"  scripts/{script} [--dry-run] " in result.stderr
        assert any(unit in result.stderr for unit in ("minutes", "hour", "days"))
        assert "set -e" not in result.stderr


@pytest.mark.parametrize("script", CALLS)
def test_the_commands_of_a_dry_run_are_right_and_nothing_is_written(
    script: str, tmp_path: Path
) -> None:
    result = _run(script, "--dry-run", *CALLS[script].split(), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
    lines = [shlex.split(line.removeprefix("$ ")) for line in result.stdout.splitlines()]
    commands = [words[1:] for words in lines if words[0] == "electra-zh"]
    assert commands
    for name, *words in commands:
        call = cli.parse(name, words)  # an unknown flag or a setting that is given twice
        load_command(name)
        if name == "pretrain":
            settings = {each.partition("=")[0]: each.partition("=")[2] for each in words}
            known = {key: value for key, value in settings.items() if value and "/" not in value}
            known.pop("model", None)  # `source` is of pretrain, not of a recipe
            resolve(words[words.index("--config") + 1], known, vocab_size=99)
        if name == "finetune":
            assert registry.load(words[words.index("--task") + 1].split(","))
        assert call is not None


@pytest.fixture
def zips(tmp_path: Path) -> Path:
    """A folder with TNEWS as CLUE packs it, and a damaged zip."""
    shutil.make_archive(str(tmp_path / "zips" / "tnews_public"), "zip", TASKS / "tnews")
    whole = (tmp_path / "zips" / "tnews_public.zip").read_bytes()
    (tmp_path / "zips" / "afqmc_public.zip").write_bytes(whole[: len(whole) // 2])
    return tmp_path / "zips"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_a_download_is_unpacked_and_skipped_the_second_time(zips: Path, tmp_path: Path) -> None:
    for expected in ("tnews.part", "data/tnews is there already"):
        result = _run("download_clue.sh", "data", "tnews", cwd=tmp_path, url=f"file://{zips}")
        assert result.returncode == 0, result.stderr
        assert expected in result.stdout
        assert re.search(r"^tnews +classification +accuracy +tnews$", result.stdout, re.MULTILINE)
    assert [each.name for each in (tmp_path / "data").iterdir()] == ["tnews"]
    assert {each.name for each in (tmp_path / "data" / "tnews").iterdir()} == {
        each.name for each in (TASKS / "tnews").iterdir()
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize(
    ("name", "message"),
    [("afqmc", "damaged"), ("csl", "cannot be downloaded"), ("tnewz", "unknown zip tnewz. Known:")],
)
def test_a_download_that_fails_says_what_to_do(
    name: str, message: str, zips: Path, tmp_path: Path
) -> None:
    result = _run("download_clue.sh", "data", name, cwd=tmp_path, url=f"file://{zips}")
    assert result.returncode == (2 if name == "tnewz" else 1)
    assert message in result.stderr
    assert not (tmp_path / "data" / name).exists()
