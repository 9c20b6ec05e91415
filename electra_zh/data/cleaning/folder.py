"""The output folder: what may be replaced, and what must not be touched."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from electra_zh import files
from electra_zh.data import input_files
from electra_zh.data.cleaning.report import KIND, REPORT, SUMMARY
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.errors import UserError

_TEXT = re.compile(r"^cleaned-\d{5,}-of-\d{5,}\.txt(\.gz|\.zst)?$")


def text_name(index: int, count: int, suffix: str) -> str:
    """Returns the name of file `index` of `count`."""
    return f"cleaned-{index:05d}-of-{count:05d}{suffix}"


def check_folder(settings: CleanSettings, inputs: Sequence[input_files.InputFile]) -> None:
    """Checks that the output folder can be made, and that it and the input are apart.

    Raises:
      UserError: it holds what must not be lost, is inside of the input, or the input inside of it.
    """
    output = settings.output
    files.check_output(output)
    for file in inputs:
        if _is_inside(file.path, output):
            raise UserError(f"The input {file.path} is inside of --output {output}")
    for name in settings.inputs:
        folders = [name, *(files.glob(name) if any(mark in name for mark in "*?[") else [])]
        for folder in folders:
            if files.is_dir(folder) and _is_inside(output, folder):
                raise UserError(
                    f"--output {output} is inside of the input {folder}; choose a folder outside"
                )
    if not files.exists(output):
        return
    names = files.list_dir(output)
    if not names:
        return
    known = {REPORT, SUMMARY} if _is_ours(files.join(output, REPORT)) else set()
    foreign = [name for name in names if name not in known and not (known and _TEXT.match(name))]
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise UserError(
            f"{output} holds files that are not clean's ({shown}); choose another folder"
        )
    if not settings.overwrite:
        raise UserError(f"{output} holds cleaned text; choose another folder, or --overwrite")


def _is_ours(path: str) -> bool:
    """Returns whether a file is the report of a cleaning."""
    if not files.exists(path):
        return False
    try:
        report = files.read_json(path)
    except UserError:
        return False
    return isinstance(report, dict) and report.get("kind") == KIND


def _is_inside(path: str, folder: str) -> bool:
    if files.is_remote(path) or files.is_remote(folder):
        return path.rstrip("/") == folder.rstrip("/") or path.startswith(folder.rstrip("/") + "/")
    inner, outer = os.path.realpath(path), os.path.realpath(folder)
    return inner == outer or inner.startswith(os.path.join(outer, ""))
