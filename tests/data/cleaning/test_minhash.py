"""Documents that are similar to an earlier one."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest

from electra_zh.data.cleaning import minhash
from electra_zh.errors import UserError

LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"


def _text(generator: random.Random, size: int) -> str:
    return "".join(generator.choices(LETTERS, k=size))


def _flags(texts: list[str], threshold: float) -> list[bool]:
    rows = minhash.signatures(texts, np.arange(len(texts)), len(texts))
    return minhash.near_duplicates(rows, threshold).tolist()


def test_near_duplicates_are_found_and_the_first_is_not() -> None:
    pytest.importorskip("rensa")
    generator = random.Random(0)
    base = _text(generator, 400)
    others = [_text(generator, 400) for _ in range(5)]
    texts = [others[0], base, *others[1:], base[:200] + "变" + base[200:], base[:200], base]
    assert _flags(texts, 0.8) == [*[False] * 6, True, False, True]
    assert _flags(texts, 0.4) == [*[False] * 6, True, True, True]


def test_documents_without_n_grams_are_similar_to_nothing() -> None:
    pytest.importorskip("rensa")
    assert _flags(["短", "短", "", "！！！！！！！"], 0.5) == [False] * 4


def test_bands_find_similar_pairs() -> None:
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


def test_signatures_do_not_depend_on_the_other_documents() -> None:
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


def test_missing_rensa_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rensa", None)
    minhash._rensa.cache_clear()
    with pytest.raises(UserError, match=r"pip install 'electra-zh\[near-duplicates\]'"):
        _flags(["短"], 0.5)
