#!/usr/bin/env python3
"""Speed of build-data: the whole command, against the plain-Python algorithm of the reference.

    python benchmarks/bench_build.py VOCABULARY TEXT_FILE... [--rounds 5] [--baseline-mb 1]
        [--words-only]

Measured in separate processes, start-up included, in turns, so that a busy moment of the machine
affects all alike; figures are medians of the rounds:

- `electra-zh build-data` with one and with two worker processes, packing `full` and `reference`;
- the same with `--words jieba`, and the time to load the dictionary, which is included in it; and
  jieba itself cutting the same lines, loaded before, which is segmentation only;
- the reference's builder: each line through the plain tokenizer (`WordPieceTokenizer.encode` is its
  algorithm), its example builder over lists of ids, tf.train.Example and TFRecordWriter. It is
  measured on the first megabytes of the text and scaled to all of it; the time to load TensorFlow
  is not included;
- the `tokenizers` library on the same lines, one thread, tokenizing only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import environment

LENGTH = 128
_ONE, _TWO = "build-data, 1 process", "build-data, 2 processes"
_ONE_WITH_WORDS = "build-data --words jieba, 1 process"
_TWO_WITH_WORDS = "build-data --words jieba, 2 processes"
_LOADING = "loading jieba's dictionary"


def main() -> None:
    """Runs the rounds and prints a table."""
    args = _parse()
    if args.child:
        print(json.dumps(_CHILDREN[args.child](args)))
        return
    print(environment.header())
    if args.quick:
        args.rounds, args.baseline_mb, args.words_only = 1, 0.2, True
    size = sum(os.path.getsize(path) for path in args.text) / 1e6
    rounds = [_round(args) for _ in range(args.rounds)]
    times = {
        name: Times(*(statistics.median(kind) for kind in zip(*runs, strict=True)))
        for name, runs in ((name, [each[name] for each in rounds]) for name in rounds[0])
    }
    print(f"{size:.1f} MB of text, length {LENGTH}, medians of {args.rounds} rounds\n")
    print(f"{'':44}{'s':>9}{'CPU s':>9}{'MB/s':>9}")
    for name, each in times.items():
        print(f"{name:44}{each.wall:9.2f}{each.cpu:9.2f}{size / each.wall:9.2f}")
    _print_ratios(args, times, size)
    figures = {name: each._asdict() for name, each in times.items()}
    environment.record(args.json, "build-data", sys.argv, figures)


def _print_ratios(args: argparse.Namespace, times: dict[str, Times], size: float) -> None:
    wall = {name: each.wall for name, each in times.items()}
    one, with_words = wall[_ONE], wall[_ONE_WITH_WORDS]
    loading = wall[_LOADING]
    working = with_words - loading
    rate, slower = size / working, working / one
    of_processor = size / (times[_ONE_WITH_WORDS].cpu - times[_LOADING].cpu)
    print(f"\nwith words, without loading: {rate:.2f} MB/s, {slower:.2f} times the time without")
    print(f"with words, without loading, by processor time: {of_processor:.2f} MB/s")
    faster = wall[_jieba_name(args)] / (working - one)
    print(f"words add {working - one:.2f} s; jieba itself takes {faster:.1f} times as long")
    print(f"two processes against one, with words: {with_words / wall[_TWO_WITH_WORDS]:.2f} times")
    if not args.words_only:
        plain = wall[_baseline_name(args)]
        print(f"one process against the reference's algorithm: {plain / one:.1f} times")
        print(f"two processes against one: {one / wall[_TWO]:.2f} times")


class Times(NamedTuple):
    """Seconds by the clock, and of the processors, which tell how busy the machine was."""

    wall: float
    cpu: float


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("vocabulary")
    parser.add_argument("text", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--baseline-mb", type=float, default=1.0)
    parser.add_argument("--words-only", action="store_true", help="only the cost of words")
    environment.add_flags(parser)
    parser.add_argument("--child", choices=sorted(_CHILDREN), help=argparse.SUPPRESS)
    return parser.parse_args()


def _baseline_name(args: argparse.Namespace) -> str:
    return f"reference's algorithm, from {args.baseline_mb:g} MB"


def _jieba_name(args: argparse.Namespace) -> str:
    return f"jieba itself, from {args.baseline_mb:g} MB"


def _round(args: argparse.Namespace) -> dict[str, Times]:
    words = ("--words", "jieba")
    times = {
        _ONE: _command(args, 1),
        _ONE_WITH_WORDS: _command(args, 1, *words),
        _TWO_WITH_WORDS: _command(args, 2, *words),
        "build-data --words jieba --no-hmm, 1 process": _command(args, 1, *words, "--no-hmm"),
        _LOADING: _child(args, "loading", whole=True),
        _jieba_name(args): _child(args, "jieba"),
    }
    if args.words_only:
        return times
    return {
        **times,
        _TWO: _command(args, 2),
        "build-data, packing reference, 1 process": _command(args, 1, "--packing", "reference"),
        _baseline_name(args): _child(args, "reference"),
        f"tokenizers library, from {args.baseline_mb:g} MB": _child(args, "tokenizers"),
    }


def _command(args: argparse.Namespace, processes: int, *flags: str) -> Times:
    """Measures one whole command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "electra_zh", "build-data", *args.text]
        command += ["--vocab", args.vocabulary, "--output", os.path.join(folder, "data")]
        command += ["--processes", str(processes), *flags]
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Times(wall, cpu)


def _child(args: argparse.Namespace, kind: str, *, whole: bool = False) -> Times:
    """Measures a part of the text in a process of its own, and returns it for the whole.

    With `whole`, what is measured is the whole already.
    """
    command = [sys.executable, __file__, args.vocabulary, *args.text, "--child", kind]
    command += ["--baseline-mb", str(args.baseline_mb)]
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "RAYON_NUM_THREADS": "1"}
    result = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables
    )
    total = sum(os.path.getsize(path) for path in args.text)
    share = 1.0 if whole else total / min(total, args.baseline_mb * 1e6)
    return Times(*(share * each for each in json.loads(result.stdout)))


def _lines(args: argparse.Namespace) -> list[str]:
    """Returns the first megabytes of the text as lines."""
    left = int(args.baseline_mb * 1e6)
    lines: list[str] = []
    for path in args.text:
        data = Path(path).read_bytes()[: max(left, 0)]
        left -= len(data)
        lines += data.decode("utf-8", "ignore").split("\n")
    return lines


def _tokenizers(args: argparse.Namespace) -> Times:
    from tokenizers import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(args.vocabulary)
    lines = _lines(args)
    start, cpu = time.perf_counter(), time.process_time()
    tokenizer.encode_batch(lines, add_special_tokens=False)
    return Times(time.perf_counter() - start, time.process_time() - cpu)


def _jieba(args: argparse.Namespace) -> Times:
    from electra_zh.text.words.jieba_reference import Jieba

    jieba = Jieba()
    lines = _lines(args)
    start, cpu = time.perf_counter(), time.process_time()
    for line in lines:
        jieba.cut(line, hmm=True)
    return Times(time.perf_counter() - start, time.process_time() - cpu)


def _loading(args: argparse.Namespace) -> Times:
    """Measures the imports that words need and the loading of the dictionary."""
    import numpy  # noqa: F401

    start, cpu = time.perf_counter(), time.process_time()
    from electra_zh.text.settings import WordSettings
    from electra_zh.text.words.segmenter import make_segmenter

    make_segmenter(WordSettings())
    return Times(time.perf_counter() - start, time.process_time() - cpu)


class _ReferenceBuilder:
    """The reference's ExampleBuilder, over lists of ids."""

    def __init__(self, length: int) -> None:
        self._sentences: list[list[int]] = []
        self._pending = 0
        self._length = self._target = length

    def add(self, line: str, ids: list[int]) -> tuple[list[int], list[int]] | None:
        if not line and self._pending:
            return self._make()
        self._sentences.append(ids)
        self._pending += len(ids)
        return self._make() if self._pending >= self._target else None

    def _make(self) -> tuple[list[int], list[int]]:
        limit = 100_000 if random.random() < 0.1 else (self._target - 3) // 2
        first: list[int] = []
        second: list[int] = []
        for sentence in self._sentences:
            if (
                not first
                or len(first) + len(sentence) < limit
                or (not second and len(first) < limit and random.random() < 0.5)
            ):
                first += sentence
            else:
                second += sentence
        first = first[: self._length - 2]
        second = second[: max(0, self._length - len(first) - 3)]
        self._sentences, self._pending, self._target = [], 0, self._length
        if random.random() < 0.05:
            self._target = random.randint(5, self._length)
        return first, second


def _reference(args: argparse.Namespace) -> Times:
    import tensorflow as tf

    from electra_zh.text.vocabulary import Vocabulary
    from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

    vocabulary = Vocabulary.load(args.vocabulary)
    tokenizer = WordPieceTokenizer(vocabulary)
    folder = tempfile.mkdtemp()
    writer = tf.io.TFRecordWriter(os.path.join(folder, "data"))

    def feature(values: list[int]) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    def write(first: list[int], second: list[int]) -> None:
        ids = [vocabulary.cls_id, *first, vocabulary.sep_id]
        segments = [0] * len(ids)
        if second:
            ids += [*second, vocabulary.sep_id]
            segments += [1] * (len(second) + 1)
        padding = [0] * (LENGTH - len(ids))
        features = {
            "input_ids": feature(ids + padding),
            "input_mask": feature([1] * len(ids) + padding),
            "segment_ids": feature(segments + padding),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        writer.write(example.SerializeToString())

    lines = _lines(args)
    builder = _ReferenceBuilder(LENGTH)
    start, cpu = time.perf_counter(), time.process_time()
    for line in [*lines, ""]:
        line = line.strip()
        example = builder.add(line, tokenizer.encode(line))
        if example:
            write(*example)
    writer.close()
    times = Times(time.perf_counter() - start, time.process_time() - cpu)
    shutil.rmtree(folder)
    return times


_CHILDREN = {
    "reference": _reference,
    "tokenizers": _tokenizers,
    "jieba": _jieba,
    "loading": _loading,
}

if __name__ == "__main__":
    main()
