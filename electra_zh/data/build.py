"""`build-data`: text to a finished folder of TFRecord shards.

The build has two halves, and worker processes do the tasks of each in any order:

1. units of text -> tokens -> examples -> shuffled rows, spilled to the folder's `.work`;
2. a stretch of every spilled segment -> one shard, shuffled once more, encoded and checksummed.

What a task does follows from the inputs, the settings and the seed alone, never from the process
that does it, so the bytes are the same for any number of processes, on one machine or many
(`runners.py`; `parts.py` for machines that do a share each). Memory holds one block and one
segment, or one shard, of each process. A task's files appear when they are whole, and a second call
with the same settings does only the tasks whose files are missing. Shards move out of `.work` when
all of them are there, and the manifest comes last: it is what makes the folder finished.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from electra_zh import __version__, files, progress
from electra_zh.data import documents, input_files, records, shards, units
from electra_zh.data.folder import is_begun, prepared_folder, remove_finished, remove_work
from electra_zh.data.manifest import (
    FORMAT,
    MANIFEST,
    TOP_UNKNOWNS,
    BadLines,
    CorpusInfo,
    Manifest,
    Shard,
    VocabularyInfo,
    WordsInfo,
    find_shards,
    load_manifest,
    summary_lines,
)
from electra_zh.data.parts import Left, count_left
from electra_zh.data.runners import Runner, open_runner
from electra_zh.data.settings import LOCAL, BuildSettings
from electra_zh.data.workers import StoppedError, interruptible
from electra_zh.errors import UserError
from electra_zh.text.characters import UNICODE_VERSION
from electra_zh.text.tokenizer import load_vocabulary, settings_of
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.words.base import CHECKED, DIFFERENT, MAX_DIFFERENCES, RECUT

__all__ = [
    "BuildSettings",
    "Manifest",
    "StoppedError",
    "build",
    "build_part",
    "find_shards",
    "load_manifest",
    "summary_lines",
]

_MAX_SHOWN_NAMES = 20
# How long a part that joins waits for others that are through.
_LEAVING_SECONDS = 2.0


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
    assert settings.part is None
    files.check_output(settings.output)
    settings, vocabulary = _with_vocabulary(settings)
    inputs = input_files.find_inputs(settings.inputs, exclude=settings.output)
    with interruptible(), prepared_folder(settings, inputs, vocabulary):
        try:
            built = _do_tasks(settings, inputs, vocabulary, show)
            assert isinstance(built, _Built)
            return _join(settings, inputs, vocabulary, built)
        except StoppedError:
            raise
        except UserError:
            # The same call would only fail again; of a cluster, one machine may be at fault.
            if settings.runner == LOCAL or not is_begun(settings):
                remove_work(settings)
            raise


def _with_vocabulary(settings: BuildSettings) -> tuple[BuildSettings, Vocabulary]:
    """Returns the settings with how the vocabulary's text is normalised, and the vocabulary."""
    vocabulary = load_vocabulary(settings.vocabulary)
    tokenizer = settings_of(vocabulary, settings.tokenizer)
    return dataclasses.replace(settings, tokenizer=tokenizer), vocabulary


def build_part(
    settings: BuildSettings, *, show: progress.Show = progress.silent
) -> Manifest | Left:
    """Does the share of a build that `settings.part` names.

    Parts may be at work at the same time and come in any order. Each does its units; where those
    of all parts are done, its shards; and where these are too, it joins all into the manifest.

    Returns:
      What is left to other parts, or the manifest of the finished folder.

    Raises:
      UserError: as in `build`; what parts have done stays.
    """
    assert settings.part is not None
    files.check_output(settings.output)
    settings, vocabulary = _with_vocabulary(settings)
    inputs = input_files.find_inputs(settings.inputs, exclude=settings.output)
    joined = _find_joined(settings, inputs, vocabulary)
    if joined is not None:
        return joined
    with interruptible(), prepared_folder(settings, inputs, vocabulary) as lock:
        built = _do_tasks(settings, inputs, vocabulary, show)
        if isinstance(built, Left):
            return built
        if not lock.make_exclusive(seconds=_LEAVING_SECONDS):
            return Left("shards", 0, len(built.tasks), ())
        # Another part may have been faster.
        joined = _find_joined(settings, inputs, vocabulary)
        return joined or _join(settings, inputs, vocabulary, built)


def _find_joined(
    settings: BuildSettings, inputs: Sequence[input_files.InputFile], vocabulary: Vocabulary
) -> Manifest | None:
    """Returns the manifest of the finished folder, if it is what the settings ask for."""
    if not files.exists(files.join(settings.output, MANIFEST)):
        return None
    manifest = load_manifest(settings.output)
    assert manifest is not None
    found = (manifest.version, manifest.settings, manifest.vocabulary.sha256, manifest.corpus.files)
    wanted = (__version__, settings.recorded(), vocabulary.sha256, len(inputs))
    return manifest if found == wanted else None


class _Built(NamedTuple):
    """What the tasks of a build have left: the units' counts, and the shards in `.work`."""

    counts: Sequence[units.UnitCounts]
    tasks: Sequence[shards.ShardTask]
    written: Sequence[Shard]


def _do_tasks(
    settings: BuildSettings,
    inputs: Sequence[input_files.InputFile],
    vocabulary: Vocabulary,
    show: progress.Show,
) -> _Built | Left:
    """Does the tasks that are not done, as far as they are to be done here."""
    if settings.runner != LOCAL:
        # Workers of other machines are in folders of their own.
        words = settings.words and settings.words.with_paths(_whole_path)
        settings = dataclasses.replace(settings, output=_whole_path(settings.output), words=words)
        inputs = [file._replace(path=_whole_path(file.path)) for file in inputs]
    dtype = _row_dtype(settings, vocabulary)
    with open_runner(settings) as runner:
        found = _build_units(settings, inputs, vocabulary, runner, show)
        counts = [each for each in found if each is not None]
        if len(counts) < len(found):
            assert settings.part is not None
            return count_left(settings.part, "units", found)
        tasks = shards.plan_shards(settings, counts)
        segments = shards.list_segments(settings, counts)
        there = shards.write_shards(
            settings, tasks, segments, dtype=dtype, runner=runner, show=show
        )
    written = [shard for shard in there if shard is not None]
    if len(written) < len(there):
        assert settings.part is not None
        return count_left(settings.part, "shards", there)
    return _Built(counts, tasks, written)


def _join(
    settings: BuildSettings,
    inputs: Sequence[input_files.InputFile],
    vocabulary: Vocabulary,
    built: _Built,
) -> Manifest:
    """Makes the folder finished."""
    counts, tasks, written = built
    corpus = _corpus_info(inputs, counts)
    manifests: dict[str, Manifest] = {}
    for split in settings.splits:
        own = [shard for task, shard in zip(tasks, written, strict=True) if task.split == split]
        manifests[split] = _manifest(settings, split, vocabulary, corpus, counts, own)
    remove_finished(settings, vocabulary=vocabulary.file_name)
    shards.move_shards(settings, tasks)
    # The folder's own manifest comes last.
    for split in reversed(settings.splits):
        folder = shards.split_folder(settings, split)
        vocabulary.save(files.join(folder, vocabulary.file_name))
        manifests[split].save(folder)
    remove_work(settings)
    return manifests[units.TRAIN]


def _row_dtype(settings: BuildSettings, vocabulary: Vocabulary) -> np.dtype:
    words = settings.words is not None
    return records.row_dtype(vocabulary.size, settings.max_seq_length, words=words)


def _build_units(
    settings: BuildSettings,
    inputs: Sequence[input_files.InputFile],
    vocabulary: Vocabulary,
    runner: Runner,
    show: progress.Show,
) -> list[units.UnitCounts | None]:
    """Does the units that are not done, as far as they are to be done here.

    Returns:
      The counts of all units, in their order; None for those that another part has not done yet.
    """
    plan = documents.plan_units(inputs, unit_bytes=settings.unit_bytes)
    unit_settings = settings.for_units(vocabulary)
    dtype = _row_dtype(settings, vocabulary)
    row_bytes = dtype.itemsize * records.row_width(settings.max_seq_length)
    load = functools.partial(units.load_counts, unit_settings, row_bytes=row_bytes)
    counts = {unit.index: load(unit.index) for unit in plan}
    own = [unit for unit in plan if settings.owns(unit.index)]
    left = [unit for unit in own if counts[unit.index] is None]
    if left:
        # Before workers are forked, so that they share it.
        units.make_tokenizer(vocabulary, settings.tokenizer)
        if settings.words is not None:
            units.make_segmenter(settings.words)
    # The largest first, so that no process is left with one at the end.
    left.sort(key=lambda unit: (-unit.size, unit.index))
    total = sum(unit.size for unit in own)
    initial = total - sum(unit.size for unit in left)
    work = functools.partial(units.build_unit, settings=unit_settings)
    with show("reading", total=total, unit=progress.BYTES, initial=initial) as bar:
        for result in runner(work, left, report=bar.update):
            counts[result.unit] = result
    return [each or load(index) for index, each in counts.items()]


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
        padding_share=1 - numbers["positions"] / (examples * settings.max_seq_length),
        unknown_share=numbers["unknown_tokens"] / numbers["tokens"],
        shards=tuple(own_shards),
        words=_words_info(settings, split, counts),
    )


def _words_info(
    settings: BuildSettings, split: str, counts: Sequence[units.UnitCounts]
) -> WordsInfo | None:
    if settings.words is None:
        return None
    counted = sum((each.words for each in counts), Counter[str]())
    words = sum(each.splits[split].numbers["words"] for each in counts)
    differences = [text for each in counts for text in each.differences]
    return WordsInfo(
        count=words,
        recut_stretches=counted[RECUT],
        checked_lines=counted[CHECKED],
        different_lines=counted[DIFFERENT],
        differences=tuple(differences[:MAX_DIFFERENCES]),
    )


def _corpus_info(
    inputs: Sequence[input_files.InputFile], counts: Sequence[units.UnitCounts]
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
    # Workers of other machines have been given whole paths.
    given = {_whole_path(file.path): file.path for file in inputs}
    bad = tuple(
        BadLines(
            reason,
            count,
            tuple(
                documents.show_place(place, name=name(given.get(place.path, place.path)))
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


def _whole_path(path: str) -> str:
    return path if files.is_remote(path) else os.path.abspath(path)
