"""Checkpoints: save, keep the last K, restore all or nothing."""

from __future__ import annotations

import os
import re

import tensorflow as tf

from electra_zh.errors import UserError

_NAME = re.compile(r"^ckpt-(\d+)$")


class CheckpointStore:
    """The checkpoints of one run, in one folder, named after their steps (`ckpt-1000`).

    TensorFlow writes a checkpoint under a temporary name and enters it in the folder's
    `checkpoint` file last, so one that was cut short is never the latest.
    """

    def __init__(self, folder: str, state: tf.Module, *, keep: int) -> None:
        """Makes the store.

        Args:
          folder: where the checkpoints are; made when the first is saved.
          state: everything that is saved, as attributes of one module.
          keep: so many of the last checkpoints are kept.
        """
        self.folder = folder
        self._checkpoint = tf.train.Checkpoint(state=state)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, folder, max_to_keep=keep, checkpoint_name="ckpt"
        )

    def save(self, step: int) -> str:
        """Saves the state as the checkpoint of `step` and returns its path."""
        return str(self._manager.save(checkpoint_number=step, check_interval=False))

    def restore_latest(self) -> int | None:
        """Restores every variable from the newest checkpoint; the step, or None if there is none.

        Raises:
          UserError: the newest checkpoint cannot be read or holds other variables.
        """
        path = self._manager.latest_checkpoint
        if path is None:
            return None
        return restore(self._checkpoint, path)


def restore(checkpoint: tf.train.Checkpoint, path: str) -> int:
    """Restores every variable of `checkpoint` from `path` and returns the step in its name.

    Raises:
      UserError: the file cannot be read, lacks a variable or has one of another shape.
    """
    try:
        checkpoint.restore(path).assert_existing_objects_matched()
    except (tf.errors.OpError, ValueError, IndexError, AssertionError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise UserError(
            f"Checkpoint {path} cannot be restored: {first_line} "
            "If the file is damaged, remove it and its line in the `checkpoint` file beside it "
            "to go on from the one before."
        ) from None
    return step_of(path)


def step_of(path: str) -> int:
    """Returns the step that a checkpoint's name holds."""
    match = _NAME.match(os.path.basename(path))
    if match is None:
        raise UserError(f"{path} is not a checkpoint of this tool: its name must be ckpt-STEP")
    return int(match[1])


def is_empty(folder: str) -> bool:
    """Returns whether no checkpoint has been saved in the folder."""
    return tf.train.latest_checkpoint(folder) is None


def find(folder: str, *, step: int | None = None) -> str:
    """Returns the path of the newest checkpoint in a folder, or of the one of `step`.

    Raises:
      UserError: there is none; the message names those that there are.
    """
    state = tf.train.get_checkpoint_state(folder)
    paths = list(state.all_model_checkpoint_paths) if state else []
    if not paths:
        raise UserError(f"There is no checkpoint in {folder}: has the run saved one yet?")
    if step is None:
        return str(paths[-1])
    for path in paths:
        if step_of(path) == step:
            return str(path)
    kept = ", ".join(str(step_of(path)) for path in paths)
    raise UserError(f"There is no checkpoint of step {step} in {folder}. Kept: {kept}")
