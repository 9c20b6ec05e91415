"""TensorFlow SavedModels to serve: signatures that take ids, and signatures that take text."""

from __future__ import annotations

import tempfile
from typing import Any

import tensorflow as tf

from electra_zh import files
from electra_zh.convert.serving import ServedModel
from electra_zh.convert.text_graph import TextGraph, make_text_graph
from electra_zh.convert.weights import TaskHead, Weights
from electra_zh.errors import UserError

# The rows of these are no more than their texts, cut at the end where they are too long. Rows of
# the others are windows, choices or candidates, which the graph does not make.
_TEXT_KINDS = ("classification", "regression", "tagging")
_IDS = ("input_ids", "input_mask", "segment_ids")


def write(weights: Weights, output: str) -> list[str]:
    """Writes a SavedModel, or one folder for each task of several; nothing is left if that fails.

    Signatures: `ids`; where the rows are their texts `texts` and `text_pairs`, which also return
    the ids. Assets: the vocabulary's file, `labels.txt`.

    Args:
      weights: the model.
      output: a folder that does not exist.

    Returns:
      What was written, for people.

    Raises:
      UserError: the folder exists, or a head has no outputs that could be served.
    """
    for each in weights.tasks:
        if each.more:
            raise UserError(
                f"{weights.path}: task {each.name} has {', '.join(each.more)}, which the served "
                "model does not compute: fine-tune without it to export"
            )
    lines = []
    text: TextGraph | None = None
    tasks: tuple[TaskHead | None, ...] = weights.tasks or (None,)
    with files.new_folder(output) as folder:
        for task in tasks:
            name = task.name if task is not None and len(tasks) > 1 else ""
            missing = _no_texts(weights, task)
            if not missing and text is None:
                assert weights.vocabulary is not None
                text = make_text_graph(weights.vocabulary, weights.tokenizer)
            target = files.join(folder, name) if name else folder
            _write_one(weights, task, target, text=None if missing else text)
            shown = files.join(output, name) if name else output
            names = "ids" if missing else "ids, texts, text_pairs"
            lines.append(f"{shown}: SavedModel with the signatures {names}")
            lines.append(
                f"note: no signature takes text: {missing}"
                if missing
                else "note: import tensorflow_text before the model is loaded; its ids are this "
                "tool's, by the version of Unicode that this Python knows"
            )
    return lines


def _no_texts(weights: Weights, task: TaskHead | None) -> str:
    """Returns why strings cannot be taken, or nothing."""
    if weights.vocabulary is None:
        return f"{weights.path} has no vocabulary"
    if task is not None and task.kind not in _TEXT_KINDS:
        return f"rows of {task.kind} tasks are more than their texts"
    return ""


def _graph(inputs: list[tf.TensorSpec]) -> Any:
    # Autograph takes seconds, and nothing here branches on tensors.
    return tf.function(input_signature=inputs, autograph=False)


def _write_one(
    weights: Weights, task: TaskHead | None, folder: str, *, text: TextGraph | None
) -> None:
    model = ServedModel(weights, task)
    holder = tf.Module()
    holder.model = model

    @_graph([tf.TensorSpec([None, None], tf.int32, name) for name in _IDS])
    def of_ids(
        input_ids: tf.Tensor, input_mask: tf.Tensor, segment_ids: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        return model.outputs(input_ids, input_mask, segment_ids)

    signatures: dict[str, Any] = {"ids": of_ids, "serving_default": of_ids}
    if text is not None:
        holder.text = text
        signatures |= _text_signatures(weights, model, text)
    with tempfile.TemporaryDirectory() as sources:
        holder.assets = _assets(weights, task, sources)
        tf.saved_model.save(holder, folder, signatures=signatures)


def _text_signatures(weights: Weights, model: ServedModel, graph: TextGraph) -> dict[str, Any]:
    limit = weights.model.max_position_embeddings
    if model.task is not None and model.task.max_seq_length is not None:
        limit = min(limit, model.task.max_seq_length)

    def outputs(first: tf.Tensor, second: tf.Tensor | None) -> dict[str, tf.Tensor]:
        rows = graph.rows(first, second, max_seq_length=limit)
        return {**rows, **model.outputs(*(rows[name] for name in _IDS))}

    @_graph([tf.TensorSpec([None], tf.string, "texts")])
    def of_texts(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return outputs(texts, None)

    names = ("texts", "second_texts")

    @_graph([tf.TensorSpec([None], tf.string, name) for name in names])
    def of_pairs(texts: tf.Tensor, second_texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return outputs(texts, second_texts)

    return {"texts": of_texts, "text_pairs": of_pairs}


def _assets(weights: Weights, task: TaskHead | None, folder: str) -> list[tf.saved_model.Asset]:
    """Writes the files that go with the graph to a folder, and returns them."""
    found = []
    if weights.vocabulary is not None:
        path = files.join(folder, weights.vocabulary.file_name)
        weights.vocabulary.save(path)
        found.append(tf.saved_model.Asset(path))
    if task is not None and task.outputs:
        path = files.join(folder, "labels.txt")
        files.write_text(path, "".join(f"{label}\n" for label in task.outputs))
        found.append(tf.saved_model.Asset(path))
    return found
