"""Opening a pretrained or fine-tuned model of any origin."""

from __future__ import annotations

from electra_zh import files
from electra_zh.convert import forms
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError


def open_source(
    path: str, *, checkpoint: int | None = None, settings_only: bool = False
) -> Weights:
    """Reads a model in the first form that matches its files.

    Args:
      path: a folder, or the prefix of a TF1 checkpoint.
      checkpoint: step of a checkpoint of a run; None for the latest.
      settings_only: sizes and vocabulary suffice: a folder of this tool needs no checkpoint then.

    Raises:
      UserError: no form matches, or the files are damaged.
    """
    path = path.rstrip("/") or path
    readers = forms.readers()
    for reader in readers:
        if not reader.matches(path):
            continue
        if reader.has_checkpoints:
            return reader.read(path, checkpoint, settings_only=settings_only)
        if checkpoint is not None:
            raise UserError(f"--checkpoint {checkpoint} is for runs of this tool, not for {path}")
        return reader.read(path)
    expected = "; ".join(reader.expected for reader in readers)
    what = f"No model found in {path}" if files.exists(path) else f"{path} does not exist"
    raise UserError(f"{what}. Expected one of: {expected}")
