"""The folders of this tool: pretraining runs and fine-tuned models."""

from __future__ import annotations

from typing import Any

import numpy as np

from electra_zh import files
from electra_zh.convert import model_folder
from electra_zh.convert.forms import Reader
from electra_zh.convert.task_heads import read_head
from electra_zh.convert.weights import Weights, check
from electra_zh.errors import UserError
from electra_zh.training import checkpoints

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_NETWORKS = ("encoder", "generator", "masked_lm_head", "rtd_head", "heads")


def _matches(path: str) -> bool:
    is_checkpoint = files.exists(files.join(path, "state.json"))
    return is_checkpoint or model_folder.is_model_folder(path)


def read(folder: str, step: int | None = None) -> Weights:
    """Reads a run or a fine-tuned model.

    Args:
      folder: the folder.
      step: of a checkpoint; None for the latest.

    Raises:
      UserError: the folder is damaged, or has no checkpoint of this step.
    """
    if files.exists(files.join(folder, "state.json")):
        raise UserError(f"{folder} is a checkpoint: give the run's folder and --checkpoint STEP")
    where = model_folder.config_path(folder)
    saved = model_folder.load(folder)
    path = checkpoints.find(files.join(folder, "checkpoints"), step=step)
    tensors = read_checkpoint(path)
    model = saved.model(where=where)
    has_generator = any(name.startswith("generator/") for name in tensors)
    return check(
        Weights(
            path=folder,
            kind="fine-tuned model" if saved.fine_tuned else "pretraining run",
            model=model,
            tensors=tensors,
            generator=saved.generator(model) if has_generator else None,
            vocabulary=saved.vocabulary,
            tokenizer=saved.tokenizer,
            tasks=tuple(read_head(task, tensors, where=where) for task in saved.tasks),
            checkpoint=path,
            step=None if saved.fine_tuned else checkpoints.step_of(path),
            trained=saved.trained,
        )
    )


READER = Reader(
    expected="the folder of a run or of a fine-tuned model of this tool",
    order=0,
    matches=_matches,
    read=read,
    has_checkpoints=True,
)


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Returns the networks' variables of an object-based checkpoint, by our names.

    Raises:
      UserError: the file is damaged or no checkpoint of this tool.
    """
    import tensorflow as tf

    # The message of object-based checkpoints. It has no public name, only a fixed form.
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

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


def _variable_keys(graph: Any) -> dict[str, str]:
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


def _child(graph: Any, number: int | None, *names: str) -> int | None:
    if number is None:
        return None
    children = {child.local_name: child.node_id for child in graph.nodes[number].children}
    return next((children[name] for name in names if name in children), None)
