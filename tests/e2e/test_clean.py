"""The clean command: its output and files, build-data after it, and its errors."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LETTERS, contents
from support.runner import done, electra, refused


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of two files with something wrong in each, evaluation data, and a vocabulary."""
    place = tmp_path_factory.mktemp("clean")
    generator = random.Random(0)
    documents = [
        "\n".join("".join(generator.choices(LETTERS, k=40)) + "。" for _ in range(4))
        for _ in range(60)
    ]
    (place / "corpus").mkdir()
    first = [*documents[:30], documents[3], f"{documents[4]}\n短\nno Chinese in this line\n\u200b"]
    second = [*documents[30:], documents[7], f"\ufeff{documents[8]}\n版权所有，违者必究。"]
    (place / "corpus" / "a.txt").write_text("\n\n".join(first), encoding="utf-8")
    (place / "corpus" / "b.txt").write_text("\n\n".join(second) + "\n", encoding="utf-8")
    question = {"question": documents[10].split("\n")[1][5:25]}
    (place / "dev.jsonl").write_text(json.dumps(question, ensure_ascii=False) + "\n")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS, "。", "，"]).save(str(place / "vocab.txt"))
    words = ["--min-document", "20", "--decontaminate", "dev.jsonl"]
    words = ["clean", "corpus", "--output", "cleaned", *words, "--processes", "1"]
    done(electra(*words, cwd=place, fork=False))
    return place


def test_two_processes_write_the_bytes_of_one_and_print_the_report(folder: Path) -> None:
    words = ["--min-document", "20", "--decontaminate", "dev.jsonl", "--processes", "2"]
    shown = done(electra("clean", "corpus", "--output", "again", *words, cwd=folder))
    assert contents(folder / "again") == contents(folder / "cleaned")
    rows = {line[:45].strip(): line[45:].split() for line in shown.split("\n") if line}
    assert rows["read"][:2] == ["64", "260"]
    assert rows["lines under 5 characters"][:2] == ["0", "1"]
    assert rows["lines under 20% Chinese"][:2] == ["0", "1"]
    assert rows["documents with 13-grams of evaluation data"][:2] == ["1", "4"]
    assert rows["duplicate documents"][:2] == ["3", "12"]
    assert rows["kept"][:2] == ["60", "241"]


def test_build_data_reads_cleaned_text(folder: Path) -> None:
    words = ["--vocab", "vocab.txt", "--output", "data", "--max-seq-length", "32"]
    done(electra("build-data", "cleaned", *words, cwd=folder))
    manifest = json.loads((folder / "data" / "manifest.json").read_text("utf-8"))
    report = json.loads((folder / "cleaned" / "report.json").read_text("utf-8"))
    assert manifest["documents"] == report["kept"]["documents"]
    assert manifest["corpus"]["files"] == len(report["output"])


CLEAN = ("clean", "corpus", "--output", "x")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["clean", "corpus", "--output", "cleaned"], 1, "cleaned holds cleaned text"),
        (["clean", "corpus", "--output", "corpus/x"], 1, "inside the input corpus"),
        (["clean", "corpus", "--output", "corpus", "--overwrite"], 1, "inside --output corpus"),
        (["clean", "nowhere", "--output", "x"], 1, "No such file or folder: nowhere"),
        (["clean", "corpus"], 2, "--output"),
        ([*CLEAN, "--unicode", "nfd"], 2, 'unicode is "nfd"; allowed: nfc, nfkc, none'),
        ([*CLEAN, "--min-line", "many"], 2, "min_line must be a whole number"),
        ([*CLEAN, "--min-line", "-3"], 2, "min_line must be at least 0; received -3"),
        (
            [*CLEAN, "--max-line-symbols", "50"],
            2,
            "at least 0 and at most 1; received 50.0",
        ),
        (
            [*CLEAN, "--near-duplicates", "2"],
            2,
            "at least 0.1 and at most 1; received 2.0",
        ),
        ([*CLEAN, "--ngram", "1"], 2, "ngram must be at least 5; received 1"),
        ([*CLEAN, "--compress", "xz"], 2, 'compress is "xz"; allowed: none, gz, zst'),
        ([*CLEAN, "--processes", "0"], 2, "num_processes must be at least 1; received 0"),
        ([*CLEAN, "--min-docment", "3"], 2, "--min-document"),
        ([*CLEAN, "--decontaminate", "gone.json"], 1, "No such file: gone.json"),
        ([*CLEAN, "--decontaminate", "corpus"], 1, "corpus is a folder; name a file"),
        ([*CLEAN, "--min-document", "100000"], 1, "The rules remove all 64 documents"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_lost(
    folder: Path, words: list[str], code: int, message: str
) -> None:
    before = contents(folder)
    assert message in refused(electra(*words, cwd=folder), code=code)
    assert contents(folder) == before
    assert not (folder / "x").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_changes_nothing(
    folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    text = (folder / "corpus" / "a.txt").read_text("utf-8") + "\n\n"
    (tmp_path / "big.txt").write_text(text * 1500, encoding="utf-8")
    words = ["clean", "big.txt", "--output", "out", "--processes", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "electra_zh", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell starts its background jobs, tests too, with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not list(tmp_path.glob("out.partial-*/.work/*")):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        errors.decode().strip().endswith("error: Interrupted. Nothing was written; start it again.")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["big.txt"]
