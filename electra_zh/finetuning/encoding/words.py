"""Words of sentences and their gold tags.

Everything is flat and in NumPy: sentences, tokens and words follow one another. Where sentences
must be distinguished, a position counts the characters of all sentences before.

Shapes: N sentences, T tokens of them, W words.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.finetuning.encoding.tags import entity_tags
from electra_zh.finetuning.examples import Entity, TaggedExample
from electra_zh.text.characters import CODE_POINTS, joined_starts, to_codepoints
from electra_zh.text.tokenizer import TokenizedTexts

# Scripts below Thai, and these, put spaces between words.
_SPACED = ((0x0, 0xE00), (0x1E00, 0x2000), (0xFF10, 0xFF5B))


class Words(NamedTuple):
    """Words that have a token; words without tokens cannot have a label.

    Attributes:
      starts: int64 [W], the first character, within the sentence.
      ends: int64 [W], the last character, exclusive.
      sentences: int64 [W], in increasing order.
      first_tokens: int64 [W], index of the word's first token among all tokens.
    """

    starts: np.ndarray
    ends: np.ndarray
    sentences: np.ndarray
    first_tokens: np.ndarray


def find_words(examples: Sequence[TaggedExample], tokens: TokenizedTexts) -> Words:
    """Returns the words of all sentences: those of the file, or else those of the tokens."""
    lengths = np.diff(tokens.text_ends, prepend=0)
    sentences = np.repeat(np.arange(len(examples)), lengths)  # [T]
    origins = joined_starts([example.text for example in examples])
    positions = origins[sentences] + tokens.starts
    number, spans = _words_of_file(examples, origins, positions)
    given = np.array([example.words is not None for example in examples], np.bool_)[sentences]
    begins_given = (number >= 0) & (np.diff(number, prepend=-1) != 0)
    begins = np.where(given, begins_given, _begins_word(examples, tokens, sentences, positions))
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(begins))[: len(first)] - 1
    chosen = spans[number[first]] - origins[sentences[first]][:, None]
    starts = np.where(given[first], chosen[:, 0], tokens.starts[first])
    ends = np.where(given[first], chosen[:, 1], tokens.ends[last])
    return Words(starts, ends, sentences[first], first)


def _words_of_file(
    examples: Sequence[TaggedExample], origins: np.ndarray, positions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the words that the files define.

    Args:
      examples: the sentences.
      origins: int64 [N], from `joined_starts`.
      positions: int64 [T], the first character of each token.

    Returns:
      The word of each token, int64 [T], -1 for none, and the words' characters, int64 [words, 2].
    """
    counts = [len(example.words or ()) for example in examples]
    flat = itertools.chain.from_iterable(example.words or () for example in examples)
    spans = np.fromiter(itertools.chain.from_iterable(flat), np.int64).reshape(-1, 2)
    spans += np.repeat(origins, counts)[:, None]
    if not len(spans):
        spans = np.zeros((1, 2), np.int64)  # a word without characters
    number = np.maximum(np.searchsorted(spans[:, 0], positions, side="right") - 1, 0)
    number[(positions < spans[number, 0]) | (positions >= spans[number, 1])] = -1
    return number, spans


def _begins_word(
    examples: Sequence[TaggedExample],
    tokens: TokenizedTexts,
    sentences: np.ndarray,
    positions: np.ndarray,
) -> np.ndarray:
    """Returns bool [T], whether a token begins a word where the file does not define words.

    Pieces of a run of letters, or of a run of digits, are one word. An entity may begin or end
    where the two meet ("CPL2011"), and at every piece of a script without spaces.
    """
    kinds = _kinds().take(to_codepoints("\n".join(example.text for example in examples)))
    ends = positions + (tokens.ends - tokens.starts)
    same = np.diff(sentences, prepend=-1) == 0
    before = np.roll(ends, 1) - 1  # the last character of the token before
    alike = np.zeros(len(positions), np.bool_)
    alike[same] = (kinds[before[same]] == kinds[positions[same]]) & (kinds[positions[same]] > 0)
    # A character may become several tokens; no word begins inside it.
    shared = same & (before >= positions)
    begins: np.ndarray = ~(shared | (tokens.continues & alike))
    return begins


@functools.cache
def _kinds() -> np.ndarray:
    """Returns int8 [0x110000]: 1 for a letter of a script with spaces, 2 for a digit, or 0."""
    kinds = np.zeros(CODE_POINTS, np.int8)
    for first, end in _SPACED:
        for point in range(first, end):
            kinds[point] = {"L": 1, "M": 1, "N": 2}.get(unicodedata.category(chr(point))[0], 0)
    return kinds


class GoldTags(NamedTuple):
    """The words' tags, int32 [W], and the (sentence, entity) that have no tags."""

    tags: np.ndarray
    unfit: list[tuple[int, Entity]]


def gold_tags(examples: Sequence[TaggedExample], words: Words, types: dict[str, int]) -> GoldTags:
    """Returns the tag of each word.

    An entity that begins or ends inside a word, overlaps with an earlier one, or has an unknown
    type (in new data) has no tags.

    Args:
      examples: the sentences; those without labels are all O.
      words: their words.
      types: type to number.
    """
    tags = np.zeros(len(words.starts), np.int32)
    pairs = [
        (sentence, entity)
        for sentence, example in enumerate(examples)
        for entity in sorted(example.entities or (), key=lambda each: (each.start, -each.end))
    ]
    if not pairs or not len(tags):
        return GoldTags(tags, pairs)
    origins = joined_starts([example.text for example in examples])
    begins = origins[words.sentences] + words.starts
    ends = origins[words.sentences] + words.ends
    own = origins[[sentence for sentence, _ in pairs]]
    wanted_begins = own + [entity.start for _, entity in pairs]
    wanted_ends = own + [entity.end for _, entity in pairs]
    first = np.minimum(np.searchsorted(begins, wanted_begins), len(tags) - 1)
    last = np.minimum(np.searchsorted(ends, wanted_ends), len(tags) - 1)
    fits = (begins[first] == wanted_begins) & (ends[last] == wanted_ends) & (first <= last)
    unfit = []
    for pair, fit, start, end in zip(
        pairs, fits.tolist(), first.tolist(), last.tolist(), strict=True
    ):
        if not fit or pair[1].type not in types or tags[start : end + 1].any():
            unfit.append(pair)
            continue
        tags[start : end + 1] = entity_tags(types[pair[1].type], end + 1 - start)
    return GoldTags(tags, unfit)
