"""The command that cleans a corpus."""

from __future__ import annotations

from electra_zh import messages, progress
from electra_zh.commands.command import Call, Command, print_next, print_plan
from electra_zh.data.cleaning.settings import CleanSettings


def clean(call: Call[CleanSettings]) -> int:
    """Cleans a corpus."""
    from electra_zh.data.cleaning import run
    from electra_zh.data.cleaning.report import summary_lines

    if call.dry_run:
        print_plan(run.plan(call.settings))
        return 0
    messages.print_lines(summary_lines(run.clean(call.settings, show=progress.show)))
    print_next("build-data", call.settings.output, "--vocab", "VOCAB", "--output", "DATA")
    return 0


COMMANDS = {"clean": Command(CleanSettings, clean, common=("config", "dry_run"))}
