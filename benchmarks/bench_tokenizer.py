#!/usr/bin/env python3
"""Speed of tokenizing: the plain algorithm, the array path, and the `tokenizers` library.

    python benchmarks/bench_tokenizer.py VOCABULARY TEXT_FILE... [--pieces SPM_MODEL]

All on one core, in one run, in turns, so that a busy moment of the machine affects all alike.
Each figure is the median of the turns, in MB of UTF-8 per second of processor time (for one thread
on a quiet machine the same as wall time). Decoding the bytes is part of every figure.
`cold` is the array path with an empty token cache, `warm` with the words of that file in it.

With --pieces: `library` is SentencePiece's own ids of all lines at once, `offsets` its offsets,
`pieces` this tool's tokens of a block (ids and the characters that each covers).
"""

from __future__ import annotations

import os

# Before the library is imported: its threads would make the comparison unequal.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import environment

from electra_zh.text.sentencepiece.model import SentencePieceVocabulary, load_processor
from electra_zh.text.sentencepiece.tokenizer import SentencePieceTokenizer
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

COLUMNS = ("plain", "tokenizers", "cold", "warm")
PIECE_COLUMNS = ("library", "offsets", "pieces")


def blocks_of(data: bytes, size: int) -> list[bytes]:
    """Cuts at line ends into blocks of about `size` bytes."""
    blocks = []
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + size)
        end = len(data) if end < 0 else end
        blocks.append(data[start:end])
        start = end + 1
    return blocks


def seconds(work: Callable[[], None]) -> float:
    """Returns the processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(
    data: bytes, vocabulary_path: str, *, turns: int, block_size: int, slow_bytes: int
) -> dict[str, float]:
    """Returns MB/s for each column; the slow ones see the first `slow_bytes` of the data only."""
    from tokenizers import BertWordPieceTokenizer

    vocabulary = Vocabulary.load(vocabulary_path)
    blocks = blocks_of(data, block_size)
    slow_blocks = blocks_of(data[: data.rfind(b"\n", 0, slow_bytes) + 1], block_size)
    tokenizer = WordPieceTokenizer(vocabulary)
    library = BertWordPieceTokenizer(vocabulary_path, lowercase=True)

    def plain() -> None:
        for block in slow_blocks:
            for line in block.decode().split("\n"):
                tokenizer.encode(line)

    def with_library() -> None:
        for block in slow_blocks:
            library.encode_batch(block.decode().split("\n"), add_special_tokens=False)

    def arrays() -> None:
        for block in blocks:
            tokenizer.tokenize_text(block.decode())

    times: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for _ in range(turns):
        times["plain"].append(seconds(plain))
        times["tokenizers"].append(seconds(with_library))
        tokenizer = WordPieceTokenizer(vocabulary)
        times["cold"].append(seconds(arrays))
        times["warm"].append(seconds(arrays))
    size = {column: sum(map(len, blocks)) for column in ("cold", "warm")}
    size |= {column: sum(map(len, slow_blocks)) for column in ("plain", "tokenizers")}
    return {column: size[column] / 1e6 / statistics.median(times[column]) for column in COLUMNS}


def measure_pieces(
    data: bytes, model_path: str, *, turns: int, block_size: int, slow_bytes: int
) -> dict[str, float]:
    """Returns MB/s for each column of a SentencePiece model."""
    vocabulary = SentencePieceVocabulary.load(model_path)
    processor = load_processor(vocabulary.model)
    tokenizer = SentencePieceTokenizer(vocabulary)
    blocks = blocks_of(data, block_size)
    slow_blocks = blocks_of(data[: data.rfind(b"\n", 0, slow_bytes) + 1], block_size)

    def library() -> None:
        for block in blocks:
            processor.Encode(block.decode().split("\n"), out_type="numpy", num_threads=1)

    def offsets() -> None:
        for block in slow_blocks:
            lines = block.decode().split("\n")
            processor.Encode(lines, out_type="offset_mapping", num_threads=1)

    def pieces() -> None:
        for block in blocks:
            tokenizer.tokenize_text(block.decode())

    works = {"library": library, "offsets": offsets, "pieces": pieces}
    times: dict[str, list[float]] = {column: [] for column in works}
    for _ in range(turns):
        for column, work in works.items():
            times[column].append(seconds(work))
    sizes = {column: sum(map(len, blocks)) for column in works}
    sizes["offsets"] = sum(map(len, slow_blocks))
    return {column: sizes[column] / 1e6 / statistics.median(times[column]) for column in works}


def main() -> None:
    """Prints one row a file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vocabulary")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--block-mb", type=float, default=1.0)
    parser.add_argument("--slow-mb", type=float, default=1.0, help="text for the slow columns")
    parser.add_argument("--pieces", help="a SentencePiece model, to measure too")
    environment.add_flags(parser)
    args = parser.parse_args()
    print(environment.header())
    if args.quick:
        args.turns, args.slow_mb = 1, 0.2
    figures: dict[str, dict[str, float]] = {}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{'file':32}{'MB':>7}" + "".join(f"{column:>12}" for column in COLUMNS), end="")
    print(f"{'cold/plain':>12}{'warm/plain':>12}")
    for path in args.files:
        with open(path, "rb") as file:
            data = file.read().rstrip(b"\n") + b"\n"
        speed = measure(
            data,
            args.vocabulary,
            turns=args.turns,
            block_size=int(args.block_mb * 2**20),
            slow_bytes=int(args.slow_mb * 2**20),
        )
        figures[os.path.basename(path)] = speed
        print(f"{os.path.basename(path)[:31]:32}{len(data) / 1e6:7.1f}", end="")
        print("".join(f"{speed[column]:12.2f}" for column in COLUMNS), end="")
        ratios = (speed["cold"] / speed["plain"], speed["warm"] / speed["plain"])
        print("".join(f"{ratio:11.0f}x" for ratio in ratios), flush=True)
        if args.pieces:
            found = measure_pieces(
                data,
                args.pieces,
                turns=args.turns,
                block_size=int(args.block_mb * 2**20),
                slow_bytes=int(args.slow_mb * 2**20),
            )
            shown = ", ".join(f"{column} {found[column]:.2f}" for column in PIECE_COLUMNS)
            print(
                f"    SentencePiece, MB/s: {shown}; pieces/library "
                f"{found['pieces'] / found['library']:.2f}x, pieces/offsets "
                f"{found['pieces'] / found['offsets']:.1f}x",
                flush=True,
            )
    environment.record(args.json, "tokenizer", sys.argv, figures)


if __name__ == "__main__":
    main()
