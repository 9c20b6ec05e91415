"""Fine-tuned models on disk: settings, vocabulary and weights in one folder."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.convert import model_folder
from electra_zh.convert.model_folder import ModelFolder, fine_tuned_section
from electra_zh.errors import UserError
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.kinds.base import TaskKind
from electra_zh.finetuning.model import Kinds, TaskModel
from electra_zh.finetuning.pretrained import Pretrained, load_pretrained
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.training import checkpoints


class FineTuned(NamedTuple):
    """A fine-tuned model in memory."""

    start: Pretrained
    kinds: dict[str, TaskKind[Any, Any]]
    model: TaskModel


def save(folder: str, start: Pretrained, kinds: Kinds, model: TaskModel) -> None:
    """Writes the folder of a fine-tuned model; one that was there before is replaced at the end.

    Layout: `config.json` (section `finetuned`: model size, tasks with labels), the vocabulary,
    `checkpoints/ckpt-1`.
    """
    fresh, old = f"{folder}.new", f"{folder}.old"
    for path in (fresh, old):
        if files.exists(path):
            files.remove_tree(path)
    tasks = [kind.task.to_dict() for kind in kinds.values()]
    section = fine_tuned_section(start.model, tasks, start=start.path)
    contents = ModelFolder(start.vocabulary, start.tokenizer, section, fine_tuned=True)
    store = checkpoints.CheckpointStore(files.join(fresh, "checkpoints"), keep=1)
    store.save(1, model=model.weights(), optimizer={}, state={})
    contents.save(fresh)
    if files.exists(folder):
        files.rename(folder, old)
    files.rename(fresh, folder)
    if files.exists(old):
        files.remove_tree(old)


def find(path: str) -> str:
    """Returns the folder of the fine-tuned model that `path` means.

    That is the folder itself, its `model`, or that of its only task.

    Raises:
      UserError: there is none, or several; the message names them.
    """
    if files.exists(files.join(path, "config.json")):
        return path
    if not files.is_dir(path):
        raise UserError(f"--model {path} does not exist")
    if files.exists(files.join(path, "model", "config.json")):
        return files.join(path, "model")
    found = [
        name
        for name in files.list_dir(path)
        if files.exists(files.join(path, name, "model", "config.json"))
    ]
    if len(found) == 1:
        return files.join(path, found[0], "model")
    if found:
        raise UserError(f"{path} holds several models; give one of: {', '.join(found)} below it")
    raise UserError(f"{path} holds no fine-tuned model (no config.json, no model/config.json)")


def load(path: str) -> FineTuned:
    """Reads a fine-tuned model.

    Raises:
      UserError: there is none at `path`, or its files are damaged.
    """
    folder = find(path)
    start = load_pretrained(folder)
    if not start.fine_tuned:
        raise UserError(
            f"{folder} is not a fine-tuned model of this tool, only what one can start from: "
            "run `electra-zh finetune` first"
        )
    where = model_folder.config_path(folder)
    tasks = [
        TaskConfig.from_dict(values, where=where) for values in model_folder.load(folder).tasks
    ]
    limit = start.model.max_position_embeddings
    kinds = {task.name: make_kind(task, max_position_embeddings=limit) for task in tasks}
    model = TaskModel(dataclasses.replace(start, checkpoint=""), kinds, seed=0)
    weights = checkpoints.read(start.checkpoint, optimizer=False).model
    checkpoints.assign(model.weights(), weights, where=start.checkpoint)
    return FineTuned(start, kinds, model)
