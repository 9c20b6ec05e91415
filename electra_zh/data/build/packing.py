"""Documents to two-segment examples.

Packing sees a document as a stream of tokens in pieces, which it prefers not to cut. An example is
[CLS] first [SEP] or [CLS] first [SEP] second [SEP]. Both packers draw the same random numbers for
it, in the same order, as the reference (google-research/electra, build_pretraining_dataset.py,
ExampleBuilder):

- One in ten examples has one segment. In the others the first segment is filled up to
  (target - 3) // 2; a coin decides whether the piece that crosses this line belongs to it.
- Pieces are taken until they have `target` tokens. The target is `max_length`, or for one example
  in twenty a random number from 5 to `max_length`.

`ReferencePacker` is exactly the reference. A piece is a line. Tokens that do not fit the example
are lost; in a corpus with a paragraph per line these are most tokens.

`FullPacker`, the default, loses nothing. It differs as follows:

- A piece is a sentence, found by its punctuation, so lines may have any length. A sentence longer
  than a segment's half, (max_length - 3) // 2, is cut at commas, and if still too long anywhere.
- Tokens that do not fit the example open the next one. So all examples are full, except the last
  of a document and those with a random target. In return, an example may start in mid-sentence.
- The first segment is a stretch of the document, and the second is the stretch after it. In the
  reference a short line after the crossing one can still get into the first segment.

Where every line is one sentence of ordinary length, a test holds the fractions of one-segment and
of short examples within 2.5 points of the reference's. On longer lines, which fill the first
segment, the reference makes a quarter or a third of the examples with one segment, not a tenth;
here the fraction stays near the plan (docs/results.md has figures).

`JoinedPacker` is the full one for short documents, which would leave most positions to padding: an
example continues with the next document, after a [SEP] (RoBERTa's full sentences, Liu et al. 2019).

The tokens of all examples are the tokens of the corpus in order, and those of joined documents the
separators between them: packing reads no others.
"""

from __future__ import annotations

import abc
import random
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from electra_zh.data.build.pieces import TokenStream
from electra_zh.data.build.settings import Packing

ONE_SEGMENT_PROBABILITY = 0.1
RANDOM_TARGET_PROBABILITY = 0.05
MIN_TARGET = 5
# Longer than any segment: every piece fits the first one.
_UNLIMITED = 100_000
_SPECIALS_ONE, _SPECIALS_TWO = 2, 3

# Reasons for which the reference packer loses tokens.
FIRST_CUT = "first segment longer than the example"
SECOND_CUT = "beyond the end of the example"


class Examples(NamedTuple):
    """N examples as segments of tokens."""

    ids: np.ndarray  # int32, the tokens of all examples in order, first segment before second.
    first_lengths: np.ndarray  # int64 [N]
    second_lengths: np.ndarray  # int64 [N]; 0 for examples with one segment.


_NO_ENDS = np.zeros(0, np.int64)
_EMPTY = TokenStream(np.zeros(0, np.int32), _NO_ENDS, np.zeros(1, np.int64))


class Packer(abc.ABC):
    """Base of the packers: the target, and the tokens of a document that is still open.

    `max_length` is the number of tokens per example, [CLS] and [SEP] included, and `sep_id` that of
    the separators.

    Attributes:
      dropped: tokens lost so far, by reason.
      separators: separators so far, inside segments.
    """

    def __init__(self, *, max_length: int, sep_id: int, generator: random.Random) -> None:
        self.dropped: Counter[str] = Counter()
        self.separators = 0
        self._max_length, self._sep_id = max_length, sep_id
        self._generator = generator
        self._target = max_length
        self._open = _EMPTY

    @abc.abstractmethod
    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""

    def finish(self) -> Examples:
        """Ends the document that is open, and returns its last examples."""
        return self.add(_EMPTY)

    def _join(self, stream: TokenStream) -> TokenStream:
        """Returns a stream with the tokens of the open document before it."""
        held = len(self._open.ids)
        if not held:
            return stream
        return TokenStream(
            np.concatenate([self._open.ids, stream.ids]),
            np.concatenate([self._open.piece_ends, stream.piece_ends + held]),
            stream.document_ends + held,
        )

    def _keep(self, stream: TokenStream, start: int) -> None:
        """Keeps the tokens from `start` on: their document is still open."""
        first = int(np.searchsorted(stream.piece_ends, start, side="right"))
        ids, piece_ends = stream.ids[start:].copy(), stream.piece_ends[first:] - start
        self._open = TokenStream(ids, piece_ends, _EMPTY.document_ends)

    def _draw_target(self) -> int:
        is_random = self._generator.random() < RANDOM_TARGET_PROBABILITY
        length = self._max_length
        return self._generator.randint(MIN_TARGET, length) if is_random else length


class FullPacker(Packer):
    """Packs without losing a token; see the module's docstring."""

    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""
        stream = self._join(stream)
        piece_ends = stream.piece_ends.tolist()
        bounds = [0]  # Of the segments: start, end of first, end of second, end of first, ...
        for limit, closed in _document_limits(stream):
            self._cut(piece_ends, bounds, limit, closed)
        self._keep(stream, bounds[-1])
        lengths = np.diff(np.array(bounds, np.int64))
        return Examples(stream.ids[: bounds[-1]], lengths[::2], lengths[1::2])

    def _cut(self, piece_ends: list[int], bounds: list[int], limit: int, closed: bool) -> None:
        """Adds the end of the first segment and the end of each example of a document.

        The document is known up to `limit`, and ends there if it is `closed`.
        """
        draw, max_length = self._generator.random, self._max_length
        start, target = bounds[-1], self._target
        piece = bisect_left(piece_ends, start)
        while start < limit and (closed or limit - start >= target):
            # The end of the pieces that make up the example, before it is cut. One of the full
            # length is cut before the end of its last piece anyway.
            pending = start + target
            if pending >= limit:
                pending = limit
            elif target < max_length:
                pending = piece_ends[bisect_left(piece_ends, pending, piece)]
            first_target = (target - _SPECIALS_TWO) // 2
            if draw() < ONE_SEGMENT_PROBABILITY or pending - start < first_target:
                split = pending
            else:
                crossing = bisect_left(piece_ends, start + first_target, piece)
                split = piece_ends[crossing]
                piece = crossing - 1 if crossing else 0
                before = piece_ends[piece] if crossing else 0
                # The first piece belongs to the first segment, whatever its length.
                if before > start and draw() >= 0.5:
                    split = before
            if split < pending and split - start < max_length - _SPECIALS_TWO:
                end = min(pending, start + max_length - _SPECIALS_TWO)
            else:
                split = end = min(split, pending, start + max_length - _SPECIALS_ONE)
            bounds.append(split)
            bounds.append(end)
            start, target = end, self._draw_target()
        self._target = target


class JoinedPacker(FullPacker):
    """Packs several documents into an example, with separators between them."""

    _has_tokens = False  # Whether there was a token before.
    _at_border = False  # Whether a document has ended after the last token.

    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""
        total, ends = len(stream.ids), stream.document_ends
        self._at_border |= self._has_tokens and 0 in ends
        if not total:
            return self._without_outer(super().add(stream._replace(document_ends=_NO_ENDS)))
        # A separator is the first token of a document's first piece.
        places = ends[(ends > 0) & (ends < total)]
        if self._at_border:
            places = np.append(0, places)
        self._has_tokens, self._at_border = True, total in ends
        ids = np.insert(stream.ids, places, self._sep_id)
        piece_ends = stream.piece_ends + np.searchsorted(places, stream.piece_ends)
        return self._without_outer(super().add(TokenStream(ids, piece_ends, _NO_ENDS)))

    def finish(self) -> Examples:
        """Ends the document that is open, and returns the last examples."""
        return self._without_outer(super().add(_EMPTY))

    def _without_outer(self, examples: Examples) -> Examples:
        """Returns examples without separators where a segment begins or ends: it has its own."""
        lengths = np.stack([examples.first_lengths, examples.second_lengths], 1).ravel()
        stops = np.cumsum(lengths)
        is_sep = np.append(examples.ids == self._sep_id, False)
        at_start, at_stop = (stops - lengths)[lengths > 1], stops[lengths > 0] - 1
        outer = np.zeros(len(is_sep), bool)
        outer[at_start] = is_sep[at_start]
        outer[at_stop] = is_sep[at_stop]
        lengths -= np.diff(np.append(0, np.cumsum(outer))[np.append(0, stops)])
        self.separators += int(np.count_nonzero(is_sep & ~outer))
        first, second = lengths[::2], lengths[1::2]
        first, second = np.where(first, first, second), np.where(first, second, 0)
        kept = first > 0
        return Examples(examples.ids[~outer[:-1]], first[kept], second[kept])


class ReferencePacker(Packer):
    """Packs as the reference does: the same examples from the same random numbers.

    Reference: build_pretraining_dataset.py, ExampleBuilder.
    """

    def __init__(self, *, max_length: int, sep_id: int, generator: random.Random) -> None:
        super().__init__(max_length=max_length, sep_id=sep_id, generator=generator)
        self.dropped.update({FIRST_CUT: 0, SECOND_CUT: 0})

    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""
        stream = self._join(stream)
        starts: list[int] = []  # Of the ranges of tokens that are kept.
        lengths: list[int] = []
        segments: list[int] = []  # Lengths of first, second, first, ...
        piece_ends = stream.piece_ends.tolist()
        start = piece = 0
        for limit, closed in _document_limits(stream):
            while start < limit and (closed or limit - start >= self._target):
                # The line that brings the pending ones to the target, or the document's last.
                last = bisect_left(piece_ends, min(start + self._target, limit), piece)
                segments += self._add_example(piece_ends[piece : last + 1], start, starts, lengths)
                self._target = self._draw_target()
                start, piece = piece_ends[last], last + 1
        self._keep(stream, start)
        sizes, bounds = np.array(lengths, np.int64), np.array(segments, np.int64)
        shift = np.array(starts, np.int64) - (np.cumsum(sizes) - sizes)
        kept = np.repeat(shift, sizes) + np.arange(sizes.sum())
        return Examples(stream.ids[kept], bounds[::2], bounds[1::2])

    def _add_example(
        self, line_ends: list[int], start: int, starts: list[int], lengths: list[int]
    ) -> tuple[int, int]:
        """Adds the ranges of an example of lines from `start` on; returns its segments' lengths."""
        draw = self._generator.random
        if draw() < ONE_SEGMENT_PROBABILITY:
            first_target = _UNLIMITED
        else:
            first_target = (self._target - _SPECIALS_TWO) // 2
        first_lines: list[tuple[int, int]] = []
        second_lines: list[tuple[int, int]] = []
        first_length = second_length = 0
        for end in line_ends:
            length = end - start
            # Parity: a short line after the crossing one can still get into the first segment.
            if (
                first_length == 0
                or first_length + length < first_target
                or (second_length == 0 and first_length < first_target and draw() < 0.5)
            ):
                first_lines.append((start, length))
                first_length += length
            else:
                second_lines.append((start, length))
                second_length += length
            start = end
        kept_first = min(first_length, self._max_length - _SPECIALS_ONE)
        kept_second = min(second_length, max(0, self._max_length - kept_first - _SPECIALS_TWO))
        for lines, room in ((first_lines, kept_first), (second_lines, kept_second)):
            for first, length in lines:
                if room <= 0:
                    break
                starts.append(first)
                lengths.append(min(length, room))
                room -= length
        self.dropped[FIRST_CUT] += first_length - kept_first
        self.dropped[SECOND_CUT] += second_length - kept_second
        return kept_first, kept_second


PACKERS: dict[Packing, type[Packer]] = {
    "full": FullPacker,
    "joined": JoinedPacker,
    "reference": ReferencePacker,
}


def _document_limits(stream: TokenStream) -> Iterator[tuple[int, bool]]:
    """Yields the end of each document or of its known part; True if the document ends there."""
    for end in stream.document_ends.tolist():
        yield end, True
    yield len(stream.ids), False
