"""The manifests of a build, from the counts of its units."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from electra_zh import __version__
from electra_zh.data import input_files, manifest
from electra_zh.data.bad_lines import report_bad_lines
from electra_zh.data.build import units
from electra_zh.data.build.context import BuildContext
from electra_zh.data.manifest import CorpusInfo, Manifest, ShardInfo, VocabularyInfo, WordsInfo
from electra_zh.text.characters import UNICODE_VERSION
from electra_zh.text.words.base import CHECKED, DIFFERENT, MAX_DIFFERENCES, RECUT

_MAX_SHOWN_NAMES = 20


def make_manifests(
    context: BuildContext,
    counts: Sequence[units.UnitCounts],
    shards: Mapping[str, Sequence[ShardInfo]],
) -> dict[str, Manifest]:
    """Returns the manifest of each split, from the counts of all units and the split's shards."""
    numbers = _sum(each.numbers for each in counts)
    splits = [split for each in counts for split in each.splits.values()]
    unknowns = _sum(each.unknowns for each in counts)
    corpus = CorpusInfo(
        files=len(context.inputs),
        names=tuple(input_files.short_names(context.inputs)[:_MAX_SHOWN_NAMES]),
        bytes=numbers["bytes"],
        characters=numbers["characters"],
        lines=numbers["lines"],
        documents=sum(split.numbers["documents"] for split in splits),
        bad_lines=report_bad_lines([each.bad_lines for each in counts], context.inputs),
        unknown_characters=units.most_common(unknowns, manifest.TOP_UNKNOWNS),
    )
    differences = [text for each in counts for text in each.differences]
    words = WordsInfo(
        count=0,
        recut_stretches=numbers[RECUT],
        checked_lines=numbers[CHECKED],
        different_lines=numbers[DIFFERENT],
        differences=tuple(differences[:MAX_DIFFERENCES]),
    )
    made: dict[str, Manifest] = {}
    for split, files_of_split in shards.items():
        of_split = [each.splits[split] for each in counts]
        made[split] = _make_manifest(context, split, corpus, words, of_split, files_of_split)
    return made


def _sum(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return total


def _make_manifest(
    context: BuildContext,
    split: str,
    corpus: CorpusInfo,
    words: WordsInfo,
    counts: Sequence[units.SplitCounts],
    shards: Sequence[ShardInfo],
) -> Manifest:
    numbers, dropped = _sum(each.numbers for each in counts), _sum(each.dropped for each in counts)
    examples = numbers["examples"]
    kept = numbers["tokens"] - dropped.total()
    # [CLS] first [SEP], and a second [SEP] if there is a second segment.
    specials = 3 * examples - numbers["one_segment"]
    positions = kept + specials + numbers["separators"]
    assert numbers["positions"] == positions, "tokens do not add up"
    vocabulary, length = context.vocabulary, context.settings.max_seq_length
    return Manifest(
        format=manifest.FORMAT,
        version=__version__,
        split=split,
        settings=context.settings.recorded(),
        vocabulary=VocabularyInfo(vocabulary.file_name, vocabulary.size, vocabulary.sha256),
        unicode_version=UNICODE_VERSION,
        corpus=corpus,
        documents=numbers["documents"],
        tokens_read=numbers["tokens"],
        tokens_kept=kept,
        tokens_dropped=dict(dropped),
        examples=examples,
        one_segment_share=numbers["one_segment"] / examples,
        short_share=numbers["short"] / examples,
        padding_share=1 - numbers["positions"] / (examples * length),
        unknown_share=numbers["unknown_tokens"] / numbers["tokens"],
        shards=tuple(shards),
        words=dataclasses.replace(words, count=numbers["words"]) if context.has_words else None,
    )
