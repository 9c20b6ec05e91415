"""Examples as tables of rows: the form in which the first half of a build leaves them.

A row has the length of the example, the length of [CLS] first [SEP], and the padded ids. In data
with words, the top bit of an id says that the token is inside a word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from electra_zh.data.build.packing import Examples
from electra_zh.data.build.pieces import INSIDE_WORD
from electra_zh.data.records import INPUT_MASK, SEGMENT_IDS, WORD_STARTS

# Columns before the ids.
_LENGTH, _FIRST_LENGTH, _FIRST_ID = 0, 1, 2


def row_dtype(vocabulary_size: int, max_length: int, *, words: bool = False) -> np.dtype:
    """Returns the smallest type that holds a row's lengths, its ids, and with words their flag."""
    small = np.dtype("<u2")
    most_ids = _top_bit(small) if words else np.iinfo(small).max
    fits = vocabulary_size <= most_ids and max_length <= np.iinfo(small).max
    return small if fits else np.dtype("<u4")


def _top_bit(dtype: np.dtype) -> int:
    return 1 << (8 * dtype.itemsize - 1)


def row_width(max_length: int) -> int:
    """Returns the columns of a table of rows."""
    return _FIRST_ID + max_length


def make_rows(
    examples: Examples,
    *,
    max_length: int,
    cls_id: int,
    sep_id: int,
    dtype: np.dtype,
    words: bool = False,
) -> np.ndarray:
    """Returns examples as a table, `dtype` [N, 2 + max_length].

    With words, the bit `INSIDE_WORD` of the examples' ids becomes the top bit of the rows' ids.
    """
    first = (examples.first_lengths + 2).astype(dtype)[:, None]
    length = examples.first_lengths + examples.second_lengths + 2 + (examples.second_lengths > 0)
    length = length.astype(dtype)[:, None]
    rows = np.zeros((len(first), row_width(max_length)), dtype)
    if not len(rows):
        return rows
    ids = rows[:, _FIRST_ID:]
    column = np.arange(max_length, dtype=dtype)
    is_token = (column < length - 1) & (column != first - 1)
    is_token[:, 0] = False
    tokens = examples.ids
    if words:
        inside = (tokens & INSIDE_WORD) != 0
        tokens = (tokens & ~INSIDE_WORD).astype(dtype) | inside * dtype.type(_top_bit(dtype))
    # In the order of rows, then columns, the tokens fill exactly these places.
    ids[is_token] = tokens
    ids[:, 0] = cls_id
    every = np.arange(len(rows))
    ids[every, first[:, 0] - 1] = sep_id
    ids[every, length[:, 0] - 1] = sep_id
    rows[:, _LENGTH] = length[:, 0]
    rows[:, _FIRST_LENGTH] = first[:, 0]
    return rows


class RowCounts(NamedTuple):
    """Counts of a table of rows."""

    examples: int
    one_segment: int  # Rows without a second segment.
    short: int  # Rows with padding.
    positions: int  # Of all rows, without padding, with [CLS] and [SEP].


def count_rows(rows: np.ndarray) -> RowCounts:
    """Counts the rows of a table."""
    lengths = rows[:, _LENGTH].astype(np.int64)
    one_segment = rows[:, _LENGTH] == rows[:, _FIRST_LENGTH]
    full = rows.shape[1] - _FIRST_ID
    return RowCounts(
        len(rows), int(one_segment.sum()), int((lengths < full).sum()), int(lengths.sum())
    )


def features_of(rows: np.ndarray, *, words: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Returns the ids [N, L] of a table, and its features of 0 and 1, bool [N, L] by name."""
    length = rows[:, _LENGTH : _LENGTH + 1]
    first = rows[:, _FIRST_LENGTH : _FIRST_LENGTH + 1]
    ids = rows[:, _FIRST_ID:]
    column = np.arange(ids.shape[1], dtype=rows.dtype)
    is_token = column < length
    flags = {INPUT_MASK: is_token, SEGMENT_IDS: is_token & (column >= first)}
    if words:
        top_bit = rows.dtype.type(_top_bit(rows.dtype))
        # Where packing cut a word, the rest of it is a word of its segment: it must not be masked
        # together with the [CLS] or [SEP] before it.
        flags[WORD_STARTS] = is_token & ((ids < top_bit) | (column == 1) | (column == first))
        ids = ids & ~top_bit
    return ids, flags
