"""N-grams, evaluation data in text, and documents that are almost the same."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.data.cleaning import minhash
from electra_zh.data.cleaning.contamination import (
    contaminated,
    find_hits,
    load_contamination,
    strings_of,
)
from electra_zh.data.cleaning.ngrams import Grams, grams
from electra_zh.errors import UserError

LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"


def _units(text: str) -> list[str]:
    return re.findall("[天地]|[a1]+", text)


@settings(deadline=None)
@given(st.lists(st.text(st.sampled_from("天地a1，"), max_size=12), max_size=6), st.integers(1, 9))
def test_equal_grams_have_equal_hashes(lines: list[str], n: int) -> None:
    found = grams(lines, np.arange(len(lines)) // 2, n=n)
    texts = [_units("\n".join(lines[start : start + 2])) for start in (0, 2, 4)]
    expected = [
        (tuple(text[start : start + n]), number)
        for number, text in enumerate(texts)
        for start in range(len(text) - n + 1)
    ]
    assert found.documents.tolist() == [number for _, number in expected]
    pairs = set(zip(found.hashes.tolist(), (text for text, _ in expected), strict=True))
    assert len(pairs) == len({text for text, _ in expected}) == len({key for key, _ in pairs})


def test_case_width_and_punctuation_make_no_difference() -> None:
    plain = grams(["abc 1天地玄黄"], np.zeros(1, np.int64), n=6)
    other = grams(["ＡbC, １：", "“天 地”玄——黄。"], np.zeros(2, np.int64), n=6)
    assert plain.hashes.tolist() == other.hashes.tolist()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", '{"a": ["x", {"b": "y"}], "c": 3}', {"x", "y"}),
        ("a.json", '{\n"a": [\n"x",\n{"b": "y"}]}\n', {"x", "y"}),
        ("a.jsonl", '{"a": "x"}\n\n{"a": "y"}\n', {"x", "y"}),
        ("a.tsv", "x\ty\nz\t1", {"x", "y", "z", "1"}),
        ("a.txt", "x\ty\nz", {"x\ty", "z"}),
    ],
)
def test_strings_of_files(name: str, text: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert set(strings_of(str(tmp_path / name))) - {""} == expected
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    assert set(strings_of(str(tmp_path / f"{name}.gz"))) - {""} == expected


def test_documents_with_a_stretch_of_evaluation_data_are_found(tmp_path: Path) -> None:
    question = "天地玄黄宇宙洪荒日月盈昃辰"
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"q": f"问：{question}？", "short": "寒来暑往"}))
    data = load_contamination([str(path)], n=13, convert=list)
    lines = [question, question[:-1], "寒来暑往", f"前{question[:6]}，", f"{question[6:]}后"]
    hits = find_hits(lines, np.array([0, 1, 2, 3, 3]), data)
    assert hits.documents.tolist() == [0, 3]
    assert contaminated(hits, common=2).tolist() == [0, 3]


def test_common_phrases_are_ignored() -> None:
    hits = Grams(np.array([5, 7, 5, 5, 9], np.uint64), np.array([0, 1, 2, 3, 3]))
    assert contaminated(hits, common=2).tolist() == [1, 3]
    assert contaminated(hits, common=3).tolist() == [0, 1, 2, 3]
    assert contaminated(hits, common=0).tolist() == [0, 1, 2, 3]


def test_wrong_evaluation_data_is_named(tmp_path: Path) -> None:
    for name, content, message in (
        ("short.txt", "太短".encode(), "short.txt has no string of 13 ideographs"),
        ("broken.json", b'{"a": 1}\n{', "broken.json:2 is not JSON"),
        ("bytes.txt", b"\xff\xfe", "bytes.txt is not UTF-8"),
        ("bad.txt.gz", b"none", "bad.txt.gz is damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            load_contamination([str(tmp_path / name)], n=13, convert=list)
    with pytest.raises(UserError, match="No such file: nowhere"):
        load_contamination(["nowhere"], n=13, convert=list)


def _text(generator: random.Random, size: int) -> str:
    return "".join(generator.choices(LETTERS, k=size))


def _flags(texts: list[str], threshold: float) -> list[bool]:
    rows = minhash.signatures(texts, np.arange(len(texts)), len(texts))
    return minhash.near_duplicates(rows, threshold).tolist()


def test_near_documents_go_and_the_first_stays() -> None:
    pytest.importorskip("rensa")
    generator = random.Random(0)
    base = _text(generator, 400)
    others = [_text(generator, 400) for _ in range(5)]
    texts = [others[0], base, *others[1:], base[:200] + "变" + base[200:], base[:200], base]
    assert _flags(texts, 0.8) == [*[False] * 6, True, False, True]
    assert _flags(texts, 0.4) == [*[False] * 6, True, True, True]


def test_documents_without_grams_are_near_to_nothing() -> None:
    pytest.importorskip("rensa")
    assert _flags(["短", "短", "", "！！！！！！！"], 0.5) == [False] * 4


def test_no_pair_that_is_near_is_missed_by_bands() -> None:
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 2**32, (600, minhash.SIGNATURE), np.uint32)
    for index in range(300, 600):
        same = generator.permutation(minhash.SIGNATURE)[: 64 + index % 64]
        rows[index, same] = rows[index - 300, same]
    similar = np.array([np.mean(rows[index] == rows[index - 300]) for index in range(300, 600)])
    found = minhash.near_duplicates(rows, 0.8)
    assert not found[:300].any()
    assert not found[300:][similar < 0.8].any()
    assert found[300:][similar >= 0.8].mean() > 0.95


def test_signatures_are_those_of_any_process_and_any_company() -> None:
    pytest.importorskip("rensa")
    texts = [_text(random.Random(seed), 100) for seed in range(50)]
    rows = minhash.signatures(texts, np.arange(50), 50)
    alone = np.concatenate([minhash.signatures([text], np.zeros(1, np.int64), 1) for text in texts])
    assert (rows == alone).all()


def test_forked_workers_do_not_wait_for_threads_of_their_parent() -> None:
    pytest.importorskip("rensa")
    code = (
        "import os, numpy as np\n"
        "from electra_zh.data.cleaning import minhash\n"
        "sign = lambda: minhash.signatures(['天地玄黄宇宙洪荒' * 9] * 500, np.arange(500), 500)\n"
        "before = sign()\n"
        "child = os.fork()\n"
        "if not child: os._exit(int((sign() != before).any()))\n"
        "raise SystemExit(os.waitpid(child, 0)[1])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=dict(os.environ))


def test_missing_rensa_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    minhash._rensa.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'electra-zh\[near-duplicates\]'"):
        minhash.prepare()
