"""Words of sentences, their gold tags, and the windows that long sentences are read in.

Everything is flat and in NumPy: sentences, tokens and words stand one behind the other, and a place
is counted from the beginning of all texts where sentences have to be told apart.

Shapes: N sentences, T tokens of them, W words.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh.finetuning.examples import Entity, TaggedExample
from electra_zh.finetuning.sequences import RaggedTokens
from electra_zh.text.wordpiece.characters import to_codepoints
from electra_zh.text.wordpiece.offsets import TokenizedTexts

# Tags of type t are FIRST + 4 * t and so on, in the order of `tag_schemes.tag_names`; 0 is O.
FIRST, INNER, LAST, SINGLE = 1, 2, 3, 4
# Scripts below Thai, and these, put spaces between words.
_SPACED = ((0x0, 0xE00), (0x1E00, 0x2000), (0xFF10, 0xFF5B))


class Words(NamedTuple):
    """Words that have a token; the others can bear no label.

    Attributes:
      starts: int64 [W], the first character, within the sentence.
      ends: int64 [W], one behind the last.
      sentences: int64 [W], never falling.
      first_tokens: int64 [W], which of all tokens is the word's first piece.
    """

    starts: np.ndarray
    ends: np.ndarray
    sentences: np.ndarray
    first_tokens: np.ndarray


def find_words(examples: Sequence[TaggedExample], tokens: TokenizedTexts) -> Words:
    """Returns the words of all sentences, those of the file or those that the tokens make up."""
    lengths = np.diff(tokens.text_ends, prepend=0)
    sentences = np.repeat(np.arange(len(examples)), lengths)  # [T]
    given = np.array([example.words is not None for example in examples], np.bool_)[sentences]
    origins = text_origins(examples)
    places = origins[sentences] + tokens.starts
    # Words of the file, [words, 2], counted from the beginning of all texts.
    counts = [len(example.words or ()) for example in examples]
    flat = itertools.chain.from_iterable(example.words or () for example in examples)
    spans = np.fromiter(itertools.chain.from_iterable(flat), np.int64).reshape(-1, 2)
    spans += np.repeat(origins, counts)[:, None]
    if not len(spans):
        spans = np.zeros((1, 2), np.int64)  # holds no token
    number = np.maximum(np.searchsorted(spans[:, 0], places, side="right") - 1, 0)
    # A token outside all words has none.
    number[(places < spans[number, 0]) | (places >= spans[number, 1])] = -1
    of_file = (number >= 0) & (np.diff(number, prepend=-1) != 0)
    firsts = np.where(given, of_file, _begins_word(examples, tokens, sentences, places))
    first_tokens = np.flatnonzero(firsts)
    last_tokens = np.append(first_tokens[1:], len(places))[: len(first_tokens)] - 1
    sentences, given = sentences[first_tokens], given[first_tokens]
    chosen = spans[number[first_tokens]] - origins[sentences][:, None]
    starts = np.where(given, chosen[:, 0], tokens.starts[first_tokens])
    ends = np.where(given, chosen[:, 1], tokens.ends[last_tokens])
    return Words(starts, ends, sentences, first_tokens)


def text_origins(examples: Sequence[TaggedExample]) -> np.ndarray:
    """Returns int64 [N], where each text begins if a character stands between any two of them."""
    lengths = np.fromiter((len(example.text) for example in examples), np.int64, len(examples))
    return np.cumsum(lengths + 1) - lengths - 1


def _begins_word(
    examples: Sequence[TaggedExample],
    tokens: TokenizedTexts,
    sentences: np.ndarray,
    places: np.ndarray,
) -> np.ndarray:
    """Returns bool [T], whether a token begins a word where the file does not say what words are.

    Pieces of a run of letters, or of a run of digits, are one word. Where the two meet ("CPL2011")
    an entity may begin or end, and so it may at every piece of a script that has no spaces.
    """
    kinds = _kinds().take(to_codepoints("\n".join(example.text for example in examples)))
    ends = places + (tokens.ends - tokens.starts)
    same = np.diff(sentences, prepend=-1) == 0
    before = np.roll(ends, 1) - 1  # the last character of the token before
    alike = np.zeros(len(places), np.bool_)
    alike[same] = (kinds[before[same]] == kinds[places[same]]) & (kinds[places[same]] > 0)
    # One character may be made into several tokens; no word begins inside it.
    shared = same & (before >= places)
    return ~(shared | (tokens.continues & alike))


@functools.cache
def _kinds() -> np.ndarray:
    """Returns int8 [0x110000]: 1 for a letter of a script with spaces, 2 for a digit, or 0."""
    kinds = np.zeros(0x110000, np.int8)
    for first, end in _SPACED:
        for point in range(first, end):
            kinds[point] = {"L": 1, "M": 1, "N": 2}.get(unicodedata.category(chr(point))[0], 0)
    return kinds


class GoldTags(NamedTuple):
    """The words' tags, int32 [W], and the (sentence, entity) that tags cannot show."""

    tags: np.ndarray
    unfit: list[tuple[int, Entity]]


def gold_tags(examples: Sequence[TaggedExample], words: Words, types: dict[str, int]) -> GoldTags:
    """Returns the tag of each word.

    An entity that begins or ends inside a word, overlaps with an earlier one, or is of a type that
    is none of `types` (in new data) has no tags.

    Args:
      examples: the sentences; without labels all is O.
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
    origins = text_origins(examples)
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
        base = 4 * types[pair[1].type]
        tags[start : end + 1] = base + INNER
        tags[end] = base + LAST
        tags[start] = base + (SINGLE if start == end else FIRST)
    return GoldTags(tags, unfit)


class Windows(NamedTuple):
    """Stretches of sentences, one row each. All are counted within the sentence.

    Attributes:
      sentences: int64 [windows].
      starts: int64 [windows], the first token.
      lengths: int64 [windows], tokens.
      own_starts: int64 [windows], the first token that is scored here.
      own_ends: int64 [windows], one behind the last that is.
      inside: bool [windows, 2], tokens of the sentence stand before the window, and behind it.
    """

    sentences: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    own_starts: np.ndarray
    own_ends: np.ndarray
    inside: np.ndarray

    def of(self, values: np.ndarray, ends: np.ndarray) -> RaggedTokens:
        """Returns the windows of values, int32 [T], of sentences that end at `ends`."""
        return RaggedTokens(values, ends).slices(self.sentences, self.starts, self.lengths)

    def own(self) -> np.ndarray:
        """Returns bool [tokens of all windows], which of them are scored in their window."""
        window = np.repeat(np.arange(len(self.starts)), self.lengths)
        origins = np.cumsum(self.lengths) - self.lengths - self.starts
        place = np.arange(len(window)) - origins[window]
        return (place >= self.own_starts[window]) & (place < self.own_ends[window])

    def framed(self, values: np.ndarray) -> np.ndarray:
        """Returns values of the windows' tokens with a 0 before and behind each window."""
        ends = np.cumsum(self.lengths + 2)
        body = np.ones(len(values) + 2 * len(ends), np.bool_)
        body[ends - 1] = body[ends - self.lengths - 2] = False
        framed = np.zeros(len(body), values.dtype)
        framed[body] = values
        return framed


def cut_windows(lengths: np.ndarray, limit: int) -> Windows:
    """Cuts sentences of so many tokens into windows of at most `limit`.

    A sentence that fits is one window. Otherwise windows of `limit` tokens, spread evenly, overlap
    by at least half, and a token is scored in the window whose middle is nearest: at least a
    quarter of a window stands on both of its sides unless the sentence ends there. A sentence
    without tokens has no window.
    """
    stride = max(1, limit // 2)
    beyond = np.maximum(lengths - limit, 0)
    steps = -(-beyond // stride)
    counts = np.where(lengths > 0, steps + 1, 0)
    sentences = np.repeat(np.arange(len(lengths)), counts)
    index = np.arange(len(sentences)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = index * beyond[sentences] // np.maximum(steps[sentences], 1)
    inside = np.stack([index > 0, index < steps[sentences]], 1)
    halves = (starts[:-1] + starts[1:] + limit + 1) // 2
    own_starts = np.where(inside[:, 0], np.append(0, halves)[: len(starts)], 0)
    own_ends = np.where(inside[:, 1], np.append(halves, 0)[: len(starts)], lengths[sentences])
    kept = np.minimum(lengths[sentences], limit)
    return Windows(sentences, starts, kept, own_starts, own_ends, inside)
