"""Texts of questions cut into windows, and the tokens of their answers. Nothing loops over tokens.

Shapes: G windows, Q questions, T tokens of all distinct texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.finetuning.alignment import find_answer
from electra_zh.finetuning.examples import QuestionExample
from electra_zh.finetuning.sequences import RaggedTokens
from electra_zh.text.tokenizer import Tokenizer
from electra_zh.text.wordpiece.offsets import TokenizedTexts, tokenize_texts


class Texts(NamedTuple):
    """Distinct texts, tokenised, and which of them each question has.

    Attributes:
      tokens: of the distinct texts.
      of: int64 [Q], the number of each question's text.
      lengths: int64 [Q], the tokens of each question's text.
    """

    tokens: TokenizedTexts
    of: np.ndarray
    lengths: np.ndarray

    def cut(self, questions: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> RaggedTokens:
        """Returns the ids of stretches of the questions' texts; int64 [G] each."""
        return self.cut_values(self.tokens.ids, questions, starts, lengths)

    def cut_values(
        self, values: np.ndarray, questions: np.ndarray, starts: np.ndarray, lengths: np.ndarray
    ) -> RaggedTokens:
        """Returns the same stretches of another array [T]."""
        texts = RaggedTokens(values, self.tokens.text_ends)
        return texts.slices(self.of[questions], starts, lengths)


def tokenize(tokenizer: Tokenizer, texts: Sequence[str]) -> Texts:
    """Tokenises each distinct text once."""
    numbers: dict[str, int] = {}
    of = np.array([numbers.setdefault(text, len(numbers)) for text in texts], np.int64)
    tokens = tokenize_texts(tokenizer, list(numbers))
    return Texts(tokens, of, np.diff(tokens.text_ends, prepend=0)[of])


class Windows(NamedTuple):
    """Stretches of contexts.

    Attributes:
      question: int64 [G].
      starts: int64 [G], the first token, counted within the context.
      lengths: int64 [G].
      own: int64 [G, 2], the tokens that have more context here than in any other window: the first
        and one behind the last. An answer is predicted where its first token is at home.
    """

    question: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    own: np.ndarray


def make_windows(tokens: np.ndarray, room: np.ndarray, stride: int) -> Windows:
    """Cuts contexts into windows that begin `stride` tokens apart, the last ending with the text.

    A token belongs to the window where the lesser of its left and right context is greatest, the
    first such (BERT's `_check_is_max_context`, without its bonus for longer windows): that is the
    nearer side of the middle of each overlap.

    Args:
      tokens: int64 [Q], tokens of each question's context.
      room: int64 [Q], tokens that a window of it has room for.
      stride: at least 1; where a window is shorter, windows stand side by side.
    """
    step = np.minimum(stride, room)
    counts = 1 + -(-np.maximum(tokens - room, 0) // step)
    question = np.repeat(np.arange(len(tokens)), counts)
    number = np.arange(len(question)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = number * step[question]
    lengths = np.minimum(room[question], tokens[question] - starts)
    ends = starts + lengths
    # Between a window and the next: behind the middle of what both have.
    middles = (ends - 1 + starts + step[question]) // 2 + 1
    last = number + 1 == counts[question]
    behind = np.where(last, tokens[question], middles)
    before = np.where(number == 0, 0, np.concatenate([[0], behind[:-1]])[: len(behind)])
    return Windows(question, starts, lengths, np.stack([before, behind], 1))


class Targets(NamedTuple):
    """The answers to train on.

    Attributes:
      found: bool [Q], whether the answer is found in the context and has tokens.
      repaired: bool [Q], whether it is found elsewhere than the file says.
      first: int64 [Q], the first token of the answer within the context; -1 if not found.
      last: int64 [Q], its last token; -1 if not found.
    """

    found: np.ndarray
    repaired: np.ndarray
    first: np.ndarray
    last: np.ndarray


def find_targets(examples: Sequence[QuestionExample], contexts: Texts) -> Targets:
    """Finds the tokens of each question's answer: the first one that stands in the context."""
    places = np.full([len(examples), 2], -1, np.int64)
    repaired = np.zeros(len(examples), np.bool_)
    for number, example in enumerate(examples):
        for answer in example.answers or ():
            found = find_answer(example.context, answer.text, answer.start)
            if found is not None:
                places[number] = found.start, found.end
                repaired[number] = found.repaired
                break
    first, last = _covering(contexts, places)
    # An answer of nothing but characters that the tokenizer drops has no tokens.
    is_found = (places[:, 0] >= 0) & (first <= last)
    first, last = np.where(is_found, first, -1), np.where(is_found, last, -1)
    return Targets(is_found, repaired & is_found, first, last)


def _covering(contexts: Texts, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first and the last token that have some of the characters [Q, 2]."""
    tokens = contexts.tokens
    counts = np.diff(tokens.text_ends, prepend=0)
    # Characters numbered through all texts: within and across texts they only rise.
    widths = np.zeros(len(counts), np.int64)
    filled = counts > 0
    widths[filled] = tokens.ends[tokens.text_ends[filled] - 1]
    np.maximum.at(widths, contexts.of, places[:, 1])
    before = np.cumsum(widths + 1) - widths - 1
    starts = tokens.starts + np.repeat(before, counts)
    ends = tokens.ends + np.repeat(before, counts)
    begin = (tokens.text_ends - counts)[contexts.of]
    wanted = places + before[contexts.of][:, None]
    first = np.searchsorted(ends, wanted[:, 0], side="right")
    last = np.searchsorted(starts, wanted[:, 1], side="left") - 1
    return first - begin, last - begin
