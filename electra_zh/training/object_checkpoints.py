"""Reading the checkpoints of earlier versions: TensorFlow's object-based form.

Such a checkpoint (`ckpt-STEP.index`, `ckpt-STEP.data-...`) records a graph of objects. Each of its
variables has the name that it had in the program, and the key that its values are stored under.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from electra_zh.errors import UserError

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_SLOTS = {"/adam_m": "m", "/adam_v": "v"}
# The fields of `TrackableObjectGraph` that are needed here. TensorFlow has no public name for the
# message; its form is fixed by the files that exist.
_GRAPH = """
name: "object_graph.proto"
package: "electra_zh"
message_type {
  name: "Attribute"
  field { name: "full_name" number: 2 type: TYPE_STRING }
  field { name: "checkpoint_key" number: 3 type: TYPE_STRING }
}
message_type {
  name: "Node"
  field {
    name: "attributes" number: 2 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".electra_zh.Attribute"
  }
}
message_type {
  name: "Graph"
  field {
    name: "nodes" number: 1 label: LABEL_REPEATED
    type: TYPE_MESSAGE type_name: ".electra_zh.Node"
  }
}
"""


def read(path: str, *, optimizer: bool) -> tuple[int, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the optimizer's step, the weights and the optimizer's slots of `.../ckpt-STEP`.

    The slots are `m/NAME` and `v/NAME`, and the weights `best/NAME` of a stopped fine-tuning trial.
    """
    step, weights, slots = 0, {}, {}
    try:
        reader = tf.train.load_checkpoint(path)
        if not reader.has_tensor(GRAPH_KEY):
            raise UserError(f"{path} is not a checkpoint of this tool")
        for name, key in _variable_keys(reader.get_tensor(GRAPH_KEY)).items():
            stem, slash, last = name.rpartition("/")
            slot = _SLOTS.get(slash + last)
            if name == "step":
                step = int(reader.get_tensor(key))
            elif slot is None and not name.startswith("best/"):
                weights[name] = np.asarray(reader.get_tensor(key))
            elif optimizer:
                slots[f"{slot}/{stem}" if slot else name] = np.asarray(reader.get_tensor(key))
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"Checkpoint {path} cannot be read: {first_line}") from None
    return step, weights, slots


def _variable_keys(graph: bytes) -> dict[str, str]:
    """Returns each variable's name and its key in the checkpoint."""
    message = _graph_message()
    message.ParseFromString(graph)
    keys = {
        attribute.full_name: attribute.checkpoint_key
        for node in message.nodes
        for attribute in node.attributes
    }
    # TensorFlow's own count of the saves.
    keys.pop("save_counter", None)
    return keys


def _graph_message() -> Any:
    """Returns an empty message of the form of `_GRAPH`."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_GRAPH, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("electra_zh.Graph"))()
