"""Every command of README.md and docs/ is run; the file map is complete.

Commands that can be run dry are; the others are run as they are. All run in one process, in folders
with small substitutes for the files that the pages name.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from electra_zh import cli
from electra_zh.commands import COMMANDS, load_command
from electra_zh.errors import UserError
from support import pages
from support.converting import make_run
from support.task_files import TASKS

# Values of the pages that the sample corpus is too small for.
SMALLER = {"32000": "2500"}
# Absolute paths of the pages, which are in the folder of the substitutes.
MOUNTS = ("/shared/", "/local/")

# The commands that make the substitutes out of the samples, as small as the commands allow.
SUBSTITUTES = (
    "build-vocab corpus/ --output vocab.txt --size 2000",
    "build-vocab corpus/ --kind sentencepiece --size 2500 --output spm.model",
    "build-data corpus/ --vocab vocab.txt --output data --words jieba --holdout-every 20",
    "build-data corpus/ --vocab vocab.txt --output data512 --max-seq-length 512",
    "pretrain --config nano --data data --output run max_seq_length=128 train_batch_size=2"
    " num_train_steps=1 num_hidden_layers=3 hidden_size=32 intermediate_size=64",
    "finetune --model run --task tnews --data clue_data --output results num_train_epochs=1"
    " max_seq_length=16",
    "convert run --to huggingface --output hf",
    "convert run --to google --output chinese_electra_small_L-12_H-256_A-4",
    "convert bert --to huggingface --output roberta",
)
LINKS = {
    "run128": "run",
    "chinese-electra": "hf",
    "chinese-roberta-wwm-ext": "roberta",
    "tuned": "results/tnews",
    "cleaned": "corpus",
    "run_domain": "run",
}


def run_command(words: Sequence[str], folder: Path) -> None:
    """Runs a command in a folder, in this process.

    Raises:
      AssertionError: it failed, with its message.
    """
    assert words[0] in COMMANDS, words
    output = io.StringIO()
    try:
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(output),
        ):
            code = load_command(words[0]).run(cli.parse(words[0], words[1:]))
    except (UserError, SystemExit) as error:
        raise AssertionError(f"{' '.join(words)}: {error} {output.getvalue()}") from error
    assert code == 0, output.getvalue()


@pytest.fixture(scope="module")
def substitutes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the pages name."""
    folder = tmp_path_factory.mktemp("pages")
    sample = importlib.resources.files("electra_zh.sample")
    for name, source in (
        ("corpus/corpus.txt", "corpus.txt"),
        ("shared/corpus/corpus.txt", "corpus.txt"),
        ("local/corpus/corpus.txt", "corpus.txt"),
        ("train.tsv", "topics_train.tsv"),
        ("dev.tsv", "topics_dev.tsv"),
        ("new.txt", "topics_new.txt"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(sample.joinpath(source).read_bytes())
    shutil.copytree(TASKS, folder / "clue_data")
    shutil.copy(TASKS / "cmrc2018" / "dev.json", folder / "cmrc2018_dev.json")
    shutil.copy(TASKS / "tnews" / "dev.json", folder / "test.tsv")  # the model `tuned` is of TNEWS
    (folder / "topics.yaml").write_text(_task_of_the_page(), encoding="utf-8")
    make_run(
        folder / "bert",
        objective="masked_lm",
        model={"embedding_size": 16, "num_hidden_layers": 3, "max_position_embeddings": 512},
    )
    for words in SUBSTITUTES:
        run_command(words.split(), folder)
    for name, target in LINKS.items():
        (folder / name).symlink_to(target)
    return folder


def _task_of_the_page() -> str:
    text = (pages.ROOT / "docs/en/fine-tuning.md").read_text(encoding="utf-8")
    blocks = pages.read_blocks(text, "docs/en/fine-tuning.md")
    return "\n".join(next(block.lines for block in blocks if block.language == "yaml"))


def _has_dry_run(name: str) -> bool:
    return name in COMMANDS and "dry_run" in load_command(name).common


def _run_page(text: str, page: str, substitutes: Path, folder: Path) -> list[str]:
    """Runs the commands of a page and returns the failures."""
    failures = []
    for number, command in enumerate(pages.read_commands(text, page)):
        words = [SMALLER.get(word, word) for word in command.words]
        words = [word[1:] if word.startswith(MOUNTS) else word for word in words]
        if "--dry-run" not in words and _has_dry_run(words[0]):
            words.append("--dry-run")
        place = folder / f"{Path(page).stem}-{number}"
        place.mkdir()
        output = words[words.index("--output") + 1] if "--output" in words else ""
        for path in substitutes.iterdir():
            if path.name != output:
                (place / path.name).symlink_to(path)
        try:
            run_command(words, place)
        except AssertionError as error:
            failures.append(f"{command.place}: {error}")
    return failures


def test_every_command_of_the_pages_runs(substitutes: Path, tmp_path: Path) -> None:
    failures = []
    for page in pages.pages():
        text = (pages.ROOT / page).read_text(encoding="utf-8")
        failures += _run_page(text, page, substitutes, tmp_path)
    assert not failures, "\n".join(failures)


def test_the_flags_of_commands_that_are_not_run_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    failures = []
    for page in pages.pages():
        text = (pages.ROOT / page).read_text(encoding="utf-8")
        for command in pages.read_marked_commands(text, page):
            with contextlib.suppress(UserError, SystemExit):  # files are missing here
                cli.parse(command.words[0], command.words[1:])
            found = capsys.readouterr().err
            failures += [f"{command.place}: {found}"] if "unknown" in found else []
    assert not failures, "\n".join(failures)


def test_the_python_of_its_page_runs(substitutes: Path) -> None:
    text = (pages.ROOT / "docs" / "en" / "python.md").read_text(encoding="utf-8")
    blocks = [each for each in pages.read_blocks(text, "python.md") if each.language == "python"]
    names: dict[str, Any] = {}
    with contextlib.chdir(substitutes):
        for block in blocks:
            exec("\n".join(block.lines), names)
    assert names["vectors"].shape == (2, 32)
    assert len(names["labels"]) == 1
    assert "loss" in names["metrics"]


def test_a_wrong_flag_and_a_missing_file_are_found(tmp_path: Path) -> None:
    text = """
```sh
electra-zh inspect data --exmaple 3
electra-zh clean corpora/ --output new
electra-zh configs small
```
"""
    (tmp_path / "empty").mkdir()
    failures = _run_page(text, "page.md", tmp_path / "empty", tmp_path)
    assert len(failures) == 2
    assert "page.md:3: inspect data --exmaple 3" in failures[0]
    assert "corpora" in failures[1]


def test_the_file_map_is_complete() -> None:
    text = (pages.ROOT / pages.FILE_MAP).read_text(encoding="utf-8")
    assert pages.unmapped_files(*pages.mapped_files(text)) == []
