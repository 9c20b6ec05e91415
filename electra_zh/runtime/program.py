"""A lowered training step, and its files. Neither TensorFlow nor JAX is imported.

- `program.json`: names, shapes and types of the parameters and results, checksums
- `step.jaxexport`: the step, as `jax.export` serializes it
- `then/`: the same of the program that follows it, if there is one
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.errors import UserError

FORMAT = 3
_JSON, _STEP, _THEN = "program.json", "step.jaxexport", "then"
_CHECKSUM = "sha256"
# The most batches and bytes of a block.
_BLOCK_BATCHES, _BLOCK_BYTES = 32, 64 * 2**20


def _checksum(values: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the values of `program.json` without itself."""
    rest = {name: value for name, value in values.items() if name != _CHECKSUM}
    return files.sha256(json.dumps(rest, sort_keys=True).encode())


class TensorInfo(NamedTuple):
    """Name, shape and type of a parameter or result."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class StepProgram(NamedTuple):
    """A lowered step: (batch..., variables...) -> (sums..., new variables...).

    With `then` it has two parts: the sums of the first, which all devices then have, are the batch
    of the second, and the sums of the second are those of the step.
    """

    exported: bytes  # of `jax.export`
    batch: tuple[TensorInfo, ...]
    variables: tuple[TensorInfo, ...]
    sums: tuple[TensorInfo, ...]
    written: tuple[int, ...]  # the result of each variable, or -1 where the step only reads it
    micro_batches: int = 1  # parts of a batch that the step computes one after the other
    then: StepProgram | None = None
    key: str = ""  # digest of all that the step follows from; empty if it is not known

    @property
    def digest(self) -> str:
        """Digest of the program, equal for steps that compile to the same."""
        origin = self.key or [files.sha256(part.exported) for part in self.parts]
        signature = [part._replace(exported=b"", then=None, key="") for part in self.parts]
        return files.sha256(json.dumps([origin, *map(str, signature)]).encode())

    @property
    def parts(self) -> list[StepProgram]:
        """The program itself, and the one after it."""
        return [self, *(self.then.parts if self.then else ())]

    @property
    def all_variables(self) -> list[TensorInfo]:
        """The variables of all parts."""
        return list(dict.fromkeys(info for part in self.parts for info in part.variables))

    @property
    def batch_bytes(self) -> int:
        """Bytes of a batch, whose tensors have 32 bits on the devices."""
        return sum(4 * math.prod(info.shape) for info in self.batch)

    @property
    def block(self) -> int:
        """Number of batches in a block, which is sent to the devices at once."""
        return max(1, min(_BLOCK_BATCHES, _BLOCK_BYTES // self.batch_bytes))

    @property
    def size(self) -> int:
        """Bytes of the parts."""
        return sum(len(part.exported) for part in self.parts)

    def renamed(self, names: dict[str, str]) -> StepProgram:
        """Returns the program with other names of its variables."""
        variables = (info._replace(name=names[info.name]) for info in self.variables)
        then = self.then and self.then.renamed(names)
        return self._replace(variables=tuple(variables), then=then)

    def save(self, folder: str) -> None:
        """Writes the files."""
        files.make_dirs(folder)
        with files.atomic_write(files.join(folder, _STEP)) as file:
            file.write(self.exported)
        if self.then is not None:
            self.then.save(files.join(folder, _THEN))
        values = {"format": FORMAT, **self._replace(exported=b"")._asdict()}
        values[_THEN] = self.then is not None
        values["exported"] = files.sha256(self.exported)
        values[_CHECKSUM] = _checksum(values)
        files.write_json(files.join(folder, _JSON), values)

    @classmethod
    def load(cls, folder: str) -> StepProgram:
        """Reads the files.

        Raises:
          UserError: they are missing, damaged, or of another form.
        """
        path = files.join(folder, _JSON)
        if not files.exists(path):
            raise UserError(f"{folder} is not an exported step: {_JSON} is missing")
        values = files.read_json(path)
        with files.explained_damage(path, "Export the step again"):
            if values["format"] != FORMAT:
                raise UserError(f"{path} has form {values['format']}; this version reads {FORMAT}")
            batch, variables, sums = (
                tuple(TensorInfo(name, tuple(shape), dtype) for name, shape, dtype in values[key])
                for key in ("batch", "variables", "sums")
            )
            exported = files.read_bytes(files.join(folder, _STEP))
            if values["exported"] != files.sha256(exported):
                raise ValueError(f"{_STEP} does not match its checksum")
            if values[_CHECKSUM] != _checksum(values):
                raise ValueError("it does not match its checksum")
            written, parts = tuple(values["written"]), values["micro_batches"]
            then = cls.load(files.join(folder, _THEN)) if values[_THEN] else None
            return cls(exported, batch, variables, sums, written, parts, then, values["key"])


def check_split(batch_size: int, devices: int, parts: int) -> None:
    """Checks that a batch can be split over devices, and accumulated in parts.

    Raises:
      UserError: a device would have no equal number of rows of each part.
    """
    if batch_size % (devices * parts):
        in_parts = f" in gradient_accumulation_steps={parts} parts" if parts > 1 else ""
        raise UserError(
            f"train_batch_size {batch_size} cannot be split evenly over {devices} devices"
            f"{in_parts}. Choose a multiple of {devices * parts}, or fewer devices with --devices N"
        )


def jax_type(name: str) -> np.dtype:
    """Returns the type that JAX has for a tensor: its integers have 32 bits."""
    return np.dtype({"int64": "int32"}.get(name, name))
