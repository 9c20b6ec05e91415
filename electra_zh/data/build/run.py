"""`build-data`: text to a finished folder of TFRecord shards.

The build has two halves. Worker processes do the tasks of each half in any order:

1. a unit of text -> tokens -> examples -> shuffled rows, spilled to the folder's `.work`;
2. a range of rows of every spilled segment -> one shard, shuffled once more.

A task depends only on the inputs, the settings and the random seed, never on the process that does
it. So the bytes are the same for any number of processes, on one machine or several (`--runner
dask`, or `--part`). Memory holds one block and one segment, or one shard, per process. Files of a
task appear when they are complete, and a resumed build does only the tasks whose files are missing.
Shards move out of `.work` when all of them exist. The manifest is written last: it marks the folder
as finished.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from absl import logging

from electra_zh import files, machine, progress
from electra_zh.data import documents, input_files, workers
from electra_zh.data.build import folder, manifests, shards, units
from electra_zh.data.build.context import BuildContext
from electra_zh.data.build.settings import LOCAL, TRAIN, BuildSettings, Part
from electra_zh.data.manifest import Manifest, ShardInfo
from electra_zh.data.workers import OnProgress, Result, Runner, StoppedError, Task
from electra_zh.errors import UserError, few, install_line
from electra_zh.text.tokenizer import (
    BLOCK_CHARACTERS,
    fit_case,
    load_vocabulary,
    settings_of,
)
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.word_tokens import unused_words


def build(settings: BuildSettings, *, show: progress.Show = progress.silent) -> Manifest:
    """Builds a data folder, or resumes its build.

    Returns:
      The manifest of the finished folder.

    Raises:
      UserError: wrong input, a folder that must not be written to, a full disk, an interruption.
        After the last two, the same call resumes.
    """
    assert settings.part is None
    with _opened(settings) as context:
        try:
            with open_runner(context.settings) as runner:
                counts = _complete(_build_units(context, runner, show))
                tasks, written = _write_shards(context, counts, runner, show)
            return _finish(context, counts, tasks, _complete(written))
        except StoppedError:
            raise
        except UserError:
            # The same call would fail again; but on a cluster, one machine may be at fault.
            if settings.runner == LOCAL or not folder.has_work(settings):
                folder.remove_work(settings)
            raise


def build_part(settings: BuildSettings, *, show: progress.Show = progress.silent) -> str:
    """Does the part of a build that `settings.part` names.

    Parts may work at the same time and in any order. Each does its units and, if the units of all
    parts are complete, its shards. `build` finishes the folder, and does what is missing.

    Returns:
      A line on the tasks that are missing.

    Raises:
      UserError: as in `build`; the work of all parts is kept.
    """
    part = settings.part
    assert part is not None
    with _opened(settings) as context, open_runner(settings) as runner:
        counts = _build_units(context, runner, show)
        if None in counts:
            advice = (
                "then all parts again for the shards, or the command without --part for the rest"
            )
            return _missing_line(part, "units", counts, advice)
        _, written = _write_shards(context, _complete(counts), runner, show)
        if None in written:
            advice = "then the command without --part to finish"
            return _missing_line(part, "shards", written, advice)
    return f"part {part} is done, nothing is missing. Run the command without --part to finish"


def _missing_line(part: Part, what: str, found: Sequence[object | None], advice: str) -> str:
    missing = [index for index, each in enumerate(found) if each is None]
    owners = sorted({index % part.total for index in missing})
    return (
        f"part {part} is done; {len(missing):,} of {len(found):,} {what} are missing, of part "
        f"{few(map(part.owner, owners), 10)}. Run these parts, {advice}"
    )


def plan(settings: BuildSettings) -> list[str]:
    """Checks everything that a build needs, and returns its plan as lines; writes nothing.

    Raises:
      UserError: as in `build`.
    """
    settings, vocabulary, found = _read_inputs(settings)
    fingerprint = folder.make_fingerprint(settings, found, vocabulary)
    folder.check_folder(settings, fingerprint)
    units.prepare(BuildContext(settings, found, vocabulary, fingerprint=""))
    size = sum(file.size for file in found)
    number = len(documents.plan_units(found, unit_bytes=settings.unit_bytes))
    resumes = ", which has an unfinished build to resume" if folder.has_work(settings) else ""
    return [
        f"input: {size:,} bytes (files: {len(found):,}, units of work: {number:,})",
        f"vocabulary: {settings.vocabulary}, {vocabulary.size:,} tokens",
        f"output: {settings.output}{resumes}",
    ]


def _read_inputs(
    settings: BuildSettings,
) -> tuple[BuildSettings, Vocabulary, tuple[input_files.InputFile, ...]]:
    """Returns the settings with those of the vocabulary's tokenizer, the vocabulary, the files."""
    files.check_output(settings.output)
    vocabulary = load_vocabulary(settings.vocabulary)
    tokenizer = settings_of(vocabulary, settings.tokenizer)
    found = input_files.find_inputs(
        settings.inputs,
        exclude=settings.output,
        form=settings.format,
        text_field=settings.text_field,
    )
    if vocabulary.is_cased == tokenizer.lower_case:
        unit = documents.plan_units(found[:1])[0]
        reader = documents.UnitReader(unit, text_field=settings.text_field)
        tokenizer = fit_case(
            vocabulary,
            tokenizer,
            origin="the command line" if settings.case_is_chosen else "default",
            is_chosen=settings.case_is_chosen,
            sample=next(iter(reader)).text[:BLOCK_CHARACTERS],
        )
    never = unused_words(vocabulary, tokenizer) if vocabulary.settings is None else []
    if never:
        why = "--word-tokens makes words of jieba's dictionary tokens"
        if tokenizer.word_tokens:
            why = "jieba's dictionary cuts them into shorter words"
        logging.warning(
            "%s tokens of the vocabulary have several ideographs and are never used (%s); %s.",
            f"{len(never):,}",
            few(never),
            why,
        )
    return dataclasses.replace(settings, tokenizer=tokenizer), vocabulary, found


@contextlib.contextmanager
def _opened(settings: BuildSettings) -> Iterator[BuildContext]:
    """Checks the inputs, and prepares and locks the output folder."""
    settings, vocabulary, found = _read_inputs(settings)
    fingerprint = folder.make_fingerprint(settings, found, vocabulary)
    digest = files.sha256(json.dumps(fingerprint).encode())
    with workers.interruptible(), folder.prepared_folder(settings, fingerprint):
        if settings.runner != LOCAL:
            # The workers have other current folders.
            words = settings.words and settings.words.with_paths(files.absolute)
            settings = dataclasses.replace(
                settings, output=files.absolute(settings.output), words=words
            )
            found = tuple(file._replace(path=files.absolute(file.path)) for file in found)
        yield BuildContext(settings, found, vocabulary, digest)


@contextlib.contextmanager
def open_runner(settings: BuildSettings) -> Iterator[Runner]:
    """Yields the runner that the settings name, and ends the processes started for it.

    Raises:
      UserError: Dask is not installed, or its scheduler does not answer.
    """
    if settings.runner == LOCAL:
        yield functools.partial(workers.run_tasks, processes=settings.num_processes)
        return
    try:
        from electra_zh.data.build import distributed
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("electra_zh"):
            raise
        raise UserError(
            f"--runner {settings.runner} needs the package {error.name}: {install_line('dask')}"
        ) from None
    path = folder.fingerprint_path(settings)
    processes = settings.num_processes or machine.usable_cpus()
    with distributed.open_cluster(settings.scheduler, processes, path) as runner:
        yield runner


def _run_half(
    tasks: Sequence[tuple[int, Task]],
    load: Callable[[Task], Result | None],
    work: Callable[[Task, OnProgress], Result],
    *,
    settings: BuildSettings,
    runner: Runner,
    show: Callable[..., AbstractContextManager[progress.Bar]],
    prepare: Callable[[], object] = tuple,
) -> list[Result | None]:
    """Does the tasks of a half that are not finished and are done here.

    Each task is after the progress that it makes. `load` returns the result of a finished task, and
    None for others. `prepare` loads data before the work, which forked workers share.

    Returns:
      The result of each task; None for those that other parts have not finished.
    """
    found = [load(task) for _, task in tasks]
    own = [index for index in range(len(tasks)) if settings.owns(index)]
    # The largest first, so that no process is left with one at the end.
    left = sorted((i for i in own if found[i] is None), key=lambda index: -tasks[index][0])
    total, todo = (sum(tasks[index][0] for index in each) for each in (own, left))
    if left:
        prepare()
    with show(total=total, initial=total - todo) as bar:
        results = runner(work, [tasks[index][1] for index in left], report=bar.update)
    for index, result in zip(left, results, strict=True):
        found[index] = result
    return [each or load(task) for (_, task), each in zip(tasks, found, strict=True)]


def _complete(found: Sequence[Result | None]) -> list[Result]:
    results = [each for each in found if each is not None]
    assert len(results) == len(found)
    return results


def _build_units(
    context: BuildContext, runner: Runner, show: progress.Show
) -> list[units.UnitCounts | None]:
    plan = documents.plan_units(context.inputs, unit_bytes=context.settings.unit_bytes)
    return _run_half(
        [(unit.size, unit) for unit in plan],
        functools.partial(units.load_counts, context=context),
        functools.partial(units.build_unit, context=context),
        settings=context.settings,
        runner=runner,
        show=functools.partial(show, "reading", unit=progress.BYTES),
        prepare=functools.partial(units.prepare, context),
    )


def _write_shards(
    context: BuildContext,
    counts: Sequence[units.UnitCounts],
    runner: Runner,
    show: progress.Show,
) -> tuple[list[shards.ShardTask], list[ShardInfo | None]]:
    segments = shards.list_segments(context, counts)
    tasks = shards.plan_shards(context.settings, segments, counts)
    written = _run_half(
        [(task.examples, task) for task in tasks],
        functools.partial(shards.load_shard, context=context),
        functools.partial(shards.write_shard, context=context, segments=segments),
        settings=context.settings,
        runner=runner,
        show=functools.partial(show, "writing", unit="example"),
    )
    return tasks, written


def _finish(
    context: BuildContext,
    counts: Sequence[units.UnitCounts],
    tasks: Sequence[shards.ShardTask],
    written: Sequence[ShardInfo],
) -> Manifest:
    """Moves the shards to their folders and writes the manifests."""
    settings, vocabulary = context.settings, context.vocabulary
    of_split: dict[str, list[ShardInfo]] = {split: [] for split in settings.splits}
    for task, shard in zip(tasks, written, strict=True):
        of_split[task.split].append(shard)
    made = manifests.make_manifests(context, counts, of_split)
    folder.remove_finished(settings, vocabulary=vocabulary.file_name)
    shards.move_shards(context, tasks)
    # The folder's own manifest comes last.
    for split in reversed(settings.splits):
        output = settings.split_folder(split)
        files.remove_unfinished(output)
        vocabulary.save(files.join(output, vocabulary.file_name))
        if split == TRAIN:
            folder.remove_fingerprint(settings)
        made[split].save(output)
    folder.remove_work(settings)
    return made[TRAIN]
