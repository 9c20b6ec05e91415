"""`build-data`: text to a finished folder of TFRecord shards.

The build has two halves, and worker processes do the tasks of each in any order:

1. units of text -> tokens -> examples -> shuffled rows, spilled to the folder's `.work`;
2. a stretch of every spilled segment -> one shard, shuffled once more, encoded and checksummed.

What a task does follows from the inputs, the settings and the seed alone, never from the process
that does it, so the bytes are the same for any number of processes. Memory holds one block and one
segment, or one shard, of each process. A task's files appear when they are whole, and a second call
with the same settings does only the tasks whose files are missing. Shards move out of `.work` when
all of them are there, and the manifest comes last: it is what makes the folder finished.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

from electra_zh import __version__, files, progress
from electra_zh.config import UserError
from electra_zh.data import documents, records, shards, units
from electra_zh.data.folder import prepare_folder, remove_finished, remove_work
from electra_zh.data.manifest import (
    FORMAT,
    TOP_UNKNOWNS,
    VOCABULARY,
    BadLines,
    CorpusInfo,
    Manifest,
    Shard,
    VocabularyInfo,
    find_shards,
    load_manifest,
    summary_lines,
)
from electra_zh.data.settings import BuildSettings
from electra_zh.data.workers import Interrupted, interruptible, run_tasks
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece import UNICODE_VERSION

__all__ = [
    "BuildSettings",
    "Interrupted",
    "Manifest",
    "build",
    "find_shards",
    "load_manifest",
    "summary_lines",
]

_MAX_SHOWN_NAMES = 20


def build(settings: BuildSettings, *, show: progress.Show = progress.silent) -> Manifest:
    """Builds a data folder.

    Args:
      settings: what to build.
      show: how to show progress.

    Returns:
      The manifest of the finished folder.

    Raises:
      UserError: wrong input, a folder that must not be written to, a full disk, an interruption;
        after the last two the same call goes on where it stopped.
    """
    vocabulary = Vocabulary.load(settings.vocabulary)
    inputs = documents.find_inputs(settings.inputs, exclude=settings.output)
    with interruptible():
        prepare_folder(settings, inputs, vocabulary)
        try:
            return _build(settings, inputs, vocabulary, show)
        except Interrupted:
            raise
        except UserError:
            # The same call would only fail again.
            remove_work(settings)
            raise


def _build(
    settings: BuildSettings,
    inputs: Sequence[documents.InputFile],
    vocabulary: Vocabulary,
    show: progress.Show,
) -> Manifest:
    dtype = records.row_dtype(vocabulary.size, settings.max_seq_length)
    counts = _build_units(settings, inputs, vocabulary, show)
    tasks = shards.plan_shards(settings, counts)
    written = shards.write_shards(settings, tasks, dtype=dtype, show=show)
    corpus = _corpus_info(inputs, counts)
    manifests: dict[str, Manifest] = {}
    for split in settings.splits:
        own = [shard for task, shard in zip(tasks, written, strict=True) if task.split == split]
        manifests[split] = _manifest(settings, split, vocabulary, corpus, counts, own)
    remove_finished(settings)
    shards.move_shards(settings, tasks)
    # The folder's own manifest comes last.
    for split in reversed(settings.splits):
        folder = shards.split_folder(settings, split)
        vocabulary.save(files.join(folder, VOCABULARY))
        manifests[split].save(folder)
    files.remove_tree(settings.work_folder)
    return manifests[units.TRAIN]


def _build_units(
    settings: BuildSettings,
    inputs: Sequence[documents.InputFile],
    vocabulary: Vocabulary,
    show: progress.Show,
) -> list[units.UnitCounts]:
    """Does the units that are not done, and returns the counts of all, in their order."""
    plan = documents.plan_units(inputs, unit_bytes=settings.unit_bytes)
    unit_settings = settings.for_units(vocabulary)
    dtype = records.row_dtype(vocabulary.size, settings.max_seq_length)
    row_bytes = dtype.itemsize * records.row_width(settings.max_seq_length)
    counts: dict[int, units.UnitCounts] = {}
    for unit in plan:
        done = units.load_counts(unit_settings, unit.index, row_bytes=row_bytes)
        if done is not None:
            counts[unit.index] = done
    left = [unit for unit in plan if unit.index not in counts]
    if left:
        # Before workers are forked, so that they share it.
        units.make_tokenizer(vocabulary, settings.tokenizer)
    # The largest first, so that no process is left with one at the end.
    left.sort(key=lambda unit: (-unit.size, unit.index))
    total = sum(unit.size for unit in plan)
    initial = total - sum(unit.size for unit in left)
    work = functools.partial(units.build_unit, settings=unit_settings)
    with show("reading", total=total, unit=progress.BYTES, initial=initial) as bar:
        for result in run_tasks(work, left, processes=settings.processes, report=bar.update):
            counts[result.unit] = result
    return [counts[unit.index] for unit in plan]


def _manifest(
    settings: BuildSettings,
    split: str,
    vocabulary: Vocabulary,
    corpus: CorpusInfo,
    counts: Sequence[units.UnitCounts],
    own_shards: Sequence[Shard],
) -> Manifest:
    numbers: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for each in counts:
        numbers.update(each.splits[split].numbers)
        dropped.update(each.splits[split].dropped)
    examples = numbers["examples"]
    kept = numbers["tokens"] - dropped.total()
    # [CLS] first [SEP], and a second [SEP] where there is a second segment.
    specials = 3 * examples - numbers["one_segment"]
    assert numbers["positions"] == kept + specials, "tokens do not add up"
    return Manifest(
        format=FORMAT,
        version=__version__,
        split=split,
        settings=settings.recorded(),
        vocabulary=VocabularyInfo(VOCABULARY, vocabulary.size, vocabulary.sha256),
        unicode_version=UNICODE_VERSION,
        corpus=corpus,
        documents=numbers["documents"],
        tokens_read=numbers["tokens"],
        tokens_kept=kept,
        tokens_dropped=dict(dropped),
        examples=examples,
        one_segment_share=numbers["one_segment"] / examples,
        short_share=numbers["short"] / examples,
        padding_share=1 - numbers["positions"] / (examples * settings.max_seq_length),
        unknown_share=numbers["unknown_tokens"] / numbers["tokens"],
        shards=tuple(own_shards),
    )


def _corpus_info(
    inputs: Sequence[documents.InputFile], counts: Sequence[units.UnitCounts]
) -> CorpusInfo:
    numbers: Counter[str] = Counter()
    unknowns: Counter[str] = Counter()
    bad_lines: Counter[str] = Counter()
    places: dict[str, list[documents.Place]] = {}
    for each in counts:
        numbers.update(each.numbers)
        unknowns.update(each.unknowns)
        bad_lines.update(each.bad_lines)
        for reason, found in each.bad_places.items():
            places.setdefault(reason, []).extend(found)
        numbers["documents"] += sum(of.numbers["documents"] for of in each.splits.values())
    name = files.short_names([file.path for file in inputs])
    bad = tuple(
        BadLines(
            reason,
            count,
            tuple(
                documents.show_place(place, name=name(place.path))
                for place in places[reason][: documents.MAX_PLACES]
            ),
        )
        for reason, count in sorted(bad_lines.items())
    )
    return CorpusInfo(
        files=len(inputs),
        names=tuple(name(file.path) for file in inputs[:_MAX_SHOWN_NAMES]),
        bytes=numbers["bytes"],
        characters=numbers["characters"],
        lines=numbers["lines"],
        documents=numbers["documents"],
        bad_lines=bad,
        unknown_characters=dict(units.most_common(unknowns, TOP_UNKNOWNS)),
    )
