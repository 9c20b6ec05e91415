"""Tensor files of other tools, as named float32 arrays.

Safetensors (one file, or several with an index), files of torch (likewise; torch reads them with
weights only, so code in a file is never run), and TF1 checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import ml_dtypes
import numpy as np

from electra_zh import files
from electra_zh.convert.source_settings import USUAL_NAMES
from electra_zh.errors import UserError, install_line

SAFETENSORS = "model.safetensors"
_TORCH = "pytorch_model.bin"
_INDEX = ".index.json"
_PART = re.compile(r"-\d+-of-\d+\.[a-z]+$")  # of several files with an index
_ENDS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
# Files of a training that hold no model.
_OF_TRAINING = ("training_args", "optimizer", "scheduler", "scaler", "rng_state", "random_states")
# Entries of a checkpoint of torch that hold the weights.
_STATES = ("state_dict", "model_state_dict", "model", "module", "net")
_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
Tensors = dict[str, np.ndarray]


def find_tensors(path: str) -> str:
    """Returns the file of tensors, or the index of several, that a path names; "" if there is none.

    Safetensors are preferred. A file of another name counts in a folder with settings of a network.
    """
    if _PART.search(path):
        path = path.rpartition("/")[0] or "."
    if not files.is_dir(path):
        return path if path.endswith((*_ENDS, _INDEX)) and files.exists(path) else ""
    names = files.list_dir(path)
    usual = [name + end for name in (SAFETENSORS, _TORCH) for end in ("", _INDEX)]
    found = [name for name in usual if name in names][:1]
    if not found and set(USUAL_NAMES) & set(names):
        found = [n for n in names if n.endswith(_ENDS) and not n.startswith(_OF_TRAINING)]
    return files.join(path, found[0]) if len(found) == 1 else ""


def read_tensors(path: str) -> Tensors:
    """Returns the tensors of a file, or of the files that an index names.

    Raises:
      UserError: a part is missing, or one cannot be read.
    """
    if path.endswith(_INDEX):
        return _read_parts(path.rpartition("/")[0] or ".", path)
    return read_safetensors(path) if path.endswith(".safetensors") else _read_torch(path)


def _read_parts(folder: str, index: str) -> Tensors:
    places = files.read_json_object(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index} has no weight_map")
    tensors: Tensors = {}
    for name in sorted(set(map(str, places.values()))):
        if not files.is_name(name):
            raise UserError(f"{index} names {name}, which is not a file of the same folder")
        found = read_tensors(files.join(folder, name))
        # An older file may have a tensor that is now in another one.
        tensors |= {key: value for key, value in found.items() if places.get(key, name) == name}
    missing = [name for name in places if name not in tensors]
    if missing:
        raise UserError(f"{index}: the tensor {missing[0]} is missing from {places[missing[0]]}")
    return tensors


def read_safetensors(path: str) -> Tensors:
    """Returns the tensors of one file.

    Raises:
      UserError: the file is damaged or holds tensors of another type.
    """
    import safetensors

    data = files.read_bytes(path)
    try:
        found = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is not a complete safetensors file: {error}") from None
    tensors = {}
    for name, value in found:
        kind = value["dtype"]
        if kind not in _TYPES:
            raise UserError(f"{path}: {name} has the type {kind}; allowed: {', '.join(_TYPES)}")
        array = np.frombuffer(value["data"], _TYPES[kind]).reshape(value["shape"])
        tensors[name] = _float32(array)
    return tensors


def _float32(array: np.ndarray) -> np.ndarray:
    is_float = array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16
    return array.astype(np.float32, copy=False) if is_float else array


def _read_torch(path: str) -> Tensors:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} needs torch: {install_line('interop')}. Or give a folder with {SAFETENSORS}"
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        for name in _STATES:
            found = found[name] if isinstance(found.get(name), Mapping) else found
        return {
            str(name): value.detach().to(torch.float32).numpy()
            for name, value in found.items()
            if isinstance(value, torch.Tensor)
        }
    except Exception as error:  # torch raises many kinds for a damaged file
        if "Weights only" in str(error):
            raise UserError(
                f"{path} cannot be read as PyTorch weights: it holds more than tensors, which "
                "would run code. Save its state_dict alone, or as safetensors"
            ) from None
        first_line = str(error).strip().partition(".")[0].partition("\n")[0]
        raise UserError(f"{path} cannot be read as PyTorch weights: {first_line}") from None


def read_tf1(prefix: str) -> Tensors:
    """Returns the variables of a TF1 checkpoint without the optimizer's slots.

    Raises:
      UserError: the checkpoint is damaged, or has TensorFlow 2's form.
    """
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(prefix)
        names = list(reader.get_variable_to_shape_map())
        if any(name.startswith("_CHECKPOINTABLE") for name in names):
            raise UserError(
                f"{prefix} is an object-based checkpoint of TensorFlow 2, and not one of Google's "
                "code. If a run of this tool wrote it, give the run's folder"
            )
        kept = (name for name in names if not name.endswith(("/adam_m", "/adam_v")))
        return {name: _float32(np.asarray(reader.get_tensor(name))) for name in kept}
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"Checkpoint {prefix} cannot be read: {first_line}") from None


def write_tf1(prefix: str, variables: Mapping[str, np.ndarray]) -> None:
    """Writes a TF1 checkpoint, as TF1's Saver does."""
    import tensorflow as tf

    order = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=order,
        shape_and_slices=[""] * len(order),
        tensors=[tf.constant(variables[key]) for key in order],
    )
