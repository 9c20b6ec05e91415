"""Reading the Dockerfile."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """Returns the instructions of the Dockerfile with their words."""
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def copied_files() -> list[str]:
    """Returns the files and folders that the image is built of."""
    return [name for kind, words in instructions() if kind == "COPY" for name in words.split()[:-1]]
