"""The labelled sample: enough of every class, no sentence twice, nothing a TSV reader trips on."""

from __future__ import annotations

import importlib.resources
from collections import Counter

LABELS = {"体育", "科技", "美食", "动物"}


def read_lines(name: str) -> list[str]:
    """The lines of a sample file, of which the last must end too."""
    data = importlib.resources.files("electra_zh.sample").joinpath(name).read_bytes()
    text = data.decode("utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    return text.split("\n")[:-1]


def read_rows(name: str) -> list[tuple[str, str]]:
    """Label and text of each row below the header."""
    header, *lines = read_lines(name)
    assert header == "label\ttext"
    rows = [tuple(line.split("\t")) for line in lines]
    assert all(len(row) == 2 for row in rows)
    return [(row[0], row[1]) for row in rows]


def all_texts() -> list[str]:
    """The sentences of the three files."""
    labelled = read_rows("topics_train.tsv") + read_rows("topics_dev.tsv")
    return [text for _, text in labelled] + read_lines("topics_new.txt")


def test_the_classes_are_balanced() -> None:
    train = Counter(label for label, _ in read_rows("topics_train.tsv"))
    dev = Counter(label for label, _ in read_rows("topics_dev.tsv"))
    assert train == dict.fromkeys(LABELS, 75)
    assert dev == dict.fromkeys(LABELS, 20)


def test_the_rows_are_not_sorted_by_class() -> None:
    labels = [label for label, _ in read_rows("topics_train.tsv")]
    assert len(set(labels[:20])) == len(LABELS)


def test_no_sentence_stands_twice_in_any_file() -> None:
    texts = all_texts()
    assert len(texts) == len(set(texts)) == 386


def test_sentences_are_short_and_plain() -> None:
    for text in all_texts():
        assert 10 <= len(text) <= 30, text
        assert text == text.strip()
        assert not set(text) & set("\t\"'\u2028\ufeff")


def test_most_characters_occur_in_the_pretraining_text() -> None:
    corpus = importlib.resources.files("electra_zh.sample").joinpath("corpus.txt")
    known = set(corpus.read_text("utf-8"))
    characters = "".join(all_texts())
    share = sum(character in known for character in characters) / len(characters)
    assert share > 0.95
