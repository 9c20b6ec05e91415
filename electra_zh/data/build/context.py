"""The data that every task of a build needs, and the random draws of a build."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any, TypeVar

import numpy as np

from electra_zh import files
from electra_zh.data.build import rows
from electra_zh.data.build.settings import BuildSettings
from electra_zh.data.input_files import InputFile
from electra_zh.errors import UserError
from electra_zh.settings import build_settings
from electra_zh.text.vocabulary import Vocabulary

Counts = TypeVar("Counts")


@dataclasses.dataclass(frozen=True)
class BuildContext:
    """A build, as its tasks see it.

    `fingerprint` is the SHA-256 of everything that the bytes depend on. It is saved with the
    results of tasks, so that those of another build are never mixed in.
    """

    settings: BuildSettings
    inputs: tuple[InputFile, ...]
    vocabulary: Vocabulary
    fingerprint: str

    @property
    def has_words(self) -> bool:
        """True if the starts of words are stored."""
        return self.settings.words is not None

    @property
    def row_dtype(self) -> np.dtype:
        """The type of the tables of rows."""
        length = self.settings.max_seq_length
        return rows.row_dtype(self.vocabulary.size, length, words=self.has_words)

    @property
    def row_bytes(self) -> int:
        """Bytes per row."""
        return self.row_dtype.itemsize * rows.row_width(self.settings.max_seq_length)

    def work_path(self, name: str) -> str:
        """Returns the path of a file of the unfinished build."""
        return files.join(self.settings.work_folder, name)

    def save(self, name: str, value: Any) -> None:
        """Writes the dataclass of a finished task: only a loss of power could damage the file."""
        content = {"build": self.fingerprint, "value": dataclasses.asdict(value)}
        with files.atomic_write(self.work_path(name), durable=False) as file:
            file.write(json.dumps(content).encode())

    def load(self, cls: type[Counts], name: str) -> Counts | None:
        """Reads a dataclass; None if it is missing, damaged, or of another build or version."""
        path = self.work_path(name)
        try:
            content = files.read_json(path) if files.exists(path) else None
            if not isinstance(content, dict) or content.get("build") != self.fingerprint:
                return None
            return build_settings(cls, content["value"], where=path)
        except (UserError, KeyError, TypeError):
            return None

    def make_generator(self, stream: str, *key: int) -> random.Random:
        """Returns the generator of a random stream; other streams and keys are unrelated."""
        return random.Random("/".join([str(self.settings.seed), stream, *map(str, key)]))


def shuffled(count: int, generator: random.Random) -> np.ndarray:
    """Returns 0 to `count - 1` in a random order, the same in every version of NumPy."""
    return np.argsort(np.frombuffer(generator.randbytes(8 * count), "<u8"), kind="stable")
