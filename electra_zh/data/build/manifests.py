"""The manifests of a build, from the counts of its units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from electra_zh import __version__, files
from electra_zh.data.bad_lines import report_bad_lines
from electra_zh.data.build import units
from electra_zh.data.build.context import BuildContext
from electra_zh.data.manifest import (
    FORMAT,
    TOP_UNKNOWNS,
    CorpusInfo,
    Manifest,
    ShardInfo,
    VocabularyInfo,
    WordsInfo,
)
from electra_zh.text.characters import UNICODE_VERSION
from electra_zh.text.words.base import CHECKED, DIFFERENT, MAX_DIFFERENCES, RECUT

_MAX_SHOWN_NAMES = 20


def make_manifest(
    context: BuildContext,
    split: str,
    corpus: CorpusInfo,
    counts: Sequence[units.UnitCounts],
    shards: Sequence[ShardInfo],
) -> Manifest:
    """Returns the manifest of a split.

    Args:
      context: the build.
      split: `train` or `heldout`.
      corpus: from `describe_corpus`.
      counts: of all units.
      shards: of the split.
    """
    numbers: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for each in counts:
        numbers.update(each.splits[split].numbers)
        dropped.update(each.splits[split].dropped)
    examples = numbers["examples"]
    kept = numbers["tokens"] - dropped.total()
    # [CLS] first [SEP], and a second [SEP] if there is a second segment.
    specials = 3 * examples - numbers["one_segment"]
    assert numbers["positions"] == kept + specials, "tokens do not add up"
    vocabulary, length = context.vocabulary, context.settings.max_seq_length
    return Manifest(
        format=FORMAT,
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
        words=_describe_words(numbers["words"], counts) if context.has_words else None,
    )


def _describe_words(count: int, counts: Sequence[units.UnitCounts]) -> WordsInfo:
    counted = sum((Counter(each.words) for each in counts), Counter[str]())
    differences = [text for each in counts for text in each.differences]
    return WordsInfo(
        count=count,
        recut_stretches=counted[RECUT],
        checked_lines=counted[CHECKED],
        different_lines=counted[DIFFERENT],
        differences=tuple(differences[:MAX_DIFFERENCES]),
    )


def describe_corpus(context: BuildContext, counts: Sequence[units.UnitCounts]) -> CorpusInfo:
    """Returns the corpus, for the manifests of all splits."""
    numbers: Counter[str] = Counter()
    unknowns: Counter[str] = Counter()
    for each in counts:
        numbers.update(each.numbers)
        unknowns.update(each.unknowns)
        numbers["documents"] += sum(split.numbers["documents"] for split in each.splits.values())
    paths = [file.path for file in context.inputs]
    return CorpusInfo(
        files=len(paths),
        names=tuple(map(files.short_names(paths), paths[:_MAX_SHOWN_NAMES])),
        bytes=numbers["bytes"],
        characters=numbers["characters"],
        lines=numbers["lines"],
        documents=numbers["documents"],
        bad_lines=report_bad_lines([each.bad_lines for each in counts], paths),
        unknown_characters=units.most_common(unknowns, TOP_UNKNOWNS),
    )
