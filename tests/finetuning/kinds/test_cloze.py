"""Cloze: windows round blanks, candidates, assignment, predictions, scores."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import Blank, ClozeExample
from electra_zh.finetuning.kinds import cloze
from electra_zh.finetuning.kinds.choice import ChoiceHead
from electra_zh.finetuning.kinds.cloze import Cloze, assign
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

CHARACTERS = "天地玄黄宇宙洪荒日月"
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *CHARACTERS]))
TASK = TaskConfig(name="made", kind="cloze", reader="chid", metric="accuracy")
MARK = "[MASK]" * 4


def make_example(*texts: str, candidates: tuple[str, ...] = ("日月", "洪荒")) -> ClozeExample:
    """An item whose blanks are written as `#` in the texts, each answered by candidate 0."""
    blanks = [
        Blank(f"#{text}-{match.start()}#", text, match.start(), match.end(), 0)
        for text, content in enumerate(texts)
        for match in re.finditer("#", content)
    ]
    return ClozeExample(3, texts, tuple(blanks), candidates, "dev.json, line 4")


def make_kind(max_seq_length: int = 24) -> Cloze:
    return Cloze(TASK, max_seq_length=max_seq_length)


def decode(rows: EncodedSplit) -> list[str]:
    starts = [0, *rows.ends[:-1]]
    return [
        "".join(TOKENIZER.vocabulary.tokens[index] for index in rows.ids[start:end])
        for start, end in zip(starts, rows.ends, strict=False)
    ]


def test_rows_are_candidate_and_text() -> None:
    rows = make_kind().encode([make_example("天#地")], TOKENIZER, training=True)
    assert decode(rows) == [
        f"[CLS]日月[SEP]天{MARK}地[SEP]",
        f"[CLS]洪荒[SEP]天{MARK}地[SEP]",
    ]
    assert rows.segments[:11].tolist() == [0] * 4 + [1] * 7
    assert rows.per_group["label"].tolist() == [0]
    assert rows.per_group["choice_mask"].tolist() == [[1, 1]]


def test_other_blanks_of_the_text_are_one_mask_each() -> None:
    rows = make_kind().encode([make_example("天#地#", "没有", "#")], TOKENIZER, training=False)
    assert decode(rows)[::2] == [
        f"[CLS]日月[SEP]天{MARK}地[MASK][SEP]",
        f"[CLS]日月[SEP]天[MASK]地{MARK}[SEP]",
        f"[CLS]日月[SEP]{MARK}[SEP]",
    ]
    assert rows.example.tolist() == [0, 0, 0]


def test_items_with_fewer_candidates_get_empty_rows() -> None:
    items = [make_example("#"), make_example("#", candidates=("日", "月", "荒"))]
    rows = make_kind().encode(items, TOKENIZER, training=False)
    assert decode(rows)[2] == "[CLS][SEP]"
    assert rows.per_group["choice_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]


def plain_window(text: str, place: int, room: int) -> str:
    """The characters round a blank at `place`, with marks; each `#` of the text is one token."""
    before, after = text[:place], text[place + 1 :]
    left, right = [], []
    half = (room - 4) // 2
    left = list(before[max(len(before) - half, 0) :])
    right = list(after[: room - 4 - len(left)])
    left = list(before[max(len(before) - (room - 4 - len(right)), 0) :])
    return "".join([*left, "?", *right]).replace("#", "[MASK]").replace("?", MARK)


contents = st.lists(
    st.lists(st.text(CHARACTERS, max_size=20), min_size=2, max_size=4).map("#".join),
    min_size=1,
    max_size=3,
)
idioms = st.lists(st.text(CHARACTERS, min_size=1, max_size=5), min_size=2, max_size=4).map(tuple)


@given(st.lists(st.tuples(contents, idioms), max_size=3), st.integers(18, 32))
def test_blanks_stand_whole_in_a_centred_window(
    items: list[tuple[list[str], tuple[str, ...]]], limit: int
) -> None:
    made = [make_example(*texts, candidates=candidates) for texts, candidates in items]
    rows = make_kind(limit).encode(made, TOKENIZER, training=False)
    lines = iter(decode(rows))
    for item in made:
        room = limit - 3 - max(map(len, item.candidates))
        for blank in item.blanks:
            window = plain_window(item.texts[blank.text], blank.start, room)
            for idiom in item.candidates:
                assert next(lines) == f"[CLS]{idiom}[SEP]{window}[SEP]"
            for _ in range(rows.group - len(item.candidates)):
                assert next(lines) == "[CLS][SEP]"
    assert next(lines, None) is None


@given(idioms, st.integers(8, 14))
def test_candidates_are_cut_before_the_blank_is(candidates: tuple[str, ...], limit: int) -> None:
    item = make_example("天地#玄黄", candidates=candidates)
    rows = make_kind(limit).encode([item], TOKENIZER, training=False)
    for line, idiom in zip(decode(rows), candidates, strict=True):
        assert MARK in line
        shown = line.removeprefix("[CLS]").partition("[SEP]")[0]
        assert shown
        assert idiom.startswith(shown)
    assert max(np.diff(rows.ends, prepend=0)) <= limit


def test_rows_are_the_same_built_by_few_blanks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [make_example("天#地#玄", "#"), make_example("黄#", candidates=("日", "月", "荒"))]
    whole = make_kind().encode(items, TOKENIZER, training=False)
    monkeypatch.setattr(cloze, "_BLANKS_AT_ONCE", 3)
    parts = make_kind().encode(items, TOKENIZER, training=False)
    assert decode(parts) == decode(whole)
    assert parts.segments.tolist() == whole.segments.tolist()


def test_no_examples() -> None:
    rows = make_kind().encode([], TOKENIZER, training=True)
    assert (rows.groups, len(rows.ids)) == (0, 0)
    assert make_kind().predictions({}, rows, []) == []


# --- Assignment --------------------------------------------------------------------------------

matrices = st.integers(1, 4).flatmap(
    lambda blanks: st.lists(
        st.lists(st.floats(-30, 0, width=32), min_size=5, max_size=5),
        min_size=blanks,
        max_size=blanks,
    )
)


@given(matrices)
def test_assignment_is_the_best_of_all(values: list[list[float]]) -> None:
    matrix = np.array(values)
    chosen = assign(matrix).tolist()
    assert len(set(chosen)) == len(chosen)
    ways = itertools.permutations(range(5), len(values))
    best = max(sum(matrix[blank, way[blank]] for blank in range(len(values))) for way in ways)
    assert sum(matrix[range(len(values)), chosen]) == pytest.approx(best)


def test_more_blanks_than_candidates() -> None:
    matrix = np.log([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    assert assign(matrix).tolist() == [0, 0, 1]


def test_predictions_use_no_idiom_twice() -> None:
    kind = make_kind()
    items = [make_example("#天#"), make_example("#", candidates=("日", "月", "荒"))]
    rows = kind.encode(items, TOKENIZER, training=False)
    # The first blank wants candidate 0 a little, the second a lot.
    probabilities = np.array([[0.6, 0.4, 0], [0.9, 0.1, 0], [0.5, 0.3, 0.2]], np.float32)
    with np.errstate(divide="ignore"):
        outputs = {"log_probabilities": np.log(probabilities)}
    predictions = kind.predictions(outputs, rows, items)
    assert [prediction.answers for prediction in predictions] == [(1, 0), (0,)]
    assert [prediction.independent for prediction in predictions] == [(0, 0), (0,)]
    assert kind.scores(items, predictions) == {
        "accuracy": pytest.approx(200 / 3),
        "accuracy_independent": 100.0,
    }
    assert kind.to_json(items[0], predictions[0]) == {
        "id": 3,
        "answers": {"#0-0#": 1, "#0-2#": 0},
        "gold": {"#0-0#": 0, "#0-2#": 0},
    }


def test_unlabelled_blanks_have_no_gold() -> None:
    blank = Blank("#idiom1#", 0, 0, 1, None)
    item = ClozeExample(1, ("#",), (blank,), ("日", "月"), "here")
    rows = make_kind().encode([item], TOKENIZER, training=False)
    outputs = {"log_probabilities": np.log(np.array([[0.5, 0.5]], np.float32))}
    prediction = make_kind().predictions(outputs, rows, [item])[0]
    assert make_kind().to_json(item, prediction) == {"id": 1, "answers": {"#idiom1#": 0}}


def test_head_is_that_of_multiple_choice() -> None:
    size = ModelConfig(TOKENIZER.vocabulary.size, 8, 6, 1, 2, 12)
    assert isinstance(make_kind().make_head(size, "heads/made", seed=0), ChoiceHead)
