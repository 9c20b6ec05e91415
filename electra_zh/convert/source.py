"""Opening a pretrained or fine-tuned model of any origin."""

from __future__ import annotations

from electra_zh.convert.locate import find_model
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError


def open_source(
    path: str, *, checkpoint: int | None = None, settings_only: bool = False
) -> Weights:
    """Reads the model that a path names.

    Args:
      path: any path that `locate.find_model` takes.
      checkpoint: step of a checkpoint of a run; None for the latest.
      settings_only: sizes and vocabulary suffice: a folder of this tool needs no checkpoint then.

    Raises:
      UserError: there is no model, or its files are damaged.
    """
    found = find_model(path, checkpoint=checkpoint)
    if found.reader.has_checkpoints:
        return found.reader.read(found.path, found.step, settings_only=settings_only)
    if checkpoint is not None:
        raise UserError(f"--checkpoint {checkpoint} is for runs of this tool, not for {path}")
    return found.reader.read(found.path)
