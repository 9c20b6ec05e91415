"""Opening a pretrained or fine-tuned model of any origin."""

from __future__ import annotations

import dataclasses

from electra_zh import files
from electra_zh.convert.locate import find_model
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError
from electra_zh.text.settings import TokenizerSettings
from electra_zh.training import checkpoints


def check_source(
    path: str,
    *,
    checkpoint: int | None = None,
    settings_only: bool = False,
    hints: SourceSettings = SourceSettings(),
) -> None:
    """Checks that `open_source` finds a model; reads no weights and loads no TensorFlow.

    Raises:
      UserError: there is no model, no such checkpoint, or no such vocabulary.
    """
    found = find_model(path, checkpoint=checkpoint)
    if found.reader.has_checkpoints:
        found.reader.read(found.path, found.step, settings_only=True)
        if not settings_only:
            checkpoints.find(files.join(found.path, "checkpoints"), step=found.step)
    else:
        _refuse_checkpoint(path, checkpoint)
    if hints.vocab is not None and not files.exists(hints.vocab):
        raise UserError(f"--vocab {hints.vocab} does not exist")


def open_source(
    path: str,
    *,
    checkpoint: int | None = None,
    settings_only: bool = False,
    hints: SourceSettings = SourceSettings(),
) -> Weights:
    """Reads the model that a path names.

    Args:
      path: any path that `locate.find_model` takes.
      checkpoint: step of a checkpoint of a run; None for the latest.
      settings_only: sizes and vocabulary suffice: a folder of this tool needs no checkpoint then.
      hints: facts that the files of another tool may not say.

    Raises:
      UserError: there is no model, its files are damaged, or the hints contradict them.
    """
    found = find_model(path, checkpoint=checkpoint)
    if found.reader.has_checkpoints:
        weights = found.reader.read(found.path, found.step, settings_only=settings_only)
        return weights if hints.is_empty() else _with_hints(weights, hints)
    _refuse_checkpoint(path, checkpoint)
    if hints.is_empty():
        return found.reader.read(found.path)
    weights = found.reader.read(found.path, hints)
    hints.check(weights.model, where=weights.path)
    return weights


def _refuse_checkpoint(path: str, checkpoint: int | None) -> None:
    if checkpoint is not None:
        raise UserError(f"--checkpoint {checkpoint} is for runs of this tool, not for {path}")


def _with_hints(weights: Weights, hints: SourceSettings) -> Weights:
    """Returns a model of this tool, which says its sizes, with the wanted case of text."""
    hints.check(weights.model, where=weights.path)
    if hints.vocab is not None:
        raise UserError(f"--vocab: {weights.path} has its vocabulary. Omit --vocab")
    if hints.lower_case in (None, weights.tokenizer.lower_case):
        return weights
    settings = dataclasses.replace(weights.tokenizer, lower_case=hints.lower_case)
    if settings.lower_case:
        settings = TokenizerSettings(map_punctuation=settings.map_punctuation)
    if weights.vocabulary is not None and weights.vocabulary.settings is not None:
        raise UserError(f"{weights.path} has a SentencePiece model: omit --lower-case")
    note = f"lower_case={settings.lower_case} as given; the model was trained with the reverse"
    return dataclasses.replace(weights, tokenizer=settings, notes=(*weights.notes, note))
