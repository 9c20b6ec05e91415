"""SavedModels to serve: signatures that take ids, and signatures that take text."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from electra_zh import files
from electra_zh.convert.task_heads import TaskHead
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError

if TYPE_CHECKING:
    from electra_zh.convert.text_graph import TextGraph

_TEXT_NOTE = (
    "import tensorflow_text before the model is loaded; its ids are this tool's, by the version of "
    "Unicode that this Python knows"
)


def write(weights: Weights, output: str) -> list[str]:
    """Writes a SavedModel, or one folder for each of several tasks; all or nothing.

    Signatures: `ids`; if rows are texts also `texts` and `text_pairs`, which return the ids too.
    Assets: the vocabulary's file, `labels.txt`.

    Raises:
      UserError: the folder exists, or a head has no outputs that could be served.
    """
    from electra_zh.convert.text_graph import make_text_graph

    for task in weights.tasks:
        if task.variants:
            raise UserError(
                f"{weights.path}: task {task.name} has {', '.join(task.variants)}, which the "
                "served model does not compute. To export, fine-tune without it"
            )
    lines = []
    text: TextGraph | None = None
    tasks: tuple[TaskHead | None, ...] = weights.tasks or (None,)
    with files.new_folder(output) as folder:
        for each in tasks:
            missing = _no_text(weights, each)
            if not missing and text is None:
                assert weights.vocabulary is not None
                text = make_text_graph(weights.vocabulary, weights.tokenizer)
            target, shown = folder, output
            if each is not None and len(tasks) > 1:
                target, shown = files.join(folder, each.name), files.join(output, each.name)
            _write_one(weights, each, target, text=None if missing else text)
            names = "ids" if missing else "ids, texts, text_pairs"
            note = f"no signature takes text: {missing}" if missing else _TEXT_NOTE
            lines += [f"{shown}: SavedModel with the signatures {names}", f"note: {note}"]
    return lines


def _no_text(weights: Weights, task: TaskHead | None) -> str:
    """Returns the reason why raw text cannot be served, or ""."""
    if weights.vocabulary is None:
        return f"{weights.path} has no vocabulary"
    if task is not None and not task.form.takes_text:
        return f"rows of {task.kind} tasks are more than their texts"
    return ""


def _write_one(
    weights: Weights, task: TaskHead | None, folder: str, *, text: TextGraph | None
) -> None:
    from electra_zh.convert.served_model import ServedModel

    with tempfile.TemporaryDirectory() as assets:
        paths = []
        if weights.vocabulary is not None:
            paths.append(files.join(assets, weights.vocabulary.file_name))
            weights.vocabulary.save(paths[-1])
        if task is not None and task.outputs:
            paths.append(files.join(assets, "labels.txt"))
            files.write_text(paths[-1], "".join(f"{label}\n" for label in task.outputs))
        ServedModel(weights, task, text).save(folder, assets=paths)
