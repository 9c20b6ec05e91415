"""Dataclasses as JSON files: one form for manifests, counts and the facts on shards."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeVar

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.settings import build_settings

Stored = TypeVar("Stored")


def save_dataclass(path: str, value: Any) -> None:
    """Writes a dataclass that can be made again: only a loss of power could damage the file."""
    with files.atomic_write(path, durable=False) as file:
        file.write(json.dumps(dataclasses.asdict(value)).encode())


def load_dataclass(cls: type[Stored], path: str) -> Stored | None:
    """Reads a dataclass; None if the file is missing, damaged or of another version."""
    if not files.exists(path):
        return None
    try:
        return build_settings(cls, files.read_json(path), where=path)
    except (UserError, TypeError):
        return None
