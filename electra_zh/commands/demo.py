"""The command that runs the demo."""

from __future__ import annotations

import dataclasses

from electra_zh.commands.command import Call, Command
from electra_zh.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Demo(Settings):
    """Settings of `electra-zh demo`."""

    output: str = setting("demo", "folder to write", metavar="DIR")


def demo(call: Call[Demo]) -> int:
    """Runs the demo."""
    from electra_zh import demo as demo_job

    demo_job.run(call.settings.output)
    return 0


COMMANDS = {"demo": Command(Demo, demo)}
