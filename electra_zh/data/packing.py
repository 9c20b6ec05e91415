"""Documents to two-segment examples.

Packing sees a document as a stream of tokens in pieces that it does not like to cut. An example is
[CLS] first [SEP] or [CLS] first [SEP] second [SEP], and both packers draw the same random numbers
for it, in the same order, from the reference (google-research/electra,
build_pretraining_dataset.py, ExampleBuilder):

- one in ten examples has one segment; else the first segment is filled up to (target - 3) // 2,
  and the piece that crosses that line goes to it by the toss of a coin;
- pieces are taken until there are `target` tokens of them: `max_length`, or, for one example in
  twenty, a random number from 5 to `max_length`.

`ReferencePacker` is the reference exactly. A piece is a line, and what does not fit the example is
lost, which is most of a corpus that has a paragraph on each line.

`FullPacker`, the default, loses nothing. It differs in this:

- A piece is a sentence, found by its punctuation, so a line can be of any length. A sentence longer
  than a segment's share, (max_length - 3) // 2, is cut at commas, and what is still longer
  anywhere.
- Tokens that do not fit the example open the next one. So every example but a document's last and
  those with a random target is full to the last place; in return, an example may start in the
  middle of a sentence.
- The first segment is a stretch of the document, and the second is the stretch behind it. In the
  reference a short line behind the crossing one could still slip into the first segment.

Where every line is one sentence of ordinary length, the shares of one-segment and of short examples
and the mean length stay the reference's (a test holds the shares within 2.5 points of a hundred,
the mean within 3). On lines longer than a segment the reference drifts from its own plan: such a
line fills the first segment, and the share of one-segment examples rises from the tenth that is
drawn to a quarter or a third; here it stays near the plan (docs/results.md has figures).

The examples of a document are then consecutive ranges of its tokens, and the tokens of all examples
are the tokens of the corpus: none is copied or looked at while packing.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from electra_zh.data.pieces import Packing, TokenStream, token_stream

__all__ = [
    "Examples",
    "FullPacker",
    "Packer",
    "Packing",
    "ReferencePacker",
    "TokenStream",
    "make_packer",
    "token_stream",
]

MIN_LENGTH = 8
# As in fine-tuning; a mistyped length would take all memory.
MAX_LENGTH = 4096

ONE_SEGMENT_PROBABILITY = 0.1
RANDOM_TARGET_PROBABILITY = 0.05
MIN_TARGET = 5
# No segment is as long: everything fits the first one.
_UNLIMITED = 100_000
_SPECIALS_ONE, _SPECIALS_TWO = 2, 3

# Why the reference packer lost tokens.
FIRST_CUT = "first segment longer than the example"
SECOND_CUT = "beyond the end of the example"


class Examples(NamedTuple):
    """Examples as segments of tokens.

    Attributes:
      ids: int32, the tokens of all examples one behind the other, first segment before second.
      first_lengths: int64 [N].
      second_lengths: int64 [N]; 0 where there is one segment.
    """

    ids: np.ndarray
    first_lengths: np.ndarray
    second_lengths: np.ndarray


class Packer(Protocol):
    """What both packers are.

    Attributes:
      dropped: tokens lost so far, by reason.
    """

    dropped: dict[str, int]

    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""

    def finish(self) -> Examples:
        """Ends the document that is open, and returns its last examples."""


def make_packer(packing: Packing, *, max_length: int, generator: random.Random) -> Packer:
    """Returns a packer of the given kind."""
    if packing == "reference":
        return ReferencePacker(max_length=max_length, generator=generator)
    return FullPacker(max_length=max_length, generator=generator)


class _Carry:
    """Holds the end of a stream whose document is not finished, and puts it before the next."""

    def __init__(self) -> None:
        self._ids = np.zeros(0, np.int32)
        self._piece_ends = np.zeros(0, np.int64)

    def join(self, stream: TokenStream) -> TokenStream:
        held = len(self._ids)
        if not held:
            return stream
        return TokenStream(
            np.concatenate([self._ids, stream.ids]),
            np.concatenate([self._piece_ends, stream.piece_ends + held]),
            stream.document_ends + held,
        )

    def keep(self, stream: TokenStream, start: int) -> None:
        first = int(np.searchsorted(stream.piece_ends, start, side="right"))
        self._ids = stream.ids[start:].copy()
        self._piece_ends = stream.piece_ends[first:] - start


_EMPTY = TokenStream(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(1, np.int64))


class FullPacker:
    """Packs without losing a token; see the module's docstring."""

    def __init__(self, *, max_length: int, generator: random.Random) -> None:
        """Starts packing.

        Args:
          max_length: tokens of an example, [CLS] and [SEP] included.
          generator: where the random choices come from.
        """
        self.dropped: dict[str, int] = {}
        self._max_length = max_length
        self._generator = generator
        self._target = max_length
        self._carry = _Carry()

    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""
        stream = self._carry.join(stream)
        splits: list[int] = []
        ends: list[int] = []
        piece_ends = stream.piece_ends.tolist()
        start = 0
        for document_end in stream.document_ends.tolist():
            start = self._pack(piece_ends, start, document_end, True, splits, ends)
        start = self._pack(piece_ends, start, len(stream.ids), False, splits, ends)
        self._carry.keep(stream, start)
        end_positions = np.array(ends, np.int64)
        split_positions = np.array(splits, np.int64)
        starts = np.concatenate([[0], end_positions[:-1]]) if ends else end_positions
        return Examples(
            stream.ids[:start], split_positions - starts, end_positions - split_positions
        )

    def finish(self) -> Examples:
        """Ends the document that is open, and returns its last examples."""
        return self.add(_EMPTY)

    def _pack(
        self,
        piece_ends: list[int],
        start: int,
        limit: int,
        closed: bool,
        splits: list[int],
        ends: list[int],
    ) -> int:
        """Appends the examples of a document's tokens from `start` to `limit`.

        Args:
          piece_ends: of the whole stream.
          start: first token of the first example.
          limit: the end of the document, or of what is known of it.
          closed: whether the document ends there.
          splits: gets the end of each first segment.
          ends: gets the end of each example.

        Returns:
          Where the tokens start that wait for more.
        """
        max_length = self._max_length
        draw: Callable[[], float] = self._generator.random
        target = self._target
        piece = bisect_left(piece_ends, start)
        while start < limit and (closed or limit - start >= target):
            pending = limit
            if limit - start > target:
                # At full target the example is cut before the piece ends anyway.
                full = target == max_length
                pending = start + target
                if not full:
                    pending = piece_ends[bisect_left(piece_ends, pending, piece)]
            first_target = (target - _SPECIALS_TWO) // 2
            if draw() < ONE_SEGMENT_PROBABILITY or pending - start < first_target:
                split = pending
            else:
                crossing = bisect_left(piece_ends, start + first_target, piece)
                split = piece_ends[crossing]
                before = piece_ends[crossing - 1] if crossing else 0
                # The first piece goes to the first segment whatever its length.
                if before > start and draw() >= 0.5:
                    split = before
                piece = crossing - 1 if crossing else 0
            if split >= pending or split - start >= max_length - _SPECIALS_TWO:
                end = min(split, pending, start + max_length - _SPECIALS_ONE)
                split = end
            else:
                end = min(pending, start + max_length - _SPECIALS_TWO)
            splits.append(split)
            ends.append(end)
            start = end
            target = max_length
            if draw() < RANDOM_TARGET_PROBABILITY:
                target = self._generator.randint(MIN_TARGET, max_length)
        self._target = target
        return start


class ReferencePacker:
    """Packs as the reference does: the same examples from the same random numbers.

    Reference: build_pretraining_dataset.py, ExampleBuilder.
    """

    def __init__(self, *, max_length: int, generator: random.Random) -> None:
        """Starts packing.

        Args:
          max_length: tokens of an example, [CLS] and [SEP] included.
          generator: where the random choices come from.
        """
        self.dropped: dict[str, int] = {FIRST_CUT: 0, SECOND_CUT: 0}
        self._max_length = max_length
        self._generator = generator
        self._target = max_length
        self._carry = _Carry()
        # Of the examples being made: kept ranges of tokens, and lengths.
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self._firsts: list[int] = []
        self._seconds: list[int] = []

    def add(self, stream: TokenStream) -> Examples:
        """Takes the next stretch of the corpus and returns the examples that are complete."""
        stream = self._carry.join(stream)
        for made in (self._starts, self._lengths, self._firsts, self._seconds):
            made.clear()
        piece_ends = stream.piece_ends.tolist()
        start = piece = 0
        for limit, closed in [
            *((end, True) for end in stream.document_ends.tolist()),
            (len(stream.ids), False),
        ]:
            while start < limit and (closed or limit - start >= self._target):
                # The line that brings the pending ones to the target, or the document's last.
                last = bisect_left(piece_ends, min(start + self._target, limit), piece)
                self._make_example(piece_ends, start, piece, last + 1)
                start, piece = piece_ends[last], last + 1
        self._carry.keep(stream, start)
        lengths = np.array(self._lengths, np.int64)
        shift = np.array(self._starts, np.int64) - (np.cumsum(lengths) - lengths)
        kept = np.repeat(shift, lengths) + np.arange(lengths.sum())
        return Examples(
            stream.ids[kept], np.array(self._firsts, np.int64), np.array(self._seconds, np.int64)
        )

    def finish(self) -> Examples:
        """Ends the document that is open, and returns its last example."""
        return self.add(_EMPTY)

    def _make_example(self, piece_ends: list[int], start: int, first: int, last: int) -> None:
        """Makes an example of the lines `first` to `last`; the first one begins at `start`."""
        draw = self._generator.random
        if draw() < ONE_SEGMENT_PROBABILITY:
            first_target = _UNLIMITED
        else:
            first_target = (self._target - _SPECIALS_TWO) // 2
        segments: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
        first_length = second_length = 0
        for end in piece_ends[first:last]:
            length = end - start
            # Parity: a short line behind the crossing one can still go to the first segment.
            if (
                first_length == 0
                or first_length + length < first_target
                or (second_length == 0 and first_length < first_target and draw() < 0.5)
            ):
                segments[0].append((start, length))
                first_length += length
            else:
                segments[1].append((start, length))
                second_length += length
            start = end
        kept_first = min(first_length, self._max_length - _SPECIALS_ONE)
        kept_second = min(second_length, max(0, self._max_length - kept_first - _SPECIALS_TWO))
        self._keep(segments[0], kept_first)
        self._keep(segments[1], kept_second)
        self._firsts.append(kept_first)
        self._seconds.append(kept_second)
        self.dropped[FIRST_CUT] += first_length - kept_first
        self.dropped[SECOND_CUT] += second_length - kept_second
        self._target = self._max_length
        if draw() < RANDOM_TARGET_PROBABILITY:
            self._target = self._generator.randint(MIN_TARGET, self._max_length)

    def _keep(self, ranges: list[tuple[int, int]], room: int) -> None:
        for start, length in ranges:
            if room <= 0:
                return
            self._starts.append(start)
            self._lengths.append(min(length, room))
            room -= length
