"""`clean`: text to a folder of cleaned text and its report.

The work has three steps. Worker processes normalise each unit of text and apply the rules that look
at a line or a document alone. One process looks at the hashes of what is left, in the order of the
input: documents that are the same as an earlier one or near it, lines that stand in many documents
or stood in the corpus before. Worker processes write what stays. The bytes do not depend on their
number.

All is written to a folder beside the output, which gets its name when everything is in it. An
interrupted run leaves nothing, and is started anew.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Sequence

from electra_zh import files, progress
from electra_zh.data import documents, input_files, manifest
from electra_zh.data.cleaning import contamination, minhash, normalization, report
from electra_zh.data.cleaning import document_batch as stretch
from electra_zh.data.cleaning import ngrams as grams
from electra_zh.data.cleaning.corpus import judge_corpus
from electra_zh.data.cleaning.folder import check_folder, text_name
from electra_zh.data.cleaning.report import Report, Tally
from electra_zh.data.cleaning.rules import Rule, Verdicts, describe
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.cleaning.units import Filtered, WriteTask, Written, filter_unit, write_unit
from electra_zh.data.workers import StoppedError, interruptible, run_tasks
from electra_zh.errors import UserError

_WORK = ".work"


def clean(settings: CleanSettings, *, show: progress.Show = progress.silent) -> Report:
    """Cleans a corpus.

    Args:
      settings: what to clean, and how.
      show: how to show progress.

    Returns:
      The report that is in the folder.

    Raises:
      UserError: wrong input, a missing package, a folder that must not be written to, nothing that
        stays, a full disk, an interruption. The output is then as it was before.
    """
    inputs = input_files.find_inputs(settings.inputs)
    check_folder(settings, inputs)
    try:
        with interruptible():
            prepared = _prepare(settings)
            with files.new_folder(settings.output, replace=True) as folder:
                return _clean(settings, inputs, prepared, folder=folder, show=show)
    except StoppedError as error:
        raise UserError(f"{error.args[0]}. Nothing was written; start it again.") from None


def _prepare(settings: CleanSettings) -> contamination.Contamination | None:
    """Loads what worker processes share, before they are forked."""
    normalization.prepare(to_simplified=settings.to_simplified)
    stretch.prepare()
    if settings.near_duplicates is not None:
        minhash.prepare()
    if settings.near_duplicates is not None or settings.decontaminate:
        grams.prepare()
    if not settings.decontaminate:
        return None

    def convert(strings: Sequence[str]) -> list[str]:
        text = "\n".join(string.replace("\n", " ") for string in strings)
        return normalization.normalize(
            text, settings.unicode, to_simplified=settings.to_simplified
        ).text.split("\n")

    return contamination.load_contamination(
        settings.decontaminate, n=settings.ngram, convert=convert
    )


def _clean(
    settings: CleanSettings,
    inputs: Sequence[input_files.InputFile],
    evaluation: contamination.Contamination | None,
    *,
    folder: str,
    show: progress.Show,
) -> Report:
    work = files.join(folder, _WORK)
    files.make_dirs(work)
    filtered = _filter_units(settings, inputs, evaluation, work=work, show=show)
    tally = Tally()
    for each in filtered:
        tally.merge(each.tally)
    tasks = _write_tasks(judge_corpus(filtered, settings, work=work), settings)
    written = _write_units(settings, tasks, work=work, folder=folder, show=show)
    for result in written:
        tally.merge(result.tally)
    files.remove_tree(work)
    if not tally.amounts[Rule.STAYS].lines:
        raise UserError(_nothing_stays(settings, tally))
    done = _report(settings, inputs, filtered, written, tally)
    done.save(folder)
    return done


def _filter_units(
    settings: CleanSettings,
    inputs: Sequence[input_files.InputFile],
    evaluation: contamination.Contamination | None,
    *,
    work: str,
    show: progress.Show,
) -> list[Filtered]:
    plan = documents.plan_units(inputs, unit_bytes=settings.unit_bytes)
    do = functools.partial(filter_unit, settings=settings, evaluation=evaluation, work=work)
    # The largest first, so that no process is left with one at the end.
    order = sorted(plan, key=lambda unit: (-unit.size, unit.index))
    total = sum(unit.size for unit in plan)
    with show("clean", total=total, unit=progress.BYTES) as bar:
        results = list(run_tasks(do, order, processes=settings.processes, report=bar.update))
    return sorted(results, key=lambda result: result.unit)


def _write_tasks(verdicts: Sequence[Verdicts], settings: CleanSettings) -> list[WriteTask]:
    """Returns the tasks with the names of their files, numbered in the order of the input."""
    stays = [bool((each.documents == Rule.STAYS).any()) for each in verdicts]
    count = sum(stays)
    names = (text_name(index, count, settings.suffix) for index in range(count))
    return [
        WriteTask(unit, next(names) if stay else "", each)
        for unit, (stay, each) in enumerate(zip(stays, verdicts, strict=True))
    ]


def _write_units(
    settings: CleanSettings,
    tasks: Sequence[WriteTask],
    *,
    work: str,
    folder: str,
    show: progress.Show,
) -> list[Written]:
    do = functools.partial(write_unit, work=work, folder=folder)
    with show("writing", total=len(tasks), unit="file") as bar:
        results = list(run_tasks(do, tasks, processes=settings.processes, report=bar.update))
    return sorted(results, key=lambda result: result.unit)


def _nothing_stays(settings: CleanSettings, tally: Tally) -> str:
    total = tally.total()
    if not total.lines:
        return "Nothing to clean: the input has no text"
    words = describe(settings)
    most = max(words, key=lambda rule: tally.amounts[rule].characters)
    return (
        f"Nothing stays of {total.documents:,} documents and {total.lines:,} lines; most went as "
        f"{words[most]}"
    )


def _report(
    settings: CleanSettings,
    inputs: Sequence[input_files.InputFile],
    filtered: Sequence[Filtered],
    written: Sequence[Written],
    tally: Tally,
) -> Report:
    numbers: Counter[str] = Counter()
    for each in filtered:
        numbers.update(each.numbers)
    return Report(
        settings=settings.recorded(),
        evaluation_files=tuple(os.path.basename(path) for path in settings.decontaminate),
        input_files=len(inputs),
        input_bytes=numbers["bytes"],
        bad_lines=_bad_lines(inputs, filtered),
        read=tally.total(),
        kept=tally.amounts[Rule.STAYS],
        control=numbers["control"],
        replacement=numbers["replacement"],
        white_space=numbers["white_space"],
        removed=tuple(
            report.Removed(rule.label, what, tally.amounts[rule], tuple(tally.samples[rule]))
            for rule, what in describe(settings).items()
        ),
        output=tuple(each.file for each in written if each.file is not None),
    )


def _bad_lines(
    inputs: Sequence[input_files.InputFile], filtered: Sequence[Filtered]
) -> tuple[manifest.BadLines, ...]:
    counts: Counter[str] = Counter()
    places: dict[str, list[documents.Place]] = {}
    for each in filtered:
        counts.update(each.bad_lines)
        for reason, found in each.bad_places.items():
            places.setdefault(reason, []).extend(found)
    name = files.short_names([file.path for file in inputs])
    return tuple(
        manifest.BadLines(
            reason,
            count,
            tuple(
                documents.show_place(place, name=name(place.path))
                for place in places[reason][: documents.MAX_PLACES]
            ),
        )
        for reason, count in sorted(counts.items())
    )
