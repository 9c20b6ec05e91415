#!/usr/bin/env python3
"""Checks the packing against the reference's examples and writes tests/golden/packing.npz.

    python scripts/make_golden_packing.py GOLDEN_DIR VOCABULARY

GOLDEN_DIR holds packing_input.txt.xz, a text, and packing.npz: `input_ids`, `input_mask` and
`segment_ids` of the examples that the example builder of google-research/electra makes from it with
VOCABULARY (Google's Chinese vocabulary of 21,128 tokens), for lengths 128 and 512 and random seeds
0 and 1. All of them are compared, value by value. The fixture keeps numbers only: the number of
tokens of each line, the lengths of the two segments of every example, and for each setting a
checksum of the positions of the examples' tokens in the text.
"""

from __future__ import annotations

import hashlib
import lzma
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from electra_zh.data.build import packing
from electra_zh.data.build.pieces import TokenStream, token_stream
from electra_zh.data.build.rows import make_rows
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

SETTINGS = [(length, seed) for length in (128, 512) for seed in (0, 1)]
BLANK = -1


def pack(stream: TokenStream, length: int, seed: int) -> packing.Examples:
    """Returns the examples of a whole text."""
    packer = packing.ReferencePacker(max_length=length, generator=random.Random(seed))
    made = [packer.add(stream), packer.finish()]
    return packing.Examples(*(np.concatenate(parts) for parts in zip(*made, strict=True)))


def main() -> None:
    """Checks, and writes the fixture."""
    golden, vocabulary_file = Path(sys.argv[1]), sys.argv[2]
    text = lzma.decompress((golden / "packing_input.txt.xz").read_bytes()).decode()
    expected = np.load(golden / "packing.npz")
    vocabulary = Vocabulary.load(vocabulary_file)
    tokenized = WordPieceTokenizer(vocabulary).tokenize_text(text)
    lines = np.diff(tokenized.line_ends, prepend=0)
    is_blank = np.array([not line.strip() for line in text.split("\n")])
    fixture: dict[str, Any] = {"line_tokens": np.where(is_blank, BLANK, lines).astype(np.int32)}
    for length, seed in SETTINGS:
        stream = token_stream(tokenized, text, packing="reference", max_length=length)
        examples = pack(stream, length, seed)
        rows = make_rows(
            examples,
            max_length=length,
            cls_id=vocabulary.cls_id,
            sep_id=vocabulary.sep_id,
            dtype=np.dtype(np.int64),
        )
        name = f"L{length}_seed{seed}"
        column = np.arange(length)
        mask = column < rows[:, :1]
        check(rows[:, 2:], expected[f"input_ids_{name}"], f"input_ids {name}")
        check(mask, expected[f"input_mask_{name}"], f"input_mask {name}")
        segments = mask & (column >= rows[:, 1:2])
        check(segments, expected[f"segment_ids_{name}"], f"segment_ids {name}")
        # The lengths are the reference's own, counted in its arrays.
        second = expected[f"segment_ids_{name}"].sum(axis=1)
        first = expected[f"input_mask_{name}"].sum(axis=1) - second - 2
        fixture[f"first_{name}"] = first.astype(np.int16)
        fixture[f"second_{name}"] = np.maximum(second - 1, 0).astype(np.int16)
        positions = pack(stream._replace(ids=np.arange(len(stream.ids))), length, seed).ids
        digest = hashlib.sha256(positions.astype("<i8").tobytes()).digest()
        fixture[f"positions_{name}"] = np.frombuffer(digest, np.uint8)
        print(f"{name}: {len(rows):,} examples equal")
    target = Path(__file__).parent.parent / "tests" / "golden" / "packing.npz"
    np.savez_compressed(target, **fixture)
    print(f"wrote {target.name}, {target.stat().st_size:,} bytes")


def check(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Stops unless the arrays are equal."""
    if not np.array_equal(found, expected):
        raise SystemExit(f"{what} differs from the reference")


if __name__ == "__main__":
    main()
