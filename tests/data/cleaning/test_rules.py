"""Each rule on lines and documents that it is meant for."""

from __future__ import annotations

import numpy as np
import pytest

from electra_zh.data.cleaning.document_batch import Stretch, hash_lines, measure
from electra_zh.data.cleaning.rules import Rule, Verdicts, describe, judge_documents, judge_lines
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.errors import UsageError

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
    stretch, figures, settings = Stretch(lines, numbers), measure(lines), _settings(**changes)
    rules = judge_lines(stretch, figures, settings)
    return judge_documents(stretch, figures, rules, hashes=hash_lines(lines), settings=settings)


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (GOOD, Rule.STAYS),
        ("\ufffe", Rule.LINE_EMPTIED),
        ("坏了的\ufffd字符", Rule.LINE_REPLACEMENT),
        ("不 算 短 吗", Rule.STAYS),
        ("太 短 了", Rule.LINE_SHORT),
        ("长" * 100, Rule.LINE_RUN),
        ("只有英文 words in this line here", Rule.LINE_CHINESE),
        ("电话是：010-1234", Rule.LINE_SYMBOLS),
        ("哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈", Rule.LINE_RUN),
        ("点击点击点击点击点击点击点击点击点击点击点击", Rule.LINE_RUN),
        ("哈哈哈哈哈哈，真好笑。", Rule.STAYS),
    ],
)
def test_a_line_goes_by_its_rule(line: str, rule: Rule) -> None:
    stretch = Stretch([line], np.zeros(1, np.int64))
    assert judge_lines(stretch, measure([line]), _settings(min_line=4)).tolist() == [rule]


def test_a_long_line_goes() -> None:
    stretch = Stretch([GOOD, GOOD + GOOD], np.zeros(2, np.int64))
    rules = judge_lines(stretch, measure(stretch.lines), _settings(max_line=20))
    assert rules.tolist() == [Rule.STAYS, Rule.LINE_LONG]


def test_rules_that_are_off_let_all_pass() -> None:
    lines = ["a", "1+1", "-" * 50, "-" * 50, "长" * 200]
    verdicts = _judge(lines, ["x"], **OFF)
    assert not verdicts.lines.any()
    assert not verdicts.documents.any()
    assert not set(describe(_settings(**OFF))) & {Rule.LINE_SHORT, Rule.LINE_RUN}


def test_a_long_line_repeated_in_its_document_goes_and_a_short_one_stays() -> None:
    verdicts = _judge(
        [GOOD, "他说：是的。", GOOD, "他说：是的。"], [GOOD], **{**OFF, "repeated_lines": 10}
    )
    assert verdicts.lines.tolist() == [0, 0, Rule.LINE_REPEATED, 0, 0]


def test_a_document_of_repeated_lines_goes_as_a_whole() -> None:
    lines = [f"{GOOD}{number}" for number in range(7)]
    bad = [*lines[:6], *lines[:3], *lines[:1]]
    good = [*lines, *lines[:3]]
    verdicts = _judge(bad, good, min_document=0)
    assert verdicts.documents.tolist() == [Rule.DOCUMENT_REPEATS, Rule.STAYS]
    assert verdicts.final(np.repeat([0, 1], 10)).tolist() == [
        *[Rule.DOCUMENT_REPEATS] * 10,
        *[Rule.STAYS] * 7,
        *[Rule.LINE_REPEATED] * 3,
    ]


def test_documents_are_judged_by_what_is_left_of_them() -> None:
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
    assert verdicts.documents.tolist() == [
        Rule.DOCUMENT_SHORT,
        Rule.STAYS,
        Rule.DOCUMENT_EMPTIED,
        Rule.DOCUMENT_CHINESE,
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unicode": "nfk"}, r'unicode is "nfk"; allowed: nfc, nfkc, none\. Did you mean'),
        ({"compress": "zip"}, 'compress is "zip"; allowed: none, gz, zst'),
        ({"min_line": -1}, "min_line is -1; it must be at least 0"),
        ({"min_line_chinese": 1.5}, "min_line_chinese is 1.5; it must be between 0 and 1"),
        ({"max_replacement": float("nan")}, "max_replacement is nan"),
        ({"near_duplicates": 0.0}, "near_duplicates is 0.0; it must be between 0.1 and 1"),
        ({"ngram": 2}, "ngram is 2; it must be at least 5"),
        ({"max_line": 3}, r"max_line is 3; it must be at least min_line \(5\), or 0"),
        ({"num_processes": 0}, "num_processes is 0; it must be at least 1"),
    ],
)
def test_wrong_values_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _settings(**changes)
