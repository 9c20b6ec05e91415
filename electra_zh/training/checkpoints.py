"""Checkpoints as safetensors files, complete or not there, verified when they are read.

    FOLDER/ckpt-STEP/model.safetensors      the weights by their names (`models/weight_names.py`)
    FOLDER/ckpt-STEP/optimizer.safetensors  the optimizer's slots: `m/NAME` and `v/NAME`
    FOLDER/ckpt-STEP/state.json             step, settings, position in the data, machine, checksums

A checkpoint is written under another name and renamed. This module does not import TensorFlow,
except to read the checkpoints of earlier versions (`object_checkpoints.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from electra_zh import __version__, files, machine
from electra_zh.errors import UserError
from electra_zh.training import tensor_file

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
# Of state.json and the names of the tensors.
FORMAT = 1
# Key of state.json: the step at which the slots of a weight were zeros, by name, where it is not 0.
STARTS = "optimizer_starts"
_CHECKSUM = "sha256"  # of state.json without this key

_NAME = re.compile(r"^ckpt-(\d+)$")
_OLD_NAME = re.compile(r"^ckpt-(\d+)\.index$")


class DamagedError(UserError):
    """A checkpoint whose files are missing, cut short or changed."""


class Checkpoint(NamedTuple):
    """A checkpoint in memory."""

    step: int  # training steps done
    model: dict[str, np.ndarray]  # the weights by name
    # the optimizer's slots by name; empty where they were not asked for
    optimizer: dict[str, np.ndarray]
    state: dict[str, Any]  # what state.json holds


class CheckpointStore:
    """The checkpoints of one run: one folder each, named after their steps (`ckpt-1000`).

    The folder is made when the first is saved. The newest `keep` of them are kept.
    """

    def __init__(self, folder: str, *, keep: int, writes: bool = True) -> None:
        """Opens the checkpoints; without `writes` another process saves them."""
        self.folder, self.keep, self.writes = folder, keep, writes

    def path(self, step: int) -> str:
        """Returns the path of the checkpoint of a step."""
        return files.join(self.folder, f"ckpt-{step}")

    def wait(self) -> None:
        """Waits until all that was saved is complete."""

    def save(
        self,
        step: int,
        *,
        model: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        state: Mapping[str, Any],
    ) -> str:
        """Saves the checkpoint of `step`, removes those that are too old, and returns its path.

        `model` and `optimizer` are arrays or variables by name; `state` is added to state.json.
        Without slots of an optimizer there is no file of them.
        """
        path = self.path(step)
        if not self.writes:
            return path
        files.remove_unfinished(self.folder)
        tensors = {name: t for name, t in ((MODEL, model), (OPTIMIZER, optimizer)) if t}
        with files.new_folder(path, replace=True) as partial:
            sums = {
                name: {"sha256": tensor_file.write(files.join(partial, name), values)}
                for name, values in tensors.items()
            }
            head = {"format": FORMAT, "version": __version__, "machine": machine.identity()}
            saved = {**head, "step": step, **state, "files": sums}
            saved[_CHECKSUM] = _checksum(saved)
            files.write_json(files.join(partial, STATE), saved)
        if not files.is_remote(self.folder):
            _sync(self.folder)
        _remove_before(self.folder, list(_paths(self.folder))[-self.keep :][0])
        return path

    def latest(self) -> Checkpoint | None:
        """Reads the newest checkpoint, to resume from it; None if there is none.

        A damaged one is renamed, with a warning, and the one before it is read. Lock the folder.

        Raises:
          UserError: the only checkpoint is damaged, or one cannot be read.
        """
        paths = _paths(self.folder)
        if not paths:
            return None
        path = paths[max(paths)]
        try:
            found = read(path)
        except DamagedError as error:
            if len(paths) == 1 or not files.is_dir(path):
                raise
            aside = f"{path}.damaged-{uuid.uuid4().hex[:8]}"
            # Another process of the run may have done it.
            with contextlib.suppress(FileNotFoundError):
                files.rename(path, aside)
            logging.warning("%s It is renamed to %s.", error, aside)
            return self.latest()
        changed = machine.differences(found.state.get("machine", {}))
        if changed:
            logging.warning(
                "Resuming with another machine or other libraries: %s. The last bits of the "
                "results may differ from those of a run that was not stopped.",
                changed,
            )
        return found


def read(path: str, *, optimizer: bool = True) -> Checkpoint:
    """Reads a checkpoint, by default with the optimizer's slots, and verifies its checksums.

    Raises:
      DamagedError: the checkpoint is damaged.
      UserError: it cannot be read, or was written by a newer version.
    """
    if not files.is_dir(path):
        from electra_zh.training import object_checkpoints

        step, weights, slots = object_checkpoints.read(path, optimizer=optimizer)
        return Checkpoint(step_of(path), weights, slots, {"optimizer_step": step})
    try:
        state = files.read_json(files.join(path, STATE))
        if _CHECKSUM in state and state.pop(_CHECKSUM) != _checksum(state):
            raise ValueError(f"{STATE} does not match its checksum")
        if state["format"] <= FORMAT:
            # Their names are never paths.
            if not state["files"].keys() <= {MODEL, OPTIMIZER}:
                raise KeyError
            tensors = {
                name: tensor_file.read(files.join(path, name), sha256=entry["sha256"])
                for name, entry in state["files"].items()
                if optimizer or name != OPTIMIZER
            }
            return Checkpoint(state["step"], tensors[MODEL], tensors.get(OPTIMIZER, {}), state)
    except (AttributeError, KeyError, TypeError):
        raise DamagedError(f"Checkpoint {path} has an invalid {STATE}. {_advice(path)}") from None
    except ValueError as error:
        raise DamagedError(f"Checkpoint {path} is damaged: {error}. {_advice(path)}") from None
    except OSError as error:
        raise UserError(f"Checkpoint {path} cannot be read: {error}") from None
    raise UserError(f"Checkpoint {path} was written by a newer version. Update electra-zh.")


def _checksum(state: Mapping[str, Any]) -> str:
    values = {name: value for name, value in state.items() if name != _CHECKSUM}
    return files.sha256(json.dumps(values, sort_keys=True).encode())


def _advice(path: str) -> str:
    step = step_of(path)
    earlier = [other for other in _paths(os.path.dirname(path)) if other < step]
    if not earlier:
        return "There is no earlier checkpoint."
    return f"The checkpoint before it is that of step {max(earlier)}."


def assign(variables: Mapping[str, Any], tensors: Mapping[str, np.ndarray], *, where: str) -> None:
    """Assigns to each variable the tensor of its name in the checkpoint `where`; ignores others.

    Raises:
      UserError: a tensor is missing or has another shape; nothing is assigned then.
    """
    for name, variable in variables.items():
        shape = tuple(variable.shape)
        if name not in tensors:
            raise UserError(f"Checkpoint {where} cannot be restored: {name} is missing.")
        if tensors[name].shape != shape:
            raise UserError(
                f"Checkpoint {where} cannot be restored: {name} is {list(tensors[name].shape)} "
                f"there and {list(shape)} in this model."
            )
    for name, variable in variables.items():
        variable.assign(tensors[name])


def find(folder: str, *, step: int | None = None) -> str:
    """Returns the path of the newest checkpoint in a folder, or of the one of `step`.

    Raises:
      UserError: there is none; the message lists those that exist.
    """
    paths = _paths(folder)
    if not paths:
        advice = "Wait until the run has saved one, or restore it."
        raise UserError(f"There is no checkpoint in {folder}. {advice}")
    if step is None:
        return paths[max(paths)]
    if step not in paths:
        kept = ", ".join(map(str, paths))
        raise UserError(f"There is no checkpoint of step {step} in {folder}. Available: {kept}.")
    return paths[step]


def is_empty(folder: str) -> bool:
    """Returns whether no checkpoint has been saved in the folder."""
    return not _paths(folder)


def step_of(path: str) -> int:
    """Returns the step in a checkpoint's name."""
    match = _NAME.match(os.path.basename(path))
    if match is None:
        raise UserError(f"{path} is not a checkpoint of this tool: its name must be ckpt-STEP.")
    return int(match[1])


def _paths(folder: str) -> dict[int, str]:
    """Returns the paths of the complete checkpoints by their steps, in the order of the steps."""
    found: dict[int, str] = {}
    for name in files.list_dir(folder) if files.exists(folder) else []:
        new, old = _NAME.match(name), _OLD_NAME.match(name)
        if new and files.exists(files.join(folder, name, STATE)):
            found[int(new[1])] = files.join(folder, name)
        elif old:
            found.setdefault(int(old[1]), files.join(folder, f"ckpt-{old[1]}"))
    return dict(sorted(found.items()))


def _remove_before(folder: str, step: int) -> None:
    """Removes the checkpoints before a step, and what a killed process has left of one."""
    for name in files.list_dir(folder):
        match = _NAME.match(name) or _OLD_NAME.match(name)
        if match and int(match[1]) < step:
            _remove(files.join(folder, f"ckpt-{match[1]}"))


def _remove(path: str) -> None:
    """Removes a checkpoint; without the first file that is removed it does not count as one."""
    if files.is_dir(path):
        with contextlib.suppress(FileNotFoundError):
            files.remove(files.join(path, STATE))
        files.remove_tree(path)
        return
    for name in (f"{path}.index", *files.glob(f"{path}.data-*")):
        files.remove(name)
    listing = files.join(os.path.dirname(path), "checkpoint")
    if files.exists(listing):
        files.remove(listing)


def _sync(folder: str) -> None:
    """Waits until the names in a local folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
