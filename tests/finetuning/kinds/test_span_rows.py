"""Span extraction: rows, and the answers to train on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, QuestionExample
from support.asking import TOKENIZER, ask, decode, make_span

# Characters of contexts: pieces, unknown characters, spaces, characters that the tokenizer drops.
ALPHABET = "天地玄黄abc19，é \u200b？"


# --- Rows ------------------------------------------------------------------------------------


def test_a_row_is_question_and_context() -> None:
    rows = make_span().encode([ask("天地，new york", ("地", 1))], TOKENIZER, training=True)
    assert decode(rows, 0) == "[CLS] [UNK] [SEP] 天 地 ， new york [SEP]"
    assert rows.segments.tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1]
    assert rows.per_token["context_mask"].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0]
    assert rows.per_group["start"].tolist() == [4]
    assert rows.per_group["end"].tolist() == [4]
    assert rows.per_group["answerable"].tolist() == [1.0]


def test_long_questions_are_cut() -> None:
    rows = make_span(max_query_length=3).encode(
        [ask("天", question="地玄黄宇宙")], TOKENIZER, training=False
    )
    assert decode(rows, 0) == "[CLS] 地 玄 黄 [SEP] 天 [SEP]"


def test_questions_leave_room_for_the_context() -> None:
    rows = make_span(length=16, max_query_length=64).encode(
        [ask("天地" * 9, question="玄" * 40)], TOKENIZER, training=False
    )
    assert (rows.group_lengths <= 16).all()
    assert rows.per_token["context_mask"].sum() >= 18


def test_only_the_window_with_the_whole_answer_points_to_it() -> None:
    # 20 tokens of context; windows of 8 from 0, 4, 8, 12. The answer is tokens 6 to 9.
    context = "天" * 6 + "地玄黄宇" + "天" * 10
    kind = make_span(length=12, doc_stride=4)
    rows = kind.encode([ask(context, ("地玄黄宇", 6))], TOKENIZER, training=True)
    assert rows.example.tolist() == [0, 0, 0, 0]
    assert rows.per_group["start"].tolist() == [0, 5, 0, 0]
    assert rows.per_group["end"].tolist() == [0, 8, 0, 0]
    assert decode(rows, 1).split()[5:9] == list("地玄黄宇")


@settings(deadline=None)
@given(data=st.data())
def test_gold_span_can_be_read_from_the_rows(data: st.DataObject) -> None:
    context = data.draw(st.text(ALPHABET, min_size=1, max_size=60).filter(str.strip))
    start = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(start + 1, min(start + 6, len(context))))
    example = ask(context, (context[start:end], start))
    kind = make_span(length=20, doc_stride=5)
    labels = kind.encode([example], TOKENIZER, training=True)
    rows = kind.encode([example], TOKENIZER, training=False)
    if labels.groups == 0:
        assert not TOKENIZER.encode(context[start:end])
        return
    assert labels.ids.tolist() == rows.ids.tolist()
    covered = rows.per_token["context_mask"] > 0
    first, behind = rows.per_token["char_starts"], rows.per_token["char_ends"]
    wanted = set(np.flatnonzero(covered & (behind > start) & (first < end)))
    pointed = zip(rows.starts, labels.per_group["start"], labels.per_group["end"], strict=True)
    for row, (begin, place, last) in enumerate(pointed):
        inside = {at for at in wanted if begin <= at < rows.ends[row]}
        assert not place or inside == set(range(begin + place, begin + last + 1))
    assert labels.per_group["start"].any()


def test_overlaps_of_windows_are_the_same_text() -> None:
    context = "天地new york，黄abc。" * 4
    rows = make_span(length=20).encode([ask(context)], TOKENIZER, training=False)
    found: dict[tuple[int, int], set[int]] = {}
    mask, ids = rows.per_token["context_mask"] > 0, rows.ids
    places = zip(rows.per_token["char_starts"], rows.per_token["char_ends"], strict=True)
    for place, token in zip(np.array(list(places))[mask], ids[mask], strict=True):
        found.setdefault(tuple(place), set()).add(token)
    assert rows.groups > 1
    assert all(len(tokens) == 1 for tokens in found.values())
    assert len(found) == len(TOKENIZER.encode(context))


@pytest.mark.parametrize("training", [True, False])
def test_no_examples(training: bool) -> None:
    assert make_span().encode([], TOKENIZER, training=training).groups == 0


# --- Answers to train on ---------------------------------------------------------------------


def test_repaired_answers_are_counted_and_missing_ones_skipped() -> None:
    kind = make_span()
    examples = [
        ask("天地玄黄", ("玄", 1)),
        ask("天地玄黄", ("月", 1)),
        ask("天地玄黄", ("黄", 3)),
        ask("天地玄黄", ("月", -1), ("地", 3)),
        ask("天\u200b地", ("\u200b", 1)),
    ]
    rows = kind.encode(examples, TOKENIZER, training=True)
    assert rows.example.tolist() == [0, 2, 3]
    assert rows.per_group["start"].tolist() == [5, 6, 4]
    assert rows.notes == (
        "4 answers not found at the given offset: 2 repaired, 2 missing in the text and skipped",
    )
    assert not kind.encode(examples[2:3], TOKENIZER, training=True).notes


def test_answers_too_long_to_predict_are_noted() -> None:
    kind = make_span(max_answer_length=2)
    examples = [ask("天地玄黄", ("天地", 0)), ask("天地玄", ("天地玄", 0))]
    assert kind.encode(examples, TOKENIZER, training=True).notes == (
        "1 answer longer than the 2 tokens that a prediction may have (max_answer_length)",
    )


def test_unanswerable_questions_point_to_cls() -> None:
    kind = make_span(metric="squad2_f1")
    rows = kind.encode([ask("天地", answer_type="NONE")], TOKENIZER, training=True)
    assert rows.per_group["start"].tolist() == [0]
    assert rows.per_group["answerable"].tolist() == [0.0]
    assert "answer_type" not in rows.per_group


def test_answer_types_are_classes_and_windows_without_the_answer_are_none() -> None:
    kind = make_span(metric="cjrc_f1", length=16, labels=("YES", "NO", "NONE"))
    examples = [
        ask("天地", answer_type="NO"),
        ask("天" * 12 + "地", ("地", 12)),
        ask("天", answer_type="NONE"),
        ask("天", ("YES", -1), ("天", 0), answer_type="YES"),
    ]
    rows = kind.encode(examples, TOKENIZER, training=True)
    assert rows.example.tolist() == [0, 1, 1, 2, 3]
    assert rows.per_group["answer_type"].tolist() == [2, 3, 0, 3, 1]
    assert rows.per_group["start"].tolist() == [0, 0, 7, 0, 0]
    assert rows.per_group["answerable"].tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    ("metric", "example", "message"),
    [
        ("em", ask("天", answer_type="NONE"), "question Q0: unanswerable question"),
        (
            "squad2_f1",
            ask("天", answer_type="YES"),
            "the answer is YES.*add YES to labels.names of task",
        ),
        ("em", dataclasses.replace(ask("天"), answers=None), "no answers: is this a test file"),
    ],
)
def test_answers_of_a_type_that_is_not_a_label_are_problems(
    metric: str, example: QuestionExample, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        make_span(metric=metric).check([example], BadExamples(skip=False))


def test_check_keeps_the_answer_types_of_the_task() -> None:
    examples = [ask("天", ("天", 0)), ask("天", answer_type="NONE"), ask("天", answer_type="NO")]
    problems = BadExamples(skip=True)
    assert make_span(metric="squad2_f1").check(examples, problems) == examples[:2]
    kind = make_span(metric="cjrc_f1", labels=("YES", "NO", "NONE"))
    assert kind.check(examples, problems) == examples


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"metric": "squad_fl"},
            r'metric "squad_fl" is not available for span. Did you mean "squad_f1',
        ),
        ({"labels": ("MAYBE",)}, "are YES, NO, NONE .*; received MAYBE"),
        ({"labels": ("NONE",)}, "metric em does not score unanswerable questions"),
        ({"doc_stride": 0}, "doc_stride must be at least 1; received 0"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_span(**settings)  # type: ignore[arg-type]
