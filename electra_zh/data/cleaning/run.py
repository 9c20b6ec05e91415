"""`clean`: writes a folder of cleaned text and its report.

1. Worker processes normalise each unit of text and apply the rules on lines and documents.
2. One process applies the rules on the whole corpus, by hashes and in the order of the input.
3. Worker processes write the text that is kept. The bytes do not depend on their number.

A folder next to the output gets the output's name when it is complete. An interrupted run leaves
nothing; start it again.
"""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from electra_zh import files, progress
from electra_zh.data import documents, input_files
from electra_zh.data.bad_lines import report_bad_lines
from electra_zh.data.cleaning import minhash, overlap
from electra_zh.data.cleaning.corpus import judge_corpus
from electra_zh.data.cleaning.document_batch import KEPT, DocumentBatch, Verdicts, judge_batch
from electra_zh.data.cleaning.normalization import normalize
from electra_zh.data.cleaning.report import CleaningReport, OutputFile, RemovedText, Tally
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.data.cleaning.units import FilteredUnit, WriteTask, filter_unit, write_unit
from electra_zh.data.workers import interruptible, run_tasks
from electra_zh.errors import UserError, few

_WORK = ".work"
_OURS = re.compile(r"cleaned-\d{5,}-of-\d{5,}\.txt(\.gz|\.zst)?|report\.(json|md)")


def clean(settings: CleanSettings, *, show: progress.Show = progress.silent) -> CleaningReport:
    """Cleans a corpus and returns the report that is in the folder.

    Raises:
      UserError: wrong input, a missing package, a folder that must not be written to, no text to
        keep, a full disk, an interruption. The output is then as it was before.
    """
    inputs = _find_inputs(settings)
    _check_folder(settings, inputs)
    with interruptible("Nothing was written; start it again."):
        evaluation = _prepare(settings)
        with files.new_folder(settings.output, replace=True) as folder:
            return _clean(settings, inputs, evaluation, folder=folder, show=show)


def plan(settings: CleanSettings) -> list[str]:
    """Checks everything that a cleaning needs, and returns its plan as lines; writes nothing.

    Raises:
      UserError: as in `clean`.
    """
    inputs = _find_inputs(settings)
    _check_folder(settings, inputs)
    _prepare(settings)
    size = sum(file.size for file in inputs)
    lines = [f"input: {size:,} bytes (files: {len(inputs):,})", f"output: {settings.output}"]
    lines += [f"remove: {settings.describe(rule)}" for _, rule in settings.active_rules()]
    return lines


def _find_inputs(settings: CleanSettings) -> tuple[input_files.InputFile, ...]:
    return input_files.find_inputs(
        settings.inputs, form=settings.format, text_field=settings.text_field
    )


def _prepare(settings: CleanSettings) -> overlap.EvaluationData | None:
    """Loads everything that worker processes share, before they are forked."""

    def convert(strings: Sequence[str]) -> list[str]:
        text = "\n".join(string.replace("\n", " ") for string in strings)
        normalized = normalize(text, settings.unicode, to_simplified=settings.to_simplified)
        return normalized.text.split("\n")

    # A line of text loads the tables and packages.
    line = DocumentBatch(convert(["字"]), np.zeros(1, np.int64))
    judge_batch(line, settings)
    if settings.near_duplicates is not None:
        minhash.signatures(line.lines, line.documents, 1)
    if not settings.decontaminate:
        return None
    return overlap.load_evaluation_data(settings.decontaminate, n=settings.ngram, convert=convert)


def _clean(
    settings: CleanSettings,
    inputs: Sequence[input_files.InputFile],
    evaluation: overlap.EvaluationData | None,
    *,
    folder: str,
    show: progress.Show,
) -> CleaningReport:
    work = files.join(folder, _WORK)
    files.make_dirs(work)
    units = documents.plan_units(inputs, unit_bytes=settings.unit_bytes)
    # The largest first, so that no process is left with one at the end.
    units = tuple(sorted(units, key=lambda unit: (-unit.size, unit.index)))
    filter_ = functools.partial(filter_unit, settings=settings, evaluation=evaluation, work=work)
    with show("clean", total=sum(unit.size for unit in units), unit=progress.BYTES) as bar:
        results = run_tasks(filter_, units, processes=settings.num_processes, report=bar.update)
    filtered = sorted(results, key=lambda result: result.unit)
    tasks = _write_tasks(judge_corpus(filtered, settings, work=work), settings)
    write = functools.partial(write_unit, settings=settings, work=work, folder=folder)
    with show("writing", total=len(tasks), unit="file") as bar:
        written = run_tasks(write, tasks, processes=settings.num_processes, report=bar.update)
    files.remove_tree(work)
    tally = Tally(settings.rules)
    for part in [unit.tally for unit in filtered] + [part for _, part in written]:
        tally.merge(part)
    _check_kept(settings, tally)
    made = _report(settings, inputs, filtered, tally, [file for file, _ in written])
    made.save(folder)
    return made


def _write_tasks(verdicts: Sequence[Verdicts], settings: CleanSettings) -> list[WriteTask]:
    """Returns the tasks with the names of their files, numbered in the order of the input."""
    suffix = "" if settings.compress == "none" else f".{settings.compress}"
    kept = [bool((each.documents == KEPT).any()) for each in verdicts]
    names = (f"cleaned-{index:05d}-of-{sum(kept):05d}.txt{suffix}" for index in range(sum(kept)))
    return [
        WriteTask(unit, next(names) if kept[unit] else "", each)
        for unit, each in enumerate(verdicts)
    ]


def _check_kept(settings: CleanSettings, tally: Tally) -> None:
    total = tally.total()
    if not total.lines:
        raise UserError("Nothing to clean: the input has no text")
    if not tally.amount(KEPT).lines:
        _, most = max(settings.active_rules(), key=lambda each: tally.amount(each[0]).characters)
        raise UserError(
            f"The rules remove all {total.documents:,} documents and {total.lines:,} lines; the "
            f"rule that removes most: {settings.describe(most)}"
        )


def _report(
    settings: CleanSettings,
    inputs: Sequence[input_files.InputFile],
    filtered: Sequence[FilteredUnit],
    tally: Tally,
    output: Sequence[OutputFile | None],
) -> CleaningReport:
    removed = tuple(
        RemovedText(
            rule.name, settings.describe(rule), tally.amount(verdict), tuple(tally.samples[verdict])
        )
        for verdict, rule in settings.active_rules()
    )
    deleted = sum((unit.deleted for unit in filtered), Counter[str]())
    return CleaningReport(
        settings=settings.recorded(),
        evaluation_files=tuple(os.path.basename(path) for path in settings.decontaminate),
        input_files=len(inputs),
        input_bytes=sum(unit.text_bytes for unit in filtered),
        bad_lines=report_bad_lines([unit.bad_lines for unit in filtered], inputs),
        read=tally.total(),
        kept=tally.amount(KEPT),
        control=deleted["control"],
        replacement=deleted["replacement"],
        white_space=deleted["white_space"],
        removed=removed,
        output=tuple(file for file in output if file is not None),
    )


def _check_folder(settings: CleanSettings, inputs: Sequence[input_files.InputFile]) -> None:
    """Checks that the output can be written, and that neither it nor an input is inside the other.

    Raises:
      UserError: it holds something that must not be lost, or one is inside the other.
    """
    output = settings.output
    files.check_output(output)
    for file in inputs:
        if input_files.is_inside(file.path, output):
            raise UserError(f"The input {file.path} is inside --output {output}")
    for name in settings.inputs:
        for folder in (name, *(files.glob(name) if files.is_pattern(name) else ())):
            if files.is_dir(folder) and input_files.is_inside(output, folder):
                raise UserError(
                    f"--output {output} is inside the input {folder}; choose a folder outside"
                )
    names = files.list_dir(output) if files.exists(output) else []
    is_ours = input_files.is_cleaned(output)
    foreign = [name for name in names if not (is_ours and _OURS.fullmatch(name))]
    if foreign:
        raise UserError(
            f"{output} has files that clean did not write ({few(foreign)}). Choose another folder"
        )
    if names and not settings.overwrite:
        raise UserError(f"{output} holds cleaned text; choose another folder, or --overwrite")
