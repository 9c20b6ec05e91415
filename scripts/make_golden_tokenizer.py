#!/usr/bin/env python3
"""Checks the tokenizer against the reference's ids and writes tests/golden/tokenizer.json.xz.

    python scripts/make_golden_tokenizer.py GOLDEN_DIR VOCABULARY

GOLDEN_DIR holds tokenizer.jsonl.gz: JSON lines with `kind`, `text` and, under the names of three
settings, the ids that google-research/electra's tokenizer gives with VOCABULARY (Google's Chinese
vocabulary of 21,128 tokens). All lines are checked, by both paths of our tokenizer. The fixture
keeps the lines that were written for the purpose (`kind` is "made"), with ids of a vocabulary that
is reduced to the tokens that occur in them. This does not change greedy matching: the longest match
of the full vocabulary is still there, and nothing that matches was added.
"""

from __future__ import annotations

import gzip
import json
import lzma
import sys
import unicodedata
from pathlib import Path
from typing import Any

from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

SETTINGS = {
    "lower_strip": TokenizerSettings(),
    "lower_keep_accents": TokenizerSettings(strip_accents=False),
    "cased": TokenizerSettings(lower_case=False),
}
FIXTURE = Path(__file__).parent.parent / "tests" / "golden" / "tokenizer.json.xz"


def check(rows: list[dict[str, Any]], vocabulary: Vocabulary) -> None:
    """Compares both paths of the tokenizer with the ids in the rows; raises on a difference."""
    for name, settings in SETTINGS.items():
        tokenizer = WordPieceTokenizer(vocabulary, settings)
        result = tokenizer.tokenize_text("\n".join(row["text"] for row in rows))
        starts = [0, *result.line_ends.tolist()]
        for number, row in enumerate(rows):
            quick = result.ids[starts[number] : starts[number + 1]].tolist()
            if not tokenizer.encode(row["text"]) == quick == row[name]:
                raise SystemExit(f"{name}: line {number} differs: {row['text']!r}")
        print(f"{name}: {len(rows)} lines equal by both paths, {len(result.ids)} tokens")


def reduce(rows: list[dict[str, Any]], vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the fixture: vocabulary, settings, and the made-up rows with ids of it."""
    used = {vocabulary.ids[token] for token in SPECIAL_TOKENS}
    used.update(index for row in rows for name in SETTINGS for index in row[name])
    new_id = {index: place for place, index in enumerate(sorted(used))}
    cases = [
        {"text": row["text"]} | {name: [new_id[index] for index in row[name]] for name in SETTINGS}
        for row in rows
    ]
    characters = sorted({char for row in rows for char in row["text"]})
    return {
        "unicode": unicodedata.unidata_version,
        "unassigned": [char for char in characters if unicodedata.category(char) == "Cn"],
        "vocabulary": [vocabulary.tokens[index] for index in sorted(used)],
        "cases": cases,
    }


def main() -> None:
    """Checks all, then writes the fixture and checks it."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    vocabulary = Vocabulary.load(sys.argv[2])
    path = Path(sys.argv[1]) / "tokenizer.jsonl.gz"
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    check(rows, vocabulary)
    fixture = reduce([row for row in rows if row["kind"] == "made"], vocabulary)
    check(fixture["cases"], Vocabulary(fixture["vocabulary"]))
    data = json.dumps(fixture, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    FIXTURE.write_bytes(lzma.compress(data, preset=9))
    print(f"{FIXTURE}: {len(fixture['cases'])} lines, {FIXTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
