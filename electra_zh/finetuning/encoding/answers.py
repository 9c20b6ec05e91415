"""Answers in their contexts: characters and tokens, for files whose offsets are not always right.

Shapes: Q questions, G windows, T tokens of all distinct texts.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.finetuning.encoding.sequences import RaggedTokens, distinct
from electra_zh.finetuning.examples import QuestionExample
from electra_zh.text.tokenizer import TokenizedTexts, Tokenizer


class AnswerSpan(NamedTuple):
    """The characters start to end (exclusive) of an answer in its context.

    `repaired` is true where the offset in the file was wrong.
    """

    start: int
    end: int
    repaired: bool


def find_answer(context: str, text: str, start: int) -> AnswerSpan | None:
    """Returns the span of an answer, or None where it does not occur at all.

    The given offset is tried first, then the nearest occurrence, then the nearest occurrence that
    ignores white space, case and the width of characters.

    Args:
      context: the text that should contain the answer.
      text: the answer.
      start: its offset in the file; -1, where the file has none, finds the first occurrence.
    """
    if not text.strip():
        return None
    if start >= 0 and context.startswith(text, start):
        return AnswerSpan(start, start + len(text), repaired=False)
    found = _nearest(context, text, start)
    if found >= 0:
        return AnswerSpan(found, found + len(text), repaired=True)
    (folded, sources), (wanted, _) = _fold(context), _fold(text)
    if not wanted:
        return None
    # The offset among the folded characters: that of the first one at the offset or after it.
    offset = sum(source < start for source in sources)
    found = _nearest(folded, wanted, offset)
    if found < 0:
        return None
    last = found + len(wanted) - 1
    return AnswerSpan(sources[found], sources[last] + 1, repaired=True)


def _nearest(context: str, text: str, start: int) -> int:
    """Returns the start of the occurrence nearest to `start`, -1 where there is none."""
    start = max(start, 0)
    after = context.find(text, start)
    before = context.rfind(text, 0, start + len(text) - 1)
    if after < 0 or before < 0:
        return max(after, before)
    return before if start - before <= after - start else after


@functools.lru_cache(maxsize=64)
def _fold(text: str) -> tuple[str, list[int]]:
    """Returns a text without white space, in lower case and one width, and the original indices."""
    characters: list[str] = []
    sources: list[int] = []
    for number, char in enumerate(text):
        form = "".join(unicodedata.normalize("NFKC", char).lower().split())
        characters.extend(form)
        sources.extend([number] * len(form))
    return "".join(characters), sources


class QuestionTexts(NamedTuple):
    """The contexts or the queries of questions, each distinct text tokenised once.

    Attributes:
      tokens: of the distinct texts.
      of: int64 [Q], index of each question's text.
      lengths: int64 [Q], the tokens of each question's text.
    """

    tokens: TokenizedTexts
    of: np.ndarray
    lengths: np.ndarray

    def cut(
        self, values: np.ndarray, questions: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> RaggedTokens:
        """Returns stretches of an array [T] over the texts of questions; int64 [G] each."""
        texts = RaggedTokens(values, self.tokens.text_ends)
        return texts.slices(self.of[questions], starts, lengths)


def tokenize_distinct(tokenizer: Tokenizer, texts: Sequence[str]) -> QuestionTexts:
    """Tokenises each distinct text once."""
    known, of = distinct(texts)
    tokens = tokenizer.encode_batch(known)
    return QuestionTexts(tokens, of, np.diff(tokens.text_ends, prepend=0)[of])


class Targets(NamedTuple):
    """The answers to train on.

    Attributes:
      found: bool [Q], whether the answer was found in the context and has tokens.
      repaired: bool [Q], whether its offset in the file was wrong.
      first: int64 [Q], the first token of the answer within the context; -1 if not found.
      last: int64 [Q], its last token; -1 if not found.
    """

    found: np.ndarray
    repaired: np.ndarray
    first: np.ndarray
    last: np.ndarray


def find_targets(examples: Sequence[QuestionExample], contexts: QuestionTexts) -> Targets:
    """Finds the tokens of each question's answer: the first answer that its context contains."""
    spans = np.full([len(examples), 2], -1, np.int64)
    repaired = np.zeros(len(examples), np.bool_)
    for number, example in enumerate(examples):
        for answer in example.answers or ():
            found = find_answer(example.context, answer.text, answer.start)
            if found is not None:
                spans[number] = found.start, found.end
                repaired[number] = found.repaired
                break
    first, last = _covering(contexts, spans)
    # An answer has no tokens if the tokenizer drops all of its characters.
    is_found = (spans[:, 0] >= 0) & (first <= last)
    first, last = np.where(is_found, first, -1), np.where(is_found, last, -1)
    return Targets(is_found, repaired & is_found, first, last)


def _covering(contexts: QuestionTexts, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the last token that cover some of the characters [Q, 2]."""
    tokens = contexts.tokens
    counts = np.diff(tokens.text_ends, prepend=0)
    # Characters are numbered through all texts, so that they only increase.
    widths = np.zeros(len(counts), np.int64)
    filled = counts > 0
    widths[filled] = tokens.ends[tokens.text_ends[filled] - 1]
    np.maximum.at(widths, contexts.of, spans[:, 1])
    before = np.cumsum(widths + 1) - widths - 1
    starts = tokens.starts + np.repeat(before, counts)
    ends = tokens.ends + np.repeat(before, counts)
    begin = (tokens.text_ends - counts)[contexts.of]
    wanted = spans + before[contexts.of][:, None]
    first = np.searchsorted(ends, wanted[:, 0], side="right")
    last = np.searchsorted(starts, wanted[:, 1], side="left") - 1
    return first - begin, last - begin
