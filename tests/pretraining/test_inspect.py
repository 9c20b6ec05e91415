"""Counts and examples of `inspect`, against the records themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from electra_zh.data.build.run import build
from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining import inspect
from electra_zh.text.settings import WordSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from support.building import LENGTH, LETTERS, make_settings, make_text, read_rows

MISSING = LETTERS[0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same text built with words of a list and without words."""
    folder = tmp_path_factory.mktemp("inspect")
    vocabulary = Vocabulary([*SPECIAL_TOKENS, "。", *LETTERS[1:]])
    vocabulary.save(str(folder / "vocab.txt"))
    (folder / "text.txt").write_text(make_text(40), encoding="utf-8")
    # Words of two characters.
    pairs = [first + second for first in LETTERS for second in LETTERS]
    (folder / "words.txt").write_text("\n".join(pairs), encoding="utf-8")
    words = WordSettings(kind=str(folder / "words.txt"))
    for name, chosen in (("plain", None), ("words", words)):
        settings = make_settings(
            folder / "text.txt", str(folder / "vocab.txt"), folder / name, words=chosen
        )
        build(settings)
    return {name: folder / name for name in ("plain", "words")}


def test_counts_are_those_of_the_records(folders: dict[str, Path]) -> None:
    data = inspect.open_data(str(folders["plain"]))
    counts = inspect.count(data)
    rows = read_rows(folders["plain"])
    lengths = [len(ids) for ids, _ in rows]
    tokens = [token for ids, _ in rows for token in ids]
    unknown = tokens.count(data.vocabulary.unk_id)
    special = tokens.count(data.vocabulary.cls_id) + tokens.count(data.vocabulary.sep_id)
    assert counts.lengths.tolist() == np.bincount(lengths, minlength=LENGTH + 1).tolist()
    assert counts.one_segment == sum(1 for _, segments in rows if not any(segments))
    assert (counts.tokens, counts.unknown) == (len(tokens) - special, unknown)
    assert unknown > 0
    assert counts.word_starts is None
    assert counts.padding_share == pytest.approx(1 - np.mean(lengths) / LENGTH)


def test_words_are_counted_and_shown_together(folders: dict[str, Path]) -> None:
    data = inspect.open_data(str(folders["words"]))
    counts = inspect.count(data)
    assert counts.word_starts is not None
    assert 0.5 <= counts.word_starts / counts.tokens < 0.7
    shown = inspect.show_example(data, 3, settings={"seed": "1"})
    text = inspect.example_lines(shown, colour=False)[0]
    words = [word for word in text.split() if not word.startswith("[")]
    assert max(map(len, words)) == 2
    assert "".join(text.split()) == "".join(shown.tokens)


def test_an_example_is_that_of_its_number(folders: dict[str, Path]) -> None:
    data = inspect.open_data(str(folders["plain"]))
    rows = read_rows(folders["plain"])
    for index in (0, len(rows) // 2, len(rows) - 1):
        shown = inspect.show_example(data, index, settings={})
        ids, _ = rows[index]
        assert shown.tokens == [data.vocabulary.tokens[token] for token in ids]
        assert all(shown.starts)


def test_whole_words_are_masked_where_the_data_has_words(folders: dict[str, Path]) -> None:
    words = inspect.open_data(str(folders["words"]))
    settings = {"mask_prob": "0.3", "mask_keep_prob": "0"}
    shown = inspect.show_example(words, 0, settings=settings)
    assert shown.masking == "whole_word"
    assert set(shown.masked.values()) == {"[MASK]"}
    plain = inspect.open_data(str(folders["plain"]))
    assert inspect.show_example(plain, 0, settings={}).masking == "uniform"
    # The marks of a hidden token, and of one that shows another token.
    shown = shown._replace(tokens=["日", "月"], starts=[True, False], masked={0: "[MASK]", 1: "天"})
    assert inspect.example_lines(shown, colour=False)[-1] == "日>[MASK]月>天"
    coloured = inspect.example_lines(shown, colour=True)[-1]
    assert coloured == "\x1b[97;41m日\x1b[0m\x1b[30;43m月>天\x1b[0m"


def test_the_report_says_all_of_it(folders: dict[str, Path]) -> None:
    data = inspect.open_data(str(folders["words"]))
    counts = inspect.count(data)
    lines = inspect.report(data, counts)
    text = "\n".join(lines)
    assert MISSING in text  # the manifest's unknown characters
    assert f"{counts.examples:,} examples of length {LENGTH}" in text
    assert counts.word_starts is not None
    assert f"{counts.word_starts / counts.tokens:.1%} of the tokens begin one" in text
    bars = lines[lines.index("length  examples") + 1 :]
    assert sum(int(bar.split()[1].replace(",", "")) for bar in bars) == counts.examples
    as_json = inspect.counts_json(counts)
    assert sum(as_json["lengths"].values()) == as_json["examples"] == counts.examples


def test_mistakes_are_named(folders: dict[str, Path]) -> None:
    plain = inspect.open_data(str(folders["plain"]))
    with pytest.raises(UsageError, match=r"--example is -1; the data has examples 0 to \d+"):
        inspect.show_example(plain, -1, settings={})
    with pytest.raises(UsageError, match=r'unknown setting "mask_prb". Did you mean "mask_prob"'):
        inspect.show_example(plain, 0, settings={"mask_prb": "1"})
    with pytest.raises(UserError, match=r"ngram needs words.*--words jieba"):
        inspect.show_example(plain, 0, settings={"masking": "ngram"})
    with pytest.raises(UserError, match="masking"):
        inspect.show_example(plain, 0, settings={"masking": "words"})
