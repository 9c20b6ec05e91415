"""Tokenized text as a stream of tokens in pieces: lines, or sentences and parts of them."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from electra_zh.data.build.settings import Packing
from electra_zh.text.characters import CODE_POINTS
from electra_zh.text.tokenizer import TokenizedText

# The bit of a stream's id for a token that does not begin a word. Packing only slices and joins
# ids, so the flag travels with them. No vocabulary is that large.
INSIDE_WORD = np.int32(1 << 30)

_SENTENCE_ENDS = "。！？；…!?;｡"
_CLOSERS = "”’」』）》〉】〕］｝）)]}\"'»"
_CLAUSE_ENDS = "，、：,:"
_NONE, _CLOSER, _CLAUSE, _PERIOD, _SENTENCE, _NEWLINE = range(6)
_SPACES = (0x20, 0x0A, 0x09, 0x3000)


class TokenStream(NamedTuple):
    """Tokens with the positions where they may be cut.

    The document after the last end continues in the next stream; an end at 0 is that of a document
    that the previous stream left open.
    """

    ids: np.ndarray  # int32 [T]; with words, tokens inside a word have the bit `INSIDE_WORD`.
    piece_ends: np.ndarray  # int64 [P], increasing; the last one is T (none where T is 0).
    document_ends: np.ndarray  # int64 [D], increasing, 0 to T.


def token_stream(
    tokenized: TokenizedText,
    text: str,
    *,
    packing: Packing,
    max_length: int,
    word_starts: np.ndarray | None = None,
) -> TokenStream:
    """Returns the tokens of a text with the pieces that the packing works on.

    `word_starts`, bool [T], marks the tokens that begin a word; it is None for data without words.
    """
    newlines = np.flatnonzero(tokenized.codepoints == ord("\n"))
    document_ends = _distinct(_document_ends(tokenized, text, newlines), keep_zero=True)
    if packing == "reference":
        # Lines without tokens are dropped: they do not change the examples of the reference.
        piece_ends = _distinct(tokenized.line_ends)
    else:
        piece_ends = _sentence_pieces(tokenized, (max_length - 3) // 2)
    ids = tokenized.ids
    if word_starts is not None:
        ids = ids | np.where(word_starts, np.int32(0), INSIDE_WORD)
    return TokenStream(ids, piece_ends, document_ends)


def _document_ends(tokenized: TokenizedText, text: str, newlines: np.ndarray) -> np.ndarray:
    """Returns the token positions of the blank lines."""
    line_ends = tokenized.line_ends
    without_tokens = np.flatnonzero(np.diff(line_ends, prepend=0) == 0)
    starts = np.concatenate([[0], newlines + 1])[without_tokens]
    ends = np.append(newlines, len(tokenized.codepoints))[without_tokens]
    blank = starts == ends
    for index in np.flatnonzero(~blank).tolist():
        # White space, or characters that the tokenizer drops: only the first ends a document.
        blank[index] = text[starts[index] : ends[index]].isspace()
    found: np.ndarray = line_ends[without_tokens[blank]]
    return found


def _distinct(positions: np.ndarray, *, keep_zero: bool = False) -> np.ndarray:
    """Returns sorted positions without repetition, and without 0 by default."""
    distinct: np.ndarray = positions[np.diff(positions, prepend=-1 if keep_zero else 0) > 0]
    return distinct


@functools.cache
def _character_classes() -> np.ndarray:
    """Returns uint8 [0x110000]: the class of each character for finding the ends of sentences."""
    classes = np.full(CODE_POINTS, _NONE, np.uint8)
    for characters, value in (
        (_CLOSERS, _CLOSER),
        (_CLAUSE_ENDS, _CLAUSE),
        (_SENTENCE_ENDS, _SENTENCE),
        (".", _PERIOD),
        ("\n", _NEWLINE),
    ):
        classes[[ord(character) for character in characters]] = value
    return classes


def _sentence_pieces(tokenized: TokenizedText, max_piece: int) -> np.ndarray:
    """Returns the ends of pieces of at most `max_piece` tokens: sentences, clauses, or cut."""
    codepoints, token_ends = tokenized.codepoints, tokenized.token_ends
    total = len(tokenized.ids)
    classes = _character_classes().take(codepoints)
    ends = np.append(token_ends[_sentence_ends(classes, codepoints)], total)
    pieces = _distinct(ends)
    too_long = np.diff(pieces, prepend=0) > max_piece
    if too_long.any():
        clauses = token_ends[np.flatnonzero(classes == _CLAUSE)]
        clauses = clauses[too_long[np.searchsorted(pieces, clauses)]]
        pieces = _distinct(np.sort(np.concatenate([pieces, clauses]), kind="stable"))
    lengths = np.diff(pieces, prepend=0)
    cuts = (lengths - 1) // max_piece
    if cuts.any():
        number = np.arange(cuts.sum()) - np.repeat(np.cumsum(cuts) - cuts, cuts)
        extra = np.repeat(pieces - lengths, cuts) + (number + 1) * max_piece
        pieces = np.sort(np.concatenate([pieces, extra]), kind="stable")
    return pieces


def _sentence_ends(classes: np.ndarray, codepoints: np.ndarray) -> np.ndarray:
    """Returns the positions of the characters that end a sentence or a line, in order."""
    ends = np.flatnonzero(classes >= _SENTENCE)
    periods = np.flatnonzero(classes == _PERIOD)
    if len(periods):
        # The dots of 3.14 or example.com, which end no sentence, are followed by something else.
        following = codepoints[np.minimum(periods + 1, len(codepoints) - 1)]
        periods = periods[np.isin(following, _SPACES) | (periods == len(codepoints) - 1)]
        ends = np.sort(np.concatenate([ends, periods]), kind="stable")
    # Repeated marks and closing quotes and brackets belong to the sentence before them.
    inside = (classes == _SENTENCE) | (classes == _CLOSER)
    run_ends = np.flatnonzero(inside & ~np.append(inside[1:], False))
    marks = inside[ends]
    ends[marks] = run_ends[np.searchsorted(run_ends, ends[marks])]
    return ends
