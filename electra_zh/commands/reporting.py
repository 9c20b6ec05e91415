"""Commands that show runs and results, without TensorFlow but for `report --model`."""

from __future__ import annotations

import dataclasses
import json

from electra_zh import files
from electra_zh.commands.command import Call, Command
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UsageError
from electra_zh.report import tables
from electra_zh.report.language import LANGUAGES
from electra_zh.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class ResultsSettings(Settings):
    """Settings of `electra-zh results`."""

    folders: tuple[str, ...] = setting(
        meaning="outputs of finetune, or folders that contain some",
        positional=True,
        metavar="DIR",
    )
    format: str = setting("text", "form of the tables", choices=(*tables.FORMATS, "json"))
    split: str = setting("dev", "split of the table of several results", choices=("dev", "test"))

    def check_together(self) -> None:
        """Checks that there is a folder."""
        if not self.folders:
            raise UsageError("name a folder of fine-tuning results")


def results(call: Call[ResultsSettings]) -> int:
    """Prints the tables of one or more results."""
    from electra_zh.report import scores

    settings = call.settings
    found = scores.find_results(settings.folders)
    if settings.format == "json":
        print(json.dumps({each.name: each.summary for each in found}, ensure_ascii=False))
        return 0
    shown = [
        scores.score_table(each)._replace(notes=tuple(scores.warnings(each))) for each in found
    ]
    compared = scores.comparison(found, split=settings.split) if len(found) > 1 else None
    if compared is not None:
        shown.append(compared)
    print(tables.print_tables(shown, form=settings.format), end="")
    return 0


@dataclasses.dataclass(frozen=True)
class RunsSettings(Settings):
    """Settings of `electra-zh runs`."""

    folder: str = setting(
        ".", "folder to search; the present one by default", positional=True, metavar="DIR"
    )
    json: bool = setting(False, "print JSON")


def runs(call: Call[RunsSettings]) -> int:
    """Lists runs."""
    from electra_zh.report import runs as report_runs

    rows = report_runs.run_rows(call.settings.folder)
    if call.settings.json:
        print(json.dumps(rows, ensure_ascii=False))
    elif rows:
        print(tables.to_text(report_runs.run_table(rows)), end="")
    else:
        print(f"{call.settings.folder} contains no pretraining runs")
    return 0


@dataclasses.dataclass(frozen=True)
class ReportSettings(Settings):
    """Settings of `electra-zh report`."""

    paths: tuple[str, ...] = setting(
        meaning="runs of pretrain, outputs of finetune, or folders that contain some",
        positional=True,
        metavar="PATH",
    )
    output: str = setting("report.html", "HTML file to write", metavar="FILE")
    plots: str | None = setting(None, "folder for each plot as PNG", metavar="DIR")
    tables: str | None = setting(
        None, "folder for each table as Markdown, CSV and LaTeX", metavar="DIR"
    )
    reference: tuple[str, ...] = setting(
        (),
        "runs whose curves are drawn in grey after the others', or small or tiny: curves of the "
        "package, from one GPU",
        metavar="RUN",
    )
    model: str | None = setting(
        None,
        "run whose fakes in held-out text are shown as its discriminator judges them; needs "
        "TensorFlow",
        metavar="RUN",
    )
    data: tuple[str, ...] = setting(
        (), "held-out data for --model; by default the run's own", metavar="DIR"
    )
    title: str = setting("", "title of the page", metavar="TEXT")
    language: str = setting("en", "language of the page and its plots", choices=LANGUAGES)

    def check_together(self) -> None:
        """Checks that there is something to report, and the names of the outputs."""
        if not self.paths:
            raise UsageError("name a pretraining run or a folder of fine-tuning results")
        if not self.output.endswith((".html", ".htm")):
            raise UsageError(f"--output {self.output}: give the name of an .html file")
        if self.data and self.model is None:
            raise UsageError("--data is for --model RUN. Add it, or remove --data")
        files.check_output_file(self.output, overwrite=True)


def report(call: Call[ReportSettings]) -> int:
    """Writes the page, and the plots and tables as files."""
    from electra_zh.pretraining.folder import open_run
    from electra_zh.report import plots, write
    from electra_zh.report.runs import read_references

    settings = call.settings
    for folder in filter(None, (settings.plots, settings.tables)):
        files.check_output(folder)
    plots.check_installed()
    sources = write.find_sources(settings.paths)
    reference = read_references(settings.reference)
    if settings.model is not None:
        open_run(settings.model)
        load_tensorflow()
    contents = write.make_contents(
        sources,
        reference=reference,
        model=settings.model,
        data=settings.data,
        language=settings.language,
    )
    write.write_page(
        settings.output,
        contents,
        sources,
        reference=reference,
        title=settings.title,
        language=settings.language,
    )
    print(f"{settings.output}: {len(contents.plots)} plots, {len(contents.tables)} tables")
    if settings.plots is not None:
        write.write_plots(settings.plots, contents)
        print(f"{settings.plots}/: the plots as PNG")
    if settings.tables is not None:
        write.write_tables(settings.tables, contents)
        print(f"{settings.tables}/: the tables as Markdown, CSV and LaTeX")
    return 0


COMMANDS = {
    "results": Command(ResultsSettings, results),
    "runs": Command(RunsSettings, runs),
    "report": Command(ReportSettings, report),
}
