"""Makes a report of runs and results, and writes its page, plots and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from absl import logging

from electra_zh import __version__, files
from electra_zh.errors import UserError
from electra_zh.report import curves, page, plots, sections, tables
from electra_zh.report.language import speaker
from electra_zh.report.runs import HasLines, RunLog, find_runs, read_runs
from electra_zh.report.scores import Results, find_results, holds_results
from electra_zh.report.sections import Contents

_CHINESE = re.compile("[\u3400-\u9fff]")


class Sources(NamedTuple):
    """The subjects of a report."""

    runs: list[RunLog]
    results: list[Results]


def find_sources(paths: Sequence[str]) -> Sources:
    """Reads runs and results at paths, or below them.

    Raises:
      UserError: a path has neither.
    """
    run_paths: list[str] = []
    result_paths: list[str] = []
    for path in paths:
        runs = find_runs(path)
        has_results = holds_results(path)
        if not runs and not has_results:
            raise UserError(
                f"{path} contains neither pretraining runs nor fine-tuning results. Name the "
                "--output of pretrain or finetune"
            )
        run_paths += [each for each in runs if each not in run_paths]
        result_paths += [path] if has_results and path not in result_paths else []
    return Sources(read_runs(run_paths), find_results(result_paths))


def make_contents(
    sources: Sources,
    *,
    reference: Sequence[HasLines] = (),
    model: str | None = None,
    data: Sequence[str] = (),
    language: str = "en",
) -> Contents:
    """Returns the parts of a report; a model adds its fakes in held-out text."""
    contents = Contents([], {}, [], speaker(language))
    if sources.runs:
        sections.add_runs(contents, sources.runs, reference)
    if sources.results:
        sections.add_results(contents, sources.results)
    if model is not None:
        sections.add_examples(contents, model, data)
    return contents


def write_page(
    path: str,
    contents: Contents,
    sources: Sources,
    *,
    reference: Sequence[HasLines] = (),
    title: str = "",
    language: str = "en",
) -> None:
    """Writes the page of contents that were made of the same sources."""
    logs, say = sources.runs, contents.say
    names = page.series_keys(log.name for log in logs)
    names += [
        page.Key(f"{log.name} ({say('reference')})", "var(--muted)") for log in reference if logs
    ]
    axes = [axis.name for axis in curves.axes_with_data([*logs, *reference])] if logs else []
    named = [log.name for log in logs] + [each.name for each in sources.results]
    kinds = [say(name) for name, found in sources._asdict().items() if found]
    text = page.make_page(
        title or f"{say('Report')}: {', '.join(dict.fromkeys(named))}",
        ", ".join(kinds),
        contents.parts,
        bar=page.keys(names, axes={axis: say(axis) for axis in axes}) if logs else "",
        axes=axes,
        footer=f"electra-zh {__version__}",
        language=language,
    )
    files.write_text(path, text)


def write_plots(folder: str, contents: Contents) -> None:
    """Writes each plot as PNG."""
    files.make_dirs(folder)
    text = "".join(cell for table in contents.tables for row in table.rows for cell in row)
    if plots.cjk_font() is None and _CHINESE.search(text):
        logging.warning(
            "No font with Chinese characters was found: they are boxes in the PNGs (not in the "
            "page). Install one, for example fonts-noto-cjk."
        )
    for name, plot in contents.plots.items():
        with files.atomic_write(files.join(folder, f"{name}.png")) as file:
            file.write(plot.png())


def write_tables(folder: str, contents: Contents) -> None:
    """Writes each table as Markdown, CSV and LaTeX."""
    files.make_dirs(folder)
    for form, suffix in tables.SUFFIXES.items():
        for table in contents.tables:
            path = files.join(folder, f"{table.name}.{suffix}")
            files.write_text(path, tables.FORMATS[form](table))
