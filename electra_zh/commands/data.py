"""The command that builds pretraining data."""

from __future__ import annotations

import dataclasses

from electra_zh import progress
from electra_zh.commands.command import Call, Command, print_plan
from electra_zh.data.build.settings import BuildSettings


def build_data(call: Call[BuildSettings]) -> int:
    """Builds pretraining data, or the part of it that --part names."""
    from electra_zh.data.build import run
    from electra_zh.data.manifest import summary_lines

    is_chosen = "tokenizer.lower_case" in call.given
    settings = dataclasses.replace(call.settings, case_is_chosen=is_chosen)
    if call.dry_run:
        print_plan(run.plan(settings))
    elif settings.part is None:
        print(*summary_lines(run.build(settings, show=progress.show)), sep="\n")
    else:
        print(run.build_part(settings, show=progress.show))
    return 0


COMMANDS = {"build-data": Command(BuildSettings, build_data, common=("config", "dry_run"))}
