"""The folders of this tool: pretraining runs and fine-tuned models."""

from __future__ import annotations

import dataclasses

from electra_zh import files
from electra_zh.convert import model_folder
from electra_zh.convert.forms import FormReader
from electra_zh.convert.task_heads import read_head
from electra_zh.convert.weights import Weights, check
from electra_zh.errors import UserError
from electra_zh.models.weight_names import split_own
from electra_zh.training import checkpoints


def _matches(path: str) -> bool:
    is_checkpoint = files.exists(files.join(path, "state.json"))
    return is_checkpoint or model_folder.is_model_folder(path)


def read(folder: str, step: int | None = None, *, settings_only: bool = False) -> Weights:
    """Reads a run or a fine-tuned model from the checkpoint of `step`, by default the latest.

    With `settings_only` no checkpoint is read, and the model has no tensors.
    """
    if files.exists(files.join(folder, "state.json")):
        raise UserError(f"{folder} is a checkpoint: give the run's folder and --checkpoint STEP")
    saved = model_folder.load(folder)
    config = model_folder.config_path(folder)
    model = saved.model(where=config)
    with files.explained_damage(config, "Restore it"):
        trained = saved.trained()
    weights = Weights(
        path=folder,
        kind="fine-tuned model" if saved.fine_tuned else "pretraining run",
        model=model,
        tensors={},
        vocabulary=saved.vocabulary,
        tokenizer=saved.tokenizer,
        trained=trained,
    )
    if settings_only:
        return weights
    path = checkpoints.find(files.join(folder, "checkpoints"), step=step)
    checkpoint = checkpoints.read(path, optimizer=False)
    saved = saved.of_checkpoint(checkpoint.state)
    tensors, own = split_own(checkpoint.model)
    if saved.section.get("discriminator_frozen") and not (saved.init or saved.phases):
        weights = dataclasses.replace(weights, notes=("its encoder has random weights",))
    with files.explained_damage(config, "Restore it"):
        weights = dataclasses.replace(
            weights,
            trained=saved.trained(checkpoint.step),
            record=saved.record(),
            tensors=tensors,
            own=own,
            tasks=tuple(read_head(task, tensors) for task in saved.tasks),
            checkpoint=path,
            step=None if saved.fine_tuned else checkpoint.step,
        )
        if weights.has("generator"):
            weights = dataclasses.replace(weights, generator=saved.generator_size(model))
    return check(weights)


READER = FormReader(
    expected="the folder of a run or of a fine-tuned model of this tool",
    order=0,
    matches=_matches,
    read=read,
    has_checkpoints=True,
)
