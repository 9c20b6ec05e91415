"""Our own folders as `Weights`: pretraining runs and fine-tuned models.

A checkpoint's tensors are found by walking the graph of objects that it records, so nothing of the
rooms that wrote it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# The message that every object-based checkpoint carries. It has no public name, only a fixed form.
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from electra_zh import files
from electra_zh.convert.weights import TaskHead, Trained, Weights, check
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig, generator_config
from electra_zh.settings import build_settings
from electra_zh.text.tokenizer import vocabulary_of
from electra_zh.text.wordpiece.tokenizer import TokenizerSettings
from electra_zh.training import checkpoints

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_NETWORKS = ("encoder", "generator", "masked_lm_head", "rtd_head", "heads")


def is_own(settings: Any) -> bool:
    """Returns whether a folder's config.json is that of a run or a fine-tuned model."""
    return isinstance(settings, dict) and ("pretrain" in settings or "finetuned" in settings)


def read(folder: str, settings: Mapping[str, Any], *, step: int | None = None) -> Weights:
    """Reads a run or a fine-tuned model.

    Args:
      folder: the folder.
      settings: its config.json.
      step: of a kept checkpoint; the newest unless given.

    Raises:
      UserError: the folder is damaged, or has no such checkpoint.
    """
    where = files.join(folder, "config.json")
    section = settings.get("finetuned") or settings.get("pretrain")
    if not isinstance(section, dict) or not isinstance(section.get("model"), dict):
        raise UserError(f"{where} does not say the model's size")
    path = checkpoints.find(files.join(folder, "checkpoints"), step=step)
    size = build_settings(ModelConfig, section["model"], where=where)
    fine_tuned = "finetuned" in settings
    tensors = read_checkpoint(path)
    return check(
        Weights(
            path=folder,
            kind="fine-tuned model" if fine_tuned else "pretraining run",
            model=size,
            tensors=tensors,
            generator=_generator(size, section, tensors),
            vocabulary=vocabulary_of(folder),
            tokenizer=build_settings(TokenizerSettings, settings.get("tokenizer", {}), where=where),
            tasks=tuple(map(_task, section["tasks"])) if fine_tuned else (),
            step=None if fine_tuned else checkpoints.step_of(path),
            trained=None if fine_tuned else _trained(section, settings.get("init") or {}),
        )
    )


def _generator(
    size: ModelConfig, section: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> ModelConfig | None:
    if not any(name.startswith("generator/") for name in tensors):
        return None
    return generator_config(
        size,
        generator_layers=section["generator_layers"],
        generator_hidden_size=section["generator_hidden_size"],
        untied_embeddings=section["untied_generator_embeddings"],
    )


def _trained(section: Mapping[str, Any], init: Mapping[str, Any]) -> Trained:
    """Returns how a run was trained; what it started from may have had longer sequences."""
    return Trained(
        length=max(section["max_seq_length"], init.get("positions", 0)),
        batch=section["train_batch_size"],
        learning_rate=section["learning_rate"],
    )


def _task(saved: Mapping[str, Any]) -> TaskHead:
    labels = tuple(saved["labels"]["names"])
    reading = saved.get("reading", {})
    more = tuple(name for name in ("joint_prediction", "answerability") if reading.get(name))
    kind = saved["kind"]
    outputs: tuple[str, ...] = ()
    if kind == "tagging":
        outputs = ("O", *(f"{prefix}-{label}" for label in labels for prefix in "BIES"))
    elif kind in ("classification", "regression"):
        outputs = labels
    if kind != "span":
        more = ()
    elif labels:
        more = (*more, "verdict")
    reference = saved.get("head") == "reference" and kind in ("classification", "regression")
    length = saved.get("max_seq_length")
    return TaskHead(saved["name"], kind, outputs, reference, more, length)


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Returns the networks' variables of an object-based checkpoint, by our names.

    Raises:
      UserError: the file is damaged or no checkpoint of this tool.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        if not reader.has_tensor(GRAPH_KEY):
            raise UserError(f"{path} is no checkpoint of this tool")
        graph = TrackableObjectGraph.FromString(reader.get_tensor(GRAPH_KEY))
        keys = _variable_keys(graph)
        return {name: np.asarray(reader.get_tensor(key)) for name, key in keys.items()}
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"Checkpoint {path} cannot be read: {first_line}") from None


def _variable_keys(graph: TrackableObjectGraph) -> dict[str, str]:
    """Returns our name to the checkpoint's key. A shared variable is named where it is first."""
    names: dict[str, str] = {}
    seen: set[int] = set()

    def walk(number: int, name: str) -> None:
        if number in seen:
            return
        seen.add(number)
        node = graph.nodes[number]
        for attribute in node.attributes:
            names[name] = attribute.checkpoint_key
        for child in node.children:
            walk(child.node_id, f"{name}/{child.local_name}")

    root = _child(graph, _child(graph, 0, "state"), "objective", "model")
    for part in _NETWORKS:
        number = _child(graph, root, part)
        if number is not None:
            walk(number, part)
    return names


def _child(graph: TrackableObjectGraph, number: int | None, *names: str) -> int | None:
    if number is None:
        return None
    children = {child.local_name: child.node_id for child in graph.nodes[number].children}
    return next((children[name] for name in names if name in children), None)
