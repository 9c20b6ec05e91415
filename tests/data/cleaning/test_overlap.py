"""Repeated texts against plain Python, and evaluation data in text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning.ngrams import Ngrams
from electra_zh.data.cleaning.overlap import (
    contaminated,
    document_counts,
    find_hits,
    later_in_document,
    later_occurrences,
    load_evaluation_data,
    strings_of,
)
from electra_zh.errors import UserError

# Hashes all over 64 bits, few enough to meet again.
HASHES = st.lists(st.sampled_from([index * (2**64 // 7) + 5 for index in range(7)]), max_size=40)


@settings(deadline=None)
@given(HASHES, st.integers(1, 100))
def test_later_occurrences(hashes: list[int], part: int) -> None:
    expected = [value in hashes[:index] for index, value in enumerate(hashes)]
    found = later_occurrences(np.array(hashes, np.uint64), part_hashes=part)
    assert found.tolist() == expected


@settings(deadline=None)
@given(HASHES, st.integers(1, 10))
def test_later_in_document(hashes: list[int], size: int) -> None:
    documents = np.arange(len(hashes)) // size
    expected = [value in hashes[index // size * size : index] for index, value in enumerate(hashes)]
    assert later_in_document(np.array(hashes, np.uint64), documents).tolist() == expected


def test_a_line_counts_once_in_each_document() -> None:
    hashes = np.array([7, 7, 8, 7, 9], np.uint64)
    assert document_counts(hashes, np.array([0, 0, 0, 1, 2])).tolist() == [2, 2, 1, 2, 1]
    assert document_counts(hashes[:0], np.arange(0)).tolist() == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"a": ["x", {"b": "y"}], "c": 3}', {"x", "y"}),
        ("a.json", '{\n"a": [\n"x",\n{"b": "y"}]}\n', {"x", "y"}),
        ("a.jsonl", '{"a": "x"}\n\n{"a": "y"}\n', {"x", "y"}),
        ("a.tsv", "x\ty\nz\t1", {"x", "y", "z", "1"}),
        ("a.csv", 'x,"y, z"\nz', {'x,"y, z"', "z"}),
        ("a.txt", "x\ty\nz", {"x\ty", "z"}),
    ],
)
def test_strings_of_files(name: str, text: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert set(strings_of(str(tmp_path / name))) - {""} == expected
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert set(strings_of(str(tmp_path / f"{name}.gz"))) - {""} == expected


def test_documents_with_an_n_gram_of_evaluation_data_are_found(tmp_path: Path) -> None:
    question = "天地玄黄宇宙洪荒日月盈昃辰"
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"q": f"问：{question}？", "short": "寒来暑往"}))
    data = load_evaluation_data([str(path)], n=13, convert=list)
    lines = [question, question[:-1], "寒来暑往", f"前{question[:6]}，", f"{question[6:]}后"]
    hits = find_hits(lines, np.array([0, 1, 2, 3, 3]), data)
    assert hits.documents.tolist() == [0, 3]
    assert contaminated(hits, common=2).tolist() == [0, 3]


def test_common_phrases_are_ignored() -> None:
    hits = Ngrams(np.array([5, 7, 5, 5, 9], np.uint64), np.array([0, 1, 2, 3, 3]))
    assert contaminated(hits, common=2).tolist() == [1, 3]
    assert contaminated(hits, common=3).tolist() == [0, 1, 2, 3]
    assert contaminated(hits, common=0).tolist() == [0, 1, 2, 3]


def test_invalid_evaluation_data_is_named(tmp_path: Path) -> None:
    for name, content, message in (
        ("short.txt", "太短".encode(), "short.txt has no string of 13 ideographs"),
        ("broken.json", b'{"a": 1}\n{', "broken.json:2 is not JSON"),
        ("bytes.txt", b"\xff\xfe", "bytes.txt is not UTF-8"),
        ("bad.txt.gz", gzip.compress(b"none", mtime=0)[:-3], "bad.txt.gz is damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_evaluation_data([str(tmp_path / name)], n=13, convert=list)
    with pytest.raises(UserError, match="No such file: nowhere"):
        load_evaluation_data(["nowhere"], n=13, convert=list)
