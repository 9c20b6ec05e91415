"""A small corpus and its vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest

from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LETTERS, make_text


@pytest.fixture
def vocabulary(tmp_path: Path) -> str:
    path = str(tmp_path / "vocabulary.txt")
    Vocabulary([*SPECIAL_TOKENS, *LETTERS, "。", "，", "a", "##a"]).save(path)
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for index, documents in enumerate((60, 3, 40)):
        text = make_text(documents, seed=index)
        (folder / f"{index}.txt").write_text(text, encoding="utf-8")
    return folder
