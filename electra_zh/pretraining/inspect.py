"""Inspection of a data folder: counts over all of it, and one example as a run would see it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from electra_zh import progress
from electra_zh.data import pipeline, records
from electra_zh.data.manifest import Manifest, load_manifest, summary_lines
from electra_zh.data.source import open_data_source
from electra_zh.errors import UsageError, UserError
from electra_zh.models.random import RandomKey
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import SpecialIds
from electra_zh.pretraining.objectives.base import mask_batch
from electra_zh.settings import load_recipe
from electra_zh.text.vocabulary import Vocabulary

_BATCH = 4096
_BAR = 40
_MAX_ROWS = 16


class Counts(NamedTuple):
    """Counts over the records of a data folder."""

    lengths: np.ndarray  # int64 [L + 1], examples of each length, [CLS] and [SEP] included
    one_segment: int  # examples without a second segment
    tokens: int  # positions that are neither padding nor [CLS] or [SEP]
    unknown: int  # of these, [UNK]
    word_starts: int | None  # of these, those that begin a word; None where the data has no words

    @property
    def examples(self) -> int:
        """Records of all shards."""
        return int(self.lengths.sum())

    @property
    def padding_share(self) -> float:
        """Padding among all positions."""
        longest = len(self.lengths) - 1
        used = int(self.lengths @ np.arange(longest + 1))
        return 1 - used / max(1, self.examples * longest)


class Data(NamedTuple):
    """A data folder, opened."""

    shards: tuple[pipeline.Shard, ...]  # its files
    vocabulary: Vocabulary  # of its token ids
    manifest: Manifest | None  # None for shards of the reference
    max_seq_length: int  # L
    words: bool  # whether its records have word starts


class MaskedExample(NamedTuple):
    """An example and one masking of it."""

    tokens: list[str]  # without padding
    starts: list[bool]  # whether a token begins a word; True everywhere for data without words
    masked: dict[int, str]  # predicted position -> the token that is shown there
    masking: str  # the kind of masking


def open_data(folder: str, *, vocab: str | None = None) -> Data:
    """Opens a data folder; shards without a manifest need the path of their vocabulary."""
    source = open_data_source(folder, vocab=vocab)
    shards = pipeline.list_shards(folder)
    form = pipeline.record_format(shards)
    manifest = load_manifest(folder)
    return Data(shards, source.vocabulary, manifest, form.max_seq_length, form.words)


def count(data: Data, *, show: progress.Show = progress.silent) -> Counts:
    """Counts what is in the shards; reads all of them."""
    specials = [data.vocabulary.cls_id, data.vocabulary.sep_id]
    lengths = np.zeros(data.max_seq_length + 1, np.int64)
    one_segment = tokens = unknown = starts = 0
    total = sum(shard.examples for shard in data.shards)
    with show("inspect", total=total, unit="example") as bar:
        for batch in _batches(data, data.shards):
            ids, mask = batch[records.INPUT_IDS], batch[records.INPUT_MASK] > 0
            in_row = mask.sum(axis=1)
            lengths += np.bincount(in_row, minlength=len(lengths))
            one_segment += int((batch[records.SEGMENT_IDS].max(axis=1) == 0).sum())
            is_token = mask & ~np.isin(ids, specials)
            tokens += int(is_token.sum())
            unknown += int((ids[is_token] == data.vocabulary.unk_id).sum())
            if data.words:
                starts += int(batch[records.WORD_STARTS][is_token].sum())
            bar.update(len(ids))
    return Counts(lengths, one_segment, tokens, unknown, starts if data.words else None)


def _batches(data: Data, shards: tuple[pipeline.Shard, ...]) -> Iterator[dict[str, np.ndarray]]:
    reading = pipeline.Reading(data.max_seq_length, data.words)
    yield from pipeline.OnePass(shards, reading, _BATCH, drop_remainder=False)


def show_example(data: Data, index: int, *, settings: Mapping[str, str]) -> MaskedExample:
    """Returns an example, by its number in the order of the files from 0, and one masking of it.

    `settings` are those of the masking, by their names in `PretrainConfig`. By default,
    `masking` is `whole_word` for data with words.
    """
    config = _config(data, settings)
    features = _find(data, index)
    vocabulary = data.vocabulary
    key = RandomKey(config.seed, index)
    masked = mask_batch(features, SpecialIds.of(vocabulary), key, config=config)
    length = int(features[records.INPUT_MASK].numpy().sum())
    starts = [True] * length
    if data.words:
        starts = (features[records.WORD_STARTS].numpy()[0, :length] > 0).tolist()
    places = masked.positions.numpy()[0][masked.weights.numpy()[0] > 0]
    seen = masked.input_ids.numpy()[0]
    return MaskedExample(
        [vocabulary.tokens[token] for token in features[records.INPUT_IDS].numpy()[0, :length]],
        starts,
        {place: vocabulary.tokens[seen[place]] for place in sorted(places.tolist())},
        config.masking,
    )


def _config(data: Data, settings: Mapping[str, str]) -> PretrainConfig:
    # Masking depends on no other size of a model than the vocabulary and the length.
    model = {**load_recipe("nano", kind="model"), "vocab_size": data.vocabulary.size}
    model["max_position_embeddings"] = data.max_seq_length
    values = {
        "model": model,
        "max_seq_length": data.max_seq_length,
        "masking": "whole_word" if data.words else "uniform",
        **settings,
    }
    config = PretrainConfig.from_dict(values, where="inspect")
    if config.needs_words and not data.words:
        raise UserError(
            f"masking={config.masking} needs words, and the data has none: build it with "
            "build-data --words jieba"
        )
    return config


def _find(data: Data, index: int) -> dict[str, tf.Tensor]:
    """Returns one record's features, int32 [1, L]."""
    total = sum(shard.examples for shard in data.shards)
    if not 0 <= index < total:
        raise UsageError(f"--example is {index}; the data has examples 0 to {total - 1}")
    for shard in data.shards:
        if index < shard.examples:
            break
        index -= shard.examples
    reading = pipeline.Reading(data.max_seq_length, data.words)
    one = next(iter(pipeline.OnePass((shard,), reading, batch_size=1, skip=index)))
    return {name: tf.constant(values) for name, values in one.items()}


def report(data: Data, counts: Counts) -> list[str]:
    """Returns the counts, with those of the manifest, as lines."""
    lines = []
    if data.manifest is not None:
        lines += summary_lines(data.manifest)
        lines.append("")
    one, short = counts.one_segment, counts.examples - int(counts.lengths[-1])
    lines += [
        f"{counts.examples:,} examples of length {data.max_seq_length} in "
        f"{len(data.shards):,} {'shard' if len(data.shards) == 1 else 'shards'} read: "
        f"{counts.tokens:,} tokens without [CLS] and [SEP]",
        f"padding {counts.padding_share:.1%}, one segment {one / counts.examples:.1%}, short "
        f"{short / counts.examples:.1%}, [UNK] {counts.unknown / max(1, counts.tokens):.2%}",
    ]
    if counts.word_starts is None:
        lines.append("words: none (build-data --words jieba stores where words start)")
    else:
        share = counts.word_starts / max(1, counts.tokens)
        mean = counts.tokens / max(1, counts.word_starts)
        lines.append(f"words: {share:.1%} of the tokens begin one, {mean:.2f} tokens per word")
    return [*lines, "", "length  examples", *_histogram(counts.lengths)]


def counts_json(counts: Counts) -> dict[str, Any]:
    """Returns the counts as plain values, examples by length among them."""
    return {
        **counts._asdict(),
        "lengths": {
            str(length): int(counts.lengths[length]) for length in np.flatnonzero(counts.lengths)
        },
        "examples": counts.examples,
        "padding_share": counts.padding_share,
    }


def _histogram(lengths: np.ndarray) -> list[str]:
    """Returns a bar for each stretch of lengths; full examples have one of their own."""
    longest = len(lengths) - 1
    step = max(1, -(-longest // _MAX_ROWS))
    edges = [*range(1, longest, step), longest, longest + 1]
    bars = list(itertools.pairwise(edges))
    numbers = [int(lengths[first:end].sum()) for first, end in bars]
    width = len(str(longest))
    lines = []
    for (first, end), number in zip(bars, numbers, strict=True):
        name = f"{first:{width}d}-{end - 1:<{width}d}" if first < end - 1 else str(first)
        bar = "#" * round(_BAR * number / max(numbers))
        lines.append(f"{name:>{2 * width + 1}}  {number:>11,}  {bar}".rstrip())
    return lines


def example_lines(shown: MaskedExample, *, colour: bool) -> list[str]:
    """Returns the example with spaces between its words, and the same with its masked tokens.

    Pieces are shown without their ##. Masked tokens are shown as `true>shown`; in colour on red
    where they are hidden, and on yellow where they show their true or another token.
    """
    plain = [token.removeprefix("##") for token in shown.tokens]
    marked = list(plain)
    for place, seen in shown.masked.items():
        marked[place] = _mark(plain[place], seen.removeprefix("##"), colour)
    return [
        _joined(plain, shown.starts),
        "",
        f"masking={shown.masking}, {len(shown.masked)} of {len(plain)} tokens:",
        _joined(marked, shown.starts),
    ]


def _mark(true: str, seen: str, colour: bool) -> str:
    if not colour:
        return f"{true}>{seen}"
    if seen == "[MASK]":
        return f"\x1b[97;41m{true}\x1b[0m"
    return f"\x1b[30;43m{true}{'' if seen == true else '>' + seen}\x1b[0m"


def _joined(tokens: list[str], starts: list[bool]) -> str:
    return "".join(
        f" {token}" if begins and place else token
        for place, (token, begins) in enumerate(zip(tokens, starts, strict=True))
    )
