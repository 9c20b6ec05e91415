"""Commands that show runs and results. They only read files, without TensorFlow."""

from __future__ import annotations

import dataclasses
import json

from electra_zh.commands.command import Call, Command
from electra_zh.errors import UsageError
from electra_zh.report import runs as report_runs
from electra_zh.report import scores, tables
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
    rows = report_runs.run_rows(call.settings.folder)
    if call.settings.json:
        print(json.dumps(rows, ensure_ascii=False))
    elif rows:
        print(tables.to_text(report_runs.run_table(rows)), end="")
    else:
        print(f"{call.settings.folder} contains no pretraining runs")
    return 0


COMMANDS = {"results": Command(ResultsSettings, results), "runs": Command(RunsSettings, runs)}
