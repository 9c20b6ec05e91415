"""The command that checks the installation and the machine."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator

from electra_zh import messages
from electra_zh.commands.command import Call, Command
from electra_zh.commands.loading import load_tensorflow, quiet_stderr
from electra_zh.doctor import Check, run_checks
from electra_zh.errors import counted
from electra_zh.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Doctor(Settings):
    """Settings of `electra-zh doctor`."""

    folder: str = setting(".", "folder whose disk is measured", metavar="DIR")
    json: bool = setting(False, "print JSON")


def doctor(call: Call[Doctor]) -> int:
    """Checks the installation and the machine; the exit code is 1 if it is not usable."""
    found = []
    checks = run_checks(call.settings.folder, load_tensorflow)
    while True:
        with quiet_stderr():  # Libraries write there what the checks say.
            check = next(checks, None)
        if check is None:
            break
        found.append(check)
        if not call.settings.json:
            print(*_lines(check), sep="\n", flush=True)
    errors, warnings = (sum(c.status == each for c in found) for each in ("error", "warning"))
    count = f"{counted(errors, 'error')}, {counted(warnings, 'warning')}"
    if call.settings.json:
        shown = {"usable": not errors, "checks": [check._asdict() for check in found]}
        print(json.dumps(shown, ensure_ascii=False, indent=1))
    else:
        usable = "Not usable: mend the errors above" if errors else "Usable"
        print(f"\n{usable} ({count}).")
    return 1 if errors else 0


def _lines(check: Check) -> Iterator[str]:
    """Yields a check as lines of the terminal's width."""
    width = max(60, shutil.get_terminal_size().columns)
    start = f"{check.status:8s} {check.name:11s} "
    for text, first in ((check.found, start), (check.advice, f"{'':20s} -> ")):
        if text:
            rest = " " * (len(start) if text is check.found else len(first))
            yield from messages.wrap(text, width, first=first, rest=rest)


COMMANDS = {"doctor": Command(Doctor, doctor)}
