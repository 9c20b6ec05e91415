"""The command that converts a model."""

from __future__ import annotations

import dataclasses

from electra_zh import files, messages
from electra_zh.commands.command import Call, Command
from electra_zh.commands.loading import load_tensorflow
from electra_zh.convert.forms import write_form, writer_summaries
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.errors import UserError
from electra_zh.settings import setting


@dataclasses.dataclass(frozen=True)
class Convert(SourceSettings):
    """Settings of `electra-zh convert`."""

    source: str = setting(
        meaning="a run, a fine-tuned model, a Hugging Face folder (ELECTRA or BERT), or a TF1 "
        "checkpoint of Google's code (folder or prefix)",
        positional=True,
    )
    to: str = setting(
        meaning="; ".join(f"{name}: {summary}" for name, summary in writer_summaries().items()),
        choices=tuple(writer_summaries()),
    )
    output: str = setting(meaning="folder to write; must not exist", metavar="DIR")
    checkpoint: int | None = setting(
        None, "step of the checkpoint; the newest by default", metavar="STEP"
    )


def convert(call: Call[Convert]) -> int:
    """Converts a model."""
    settings = call.settings
    if files.exists(settings.output):
        raise UserError(f"{settings.output} exists; choose another --output")
    files.check_output(settings.output)
    from electra_zh.convert.source import check_source, open_source

    hints = settings.source_settings()
    check_source(settings.source, checkpoint=settings.checkpoint, hints=hints)
    load_tensorflow(log_machine=True)
    from electra_zh.finetuning.kinds import head_form

    weights = open_source(settings.source, checkpoint=settings.checkpoint, hints=hints)
    weights = weights.with_head_forms(head_form)
    messages.print_lines(weights.lines())
    messages.print_lines(write_form(settings.to, weights, settings.output))
    messages.print_lines(f"note: {note}" for note in weights.notes)
    return 0


COMMANDS = {"convert": Command(Convert, convert)}
