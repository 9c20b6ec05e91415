"""Cloze: blanks of texts, each to be filled with one of the item's candidates.

A blank is a group, and each candidate a row of it: "[CLS] idiom [SEP] text round the blank [SEP]".
As in CLUE's baseline for ChID the idiom comes first, the window is centred on the blank (what one
side cannot use goes to the other), and other blanks are masked. Two things differ: the blank itself
is marked by [MASK] once for each character of an idiom, and another blank by one [MASK], where the
baseline has [unused1], which not every vocabulary has, and four times [MASK]; and segment ids tell
idiom and text apart.

An item uses no idiom twice, so its blanks are decided together: of all ways to give each blank a
candidate of its own the most probable one, found exactly by linear assignment.

Shapes: G blanks of a batch, S candidates, R = G * S rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from electra_zh.finetuning import scorers
from electra_zh.finetuning.examples import BadExamples, ClozeExample
from electra_zh.finetuning.kinds.choice import OneOfSeveral, with_answers
from electra_zh.finetuning.rows import EncodedSplit
from electra_zh.finetuning.sequences import (
    RaggedTokens,
    build_pairs,
    concatenate,
    distinct,
)
from electra_zh.text.tokenizer import Tokenizer
from electra_zh.text.wordpiece.offsets import tokenize_texts

# [MASK]s that mark the blank itself; most idioms have four characters.
_MARK_TOKENS = 4
# Blanks whose rows are built together: ChID has half a million, of ten rows each.
_BLANKS_AT_ONCE = 1 << 10


class _Blanks(NamedTuple):
    """The blanks of all examples, in the tokens of their texts.

    Attributes:
      ids: int32 [T], tokens of all texts that have blanks; a blank is one [MASK].
      places: int64 [G], where in `ids` each blank is.
      begins: int64 [G], where its text begins.
      ends: int64 [G], where its text ends.
    """

    ids: np.ndarray
    places: np.ndarray
    begins: np.ndarray
    ends: np.ndarray


def _find_blanks(examples: Sequence[ClozeExample], tokenizer: Tokenizer) -> _Blanks:
    """Tokenises the texts between the blanks, and puts [MASK] where the blanks are."""
    parts: list[str] = []
    sizes: list[int] = []  # parts of each text
    for example in examples:
        for number, blanks in itertools.groupby(example.blanks, lambda blank: blank.text):
            text, end, before = example.texts[number], 0, len(parts)
            for blank in blanks:
                parts.append(text[end : blank.start])
                end = blank.end
            parts.append(text[end:])
            sizes.append(len(parts) - before)
    last = np.cumsum(sizes, dtype=np.int64) - 1  # the last part of each text
    follows = np.ones(len(parts), np.int64)  # whether a blank follows the part
    follows[last] = 0
    inside = np.append(False, follows[:-1] == 1)[: len(parts)]
    found = tokenize_texts(tokenizer, parts, inside=inside.tolist())
    masks = np.full(len(parts) - len(sizes), tokenizer.vocabulary.mask_id, np.int32)
    joined = concatenate(
        RaggedTokens(found.ids, found.text_ends), RaggedTokens(masks, np.cumsum(follows))
    )
    text_ends = joined.ends[last]
    text_of = np.repeat(np.arange(len(sizes)), np.array(sizes, np.int64) - 1)  # [G]
    text_begins = np.append(0, text_ends[:-1]).astype(np.int64)
    return _Blanks(
        joined.ids,
        joined.ends[follows == 1] - 1,
        text_begins[text_of],
        text_ends[text_of],
    )


def _windows(blanks: _Blanks, rooms: np.ndarray, *, mask_id: int) -> RaggedTokens:
    """Returns the text round each blank with the blank's mark, at most `rooms` int64 [G] tokens."""
    context = rooms - _MARK_TOKENS
    before, after = blanks.places - blanks.begins, blanks.ends - blanks.places - 1
    left = np.minimum(before, np.maximum(context // 2, context - after))
    right = np.minimum(after, context - left)
    whole = RaggedTokens(blanks.ids, np.array([len(blanks.ids)], np.int64))
    first = np.zeros_like(left)
    count = len(first)
    marks = np.full(count * _MARK_TOKENS, mask_id, np.int32)
    return concatenate(
        whole.slices(first, blanks.places - left, left),
        RaggedTokens(marks, np.arange(1, count + 1) * _MARK_TOKENS),
        whole.slices(first, blanks.places + 1, right),
    )


class _Candidates(NamedTuple):
    """The candidates of all examples.

    Attributes:
      idioms: tokens of each distinct one, cut where they would leave no room for the blank; the
        last of them is empty.
      numbers: int64 [examples, S], which idioms; the last where an example has fewer than S.
    """

    idioms: RaggedTokens
    numbers: np.ndarray


def _candidates(
    examples: Sequence[ClozeExample], tokenizer: Tokenizer, max_seq_length: int
) -> _Candidates:
    texts, flat = distinct(idiom for example in examples for idiom in example.candidates)
    found = tokenize_texts(tokenizer, [*texts, ""])
    idioms = RaggedTokens(found.ids, found.text_ends)
    longest = max((max_seq_length - 3 - _MARK_TOKENS) // 2, 1)
    every = np.arange(len(texts) + 1)
    idioms = idioms.slices(every, np.zeros_like(every), np.minimum(idioms.lengths(), longest))
    counts = np.array([len(example.candidates) for example in examples], np.int64)
    exists = np.arange(counts.max(initial=1)) < counts[:, None]
    numbers = np.full(exists.shape, len(texts), np.int64)
    numbers[exists] = flat
    return _Candidates(idioms, numbers)


def _cloze_rows(
    examples: Sequence[ClozeExample], tokenizer: Tokenizer, max_seq_length: int
) -> EncodedSplit:
    """Returns a group of S rows for each blank, in their order; `choice_mask` [G, S]."""
    idioms, numbers = _candidates(examples, tokenizer, max_seq_length)
    of = np.repeat(np.arange(len(examples)), [len(example.blanks) for example in examples])
    # The window is the same for all candidates: it leaves room for the longest.
    rooms = max_seq_length - 3 - idioms.lengths()[numbers].max(1, initial=0)[of]
    blanks = _find_blanks(examples, tokenizer)
    windows = _windows(blanks, rooms, mask_id=tokenizer.vocabulary.mask_id)
    numbers = numbers[of]  # [G, S]
    exists = numbers < len(idioms.ends) - 1
    of_window = windows.lengths()[:, None] * exists
    ends = np.cumsum(idioms.lengths()[numbers] + of_window + np.where(exists, 3, 2))
    # Millions of rows: what is made at once must stay small, and the result is written in place.
    ids = np.empty(ends[-1] if len(ends) else 0, np.int32)
    segments = np.empty_like(ids)
    end = 0
    for start in range(0, len(of), _BLANKS_AT_ONCE):
        group = slice(start, start + _BLANKS_AT_ONCE)
        window_of = np.repeat(np.arange(len(of))[group], numbers.shape[1])
        built = build_pairs(
            idioms.take(numbers[group].ravel()),
            windows.slices(window_of, np.zeros_like(window_of), of_window[group].ravel()),
            cls_id=tokenizer.vocabulary.cls_id,
            sep_id=tokenizer.vocabulary.sep_id,
            max_seq_length=max_seq_length,
        )
        begin, end = end, end + len(built.ids)
        ids[begin:end], segments[begin:end] = built.ids, built.segments
    mask = {"choice_mask": exists.astype(np.float32)}
    return EncodedSplit(ids, ends, segments, of, group=numbers.shape[1], per_group=mask)


def assign(log_probabilities: np.ndarray) -> np.ndarray:
    """Returns the candidate of each blank, no candidate twice: the most probable of all ways.

    Where there are more blanks than candidates, those that get none take their best.

    Args:
      log_probabilities: finite float [blanks, candidates].

    Returns:
      int64 [blanks].
    """
    chosen = log_probabilities.argmax(1)
    blanks, candidates = linear_sum_assignment(log_probabilities, maximize=True)
    chosen[blanks] = candidates
    return chosen


class ClozePrediction(NamedTuple):
    """What fills the blanks of an item.

    Attributes:
      answers: index of each blank's candidate, no candidate twice.
      independent: index of the most probable candidate of each blank.
      probabilities: float32 [blanks, candidates].
    """

    answers: tuple[int, ...]
    independent: tuple[int, ...]
    probabilities: np.ndarray


class Cloze(OneOfSeveral[ClozeExample, ClozePrediction]):
    """Blanks that share a list of candidates."""

    def check(self, examples: Sequence[ClozeExample], problems: BadExamples) -> list[ClozeExample]:
        """Returns the examples all of whose blanks have an answer among the candidates."""
        good = []
        for example in examples:
            size = len(example.candidates)
            wrong = [
                blank
                for blank in example.blanks
                if blank.answer is None or not 0 <= blank.answer < size
            ]
            if wrong:
                detail = f"{wrong[0].id}: {wrong[0].answer}; allowed: 0 to {size - 1}"
                problems.add(example.place, "the answer is no candidate", detail=detail)
                continue
            good.append(example)
        return good

    def encode(
        self, examples: Sequence[ClozeExample], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns a group of rows a blank; with `training`, `label` int32 [G]."""
        rows = _cloze_rows(examples, tokenizer, self.max_seq_length)
        if not training:
            return rows
        blanks = [blank for example in examples for blank in example.blanks]
        return with_answers(rows, [blank.answer for blank in blanks])

    def predictions(
        self,
        outputs: Mapping[str, np.ndarray],
        rows: EncodedSplit,
        examples: Sequence[ClozeExample],
    ) -> list[ClozePrediction]:
        """Returns what fills the blanks of each example."""
        found, end = [], 0
        for example in examples:
            start, end = end, end + len(example.blanks)
            values = outputs["log_probabilities"][start:end, : len(example.candidates)]
            answers, independent = assign(values).tolist(), values.argmax(1).tolist()
            found.append(ClozePrediction(tuple(answers), tuple(independent), np.exp(values)))
        assert end == rows.groups
        return found

    def scores(
        self, examples: Sequence[ClozeExample], predictions: Sequence[ClozePrediction]
    ) -> dict[str, float]:
        """Returns the accuracy over blanks, and that of each blank decided on its own."""
        gold = [
            -1 if blank.answer is None else blank.answer
            for example in examples
            for blank in example.blanks
        ]
        chosen = [index for each in predictions for index in each.answers]
        independent = [index for each in predictions for index in each.independent]
        return {
            "accuracy": scorers.accuracy(gold, chosen),
            "accuracy_independent": scorers.accuracy(gold, independent),
        }

    def to_json(self, example: ClozeExample, prediction: ClozePrediction) -> dict[str, Any]:
        """Returns id, answers by blank, and the right ones if known."""
        names = [blank.id for blank in example.blanks]
        answers = dict(zip(names, prediction.answers, strict=True))
        line: dict[str, Any] = {"id": example.id, "answers": answers}
        gold = {b.id: b.answer for b in example.blanks if b.answer is not None}
        return {**line, "gold": gold} if gold else line
