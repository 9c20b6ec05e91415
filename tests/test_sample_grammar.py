"""The sample's grammar: every name is defined and used, and its text is the same for a seed."""

from __future__ import annotations

import importlib.resources
import re

import yaml

from electra_zh.sample.grammar import make_text


def _grammar() -> dict[str, list[str]]:
    text = (
        importlib.resources.files("electra_zh.sample").joinpath("grammar.yaml").read_text("utf-8")
    )
    names = re.findall(r"^(\w+):", text, re.MULTILINE)
    assert len(names) == len(set(names))
    found: dict[str, list[str]] = yaml.safe_load(text)
    return found


def test_every_name_is_defined_and_used() -> None:
    grammar = _grammar()
    used = {name for lines in grammar.values() for each in lines for name in _slots(each)}
    assert used <= set(grammar)
    assert set(grammar) - used == {"topics", "daily", *grammar["topics"]}


def _slots(line: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", line)


def test_the_text_follows_from_the_seed_and_has_no_slots() -> None:
    text = make_text(20_000, seed=0)
    assert text == make_text(20_000, seed=0)
    assert text != make_text(20_000, seed=1)
    assert len(text) >= 20_000
    assert not set("{}") & set(text)
    assert all(line.endswith(("。", "！”", "？", "。”", "！")) for line in text.split("\n") if line)


def test_documents_are_separated_by_empty_lines() -> None:
    documents = make_text(20_000, seed=0).split("\n\n")
    assert len(documents) > 100
    assert all(1 <= len(each.strip().split("\n")) <= 3 for each in documents)


def test_sentences_with_an_excluded_text_are_omitted() -> None:
    assert "桌子" in make_text(20_000, seed=0)
    assert "桌子" not in make_text(20_000, seed=0, without=["桌子"])
