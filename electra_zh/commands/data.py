"""The command that builds pretraining data."""

from __future__ import annotations

import dataclasses

from electra_zh import files, messages, progress
from electra_zh.commands.command import Call, Command, print_next, print_plan
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
        messages.print_lines(summary_lines(run.build(settings, show=progress.show)))
        _print_next(settings, is_given="max_seq_length" in call.given)
    else:
        messages.print_lines([run.build_part(settings, show=progress.show)])
    return 0


def _print_next(settings: BuildSettings, *, is_given: bool) -> None:
    """Prints how to pretrain on the data, with its length if that is not the default."""
    output = settings.output
    held_out = ["--eval-data", files.join(output, "heldout")] if settings.holdout_every else []
    length = [f"max_seq_length={settings.max_seq_length}"] if is_given else []
    words = ("pretrain", "--config", "small", "--data", output, *held_out, "--output", "RUN")
    print_next(*words, *length)


COMMANDS = {"build-data": Command(BuildSettings, build_data, common=("config", "dry_run"))}
