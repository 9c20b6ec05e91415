"""Each rule on the lines and documents that it is for, and the settings of the rules."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from electra_zh.data.cleaning import run
from electra_zh.data.cleaning.document_batch import (
    KEPT,
    DocumentBatch,
    Verdicts,
    judge_batch,
)
from electra_zh.data.cleaning.rules import RULES, Rule, RuleSetting
from electra_zh.data.cleaning.settings import CleanSettings, with_rules
from electra_zh.errors import UsageError
from electra_zh.settings import declared
from electra_zh.settings.command_line import CommandLine, default_value, spelled

PAGE = Path(__file__).parents[3] / "docs" / "en" / "cleaning.md"
GOOD = "这是一个普通的句子，没有什么问题。"
OFF = {
    "min_line": 0,
    "max_line": 0,
    "min_line_chinese": 0,
    "max_line_symbols": 1,
    "max_run": 0,
    "repeated_lines": 0,
    "min_document": 0,
    "min_document_chinese": 0,
    "max_document_repeats": 1,
}


def _settings(**changes: object) -> CleanSettings:
    return CleanSettings(("in",), "out", **changes)  # type: ignore[arg-type]


def _judge(*documents: list[str], **changes: object) -> Verdicts:
    lines = [line for document in documents for line in document]
    numbers = np.repeat(np.arange(len(documents)), list(map(len, documents)))
    return judge_batch(DocumentBatch(lines, numbers), _settings(**changes))


def _names(verdicts: np.ndarray) -> list[str]:
    """Returns the names of the rules; "" for a line or document that is kept."""
    return [RULES[verdict - 1].name if verdict != KEPT else "" for verdict in verdicts.tolist()]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (GOOD, ""),
        ("\ufffe", "line_emptied"),
        ("坏了的\ufffd字符", "line_replacement"),
        ("不 算 短 吗", ""),
        ("太 短 了", "line_short"),
        ("长" * 100, "line_run"),
        ("只有英文 words in this line here", "line_chinese"),
        ("电话是：010-1234", "line_symbols"),
        ("哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈", "line_run"),
        ("点击点击点击点击点击点击点击点击点击点击点击", "line_run"),
        ("哈哈哈哈哈哈，真好笑。", ""),
    ],
)
def test_a_line_is_removed_by_its_rule(line: str, rule: str) -> None:
    assert _names(_judge([line], min_line=4).lines) == [rule]


def test_a_long_line_is_removed() -> None:
    assert _names(_judge([GOOD, GOOD + GOOD], max_line=20).lines) == ["", "line_long"]


def test_rules_that_are_off_remove_nothing() -> None:
    lines = ["a", "1+1", "-" * 50, "-" * 50, "长" * 200]
    verdicts = _judge(lines, ["x"], **OFF)
    assert not verdicts.lines.any()
    assert not verdicts.documents.any()
    active = {rule.name for _, rule in _settings(**OFF).active_rules()}
    assert not active & {"line_short", "line_run"}


def test_long_lines_repeated_in_their_document_are_removed_and_short_ones_kept() -> None:
    verdicts = _judge(
        [GOOD, "他说：是的。", GOOD, "他说：是的。"], [GOOD], **{**OFF, "repeated_lines": 10}
    )
    assert _names(verdicts.lines) == ["", "", "line_repeated", "", ""]


def test_a_document_of_repeated_lines_is_removed_with_all_its_lines() -> None:
    lines = [f"{GOOD}{number}" for number in range(7)]
    bad = [*lines[:6], *lines[:3], *lines[:1]]
    good = [*lines, *lines[:3]]
    verdicts = _judge(bad, good, min_document=0)
    assert _names(verdicts.documents) == ["document_repeats", ""]
    assert _names(verdicts.by_line(np.repeat([0, 1], 10))) == [
        *["document_repeats"] * 10,
        *[""] * 7,
        *["line_repeated"] * 3,
    ]


def test_documents_are_judged_by_the_lines_that_are_left() -> None:
    half = "一二三四五 abcdefgh"
    verdicts = _judge(
        [GOOD],
        [GOOD * 3],
        ["x"],
        [half] * 9,
        repeated_lines=0,
        max_run=0,
        min_document_chinese=0.5,
        max_document_repeats=1,
    )
    assert _names(verdicts.documents) == [
        "document_short",
        "",
        "document_emptied",
        "document_chinese",
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unicode": "nfk"}, r'unicode is "nfk"; allowed: nfc, nfkc, none\. Did you mean'),
        ({"compress": "zip"}, 'compress is "zip"; allowed: none, gz, zst'),
        ({"min_line": -1}, "min_line must be at least 0; received -1"),
        (
            {"min_line_chinese": 1.5},
            "min_line_chinese must be .* at most 1; received 1.5",
        ),
        ({"max_replacement": float("nan")}, "max_replacement must be .*; received nan"),
        (
            {"near_duplicates": 0.0},
            "near_duplicates must be at least 0.1 .* received 0.0",
        ),
        ({"ngram": 2}, "ngram must be at least 5; received 2"),
        ({"max_line": 3}, r"max_line must be 0 or at least min_line \(5\); received 3"),
        ({"num_processes": 0}, "num_processes must be at least 1; received 0"),
    ],
)
def test_invalid_values_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _settings(**changes)


def test_a_new_rule_is_one_object(tmp_path: Path) -> None:
    rule = Rule(
        "line_wide",
        "lines over {max_wide} wide",
        lambda text, settings: text.lines.solid > settings.max_wide,
        (RuleSetting("max_wide", int, 9, "drop lines that are wider", off=0),),
    )
    extended = with_rules(rule)(CleanSettings)
    parser = argparse.ArgumentParser()
    CommandLine(parser, [extended])
    assert "--max-wide" in parser.format_help()
    assert "drop lines that are wider (0 switches it off)" in parser.format_help()
    (tmp_path / "in.txt").write_text(f"{GOOD}\n他笑了笑。\n")
    values: dict[str, Any] = {"inputs": (str(tmp_path / "in.txt"),), "min_document": 0}
    report = run.clean(extended(output=str(tmp_path / "out"), **values))
    assert report.settings["max_wide"] == 9
    removed = {each.rule: each for each in report.removed}["line_wide"]
    assert (removed.what, removed.samples, removed.amount.lines) == (
        "lines over 9 wide",
        (GOOD,),
        1,
    )
    assert (tmp_path / "out" / "cleaned-00000-of-00001.txt").read_text() == "他笑了笑。\n"
    report = run.clean(extended(output=str(tmp_path / "off"), **(values | {"max_wide": 0})))
    assert "line_wide" not in [each.rule for each in report.removed]


def test_the_page_has_the_table_of_rules() -> None:
    rows = []
    for rule in RULES:
        name, settings = f"`{rule.name}`", {each.name for each in rule.settings}
        if not settings:
            rows.append(
                f"| {name} | | {rule.removes.replace('{min_document}', '`--min-document`')} |"
            )
        for setting in declared(CleanSettings):
            if setting.name in settings:
                default = f"`{spelled(setting)} {default_value(setting)}`".replace(" `", "`")
                rows.append(f"| {name} | {default} | {setting.declaration.meaning} |")
                name = ""
    assert "\n".join(rows) in PAGE.read_text("utf-8"), "\n".join(rows)
