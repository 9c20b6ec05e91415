"""Tensor files of other tools, as named float32 arrays.

`model.safetensors` (one, or several with an index), `pytorch_model.bin` (likewise; torch reads it
with weights only, so code in a file is never run), and TF1 checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from electra_zh import files
from electra_zh.errors import UserError

SAFETENSORS = "model.safetensors"
_TORCH = "pytorch_model.bin"
_INDEX = ".index.json"
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


def has_tensors(folder: str) -> bool:
    """Returns whether a folder holds tensors in one of the forms of Hugging Face."""
    names = (f"{name}{end}" for name in (SAFETENSORS, _TORCH) for end in ("", _INDEX))
    return any(files.exists(files.join(folder, name)) for name in names)


def read_folder(folder: str) -> tuple[str, Tensors]:
    """Returns the file (or index) and all tensors of a folder; safetensors where both exist.

    Raises:
      UserError: there is none, a part is missing, or one cannot be read.
    """
    for name, read in ((SAFETENSORS, read_safetensors), (_TORCH, _read_torch)):
        path = files.join(folder, name)
        if files.exists(path):
            return path, read(path)
        if files.exists(path + _INDEX):
            return path + _INDEX, _read_parts(folder, path + _INDEX, read)
    raise UserError(f"{folder} has neither {SAFETENSORS} nor {_TORCH}")


def _read_parts(folder: str, index: str, read: Callable[[str], Tensors]) -> Tensors:
    places = read_settings(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index} has no weight_map")
    tensors: Tensors = {}
    for name in sorted(set(map(str, places.values()))):
        if "/" in name or "\\" in name:
            raise UserError(f"{index} names {name}, which is not a file of the same folder")
        tensors.update(read(files.join(folder, name)))
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
            f"torch is needed to read {path}. Run pip install 'electra-zh[interop]', "
            f"or give a folder with {SAFETENSORS}"
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {
            str(name): value.detach().to(torch.float32).numpy() for name, value in found.items()
        }
    except Exception as error:  # torch raises many kinds for a damaged file
        first_line = str(error).strip().partition("\n")[0]
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
            raise UserError(f"{prefix} is an object-based checkpoint: give the run's folder")
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


def read_settings(path: str) -> dict[str, Any]:
    """Returns a JSON file of settings.

    Raises:
      UserError: it is not a JSON object.
    """
    saved = files.read_json(path)
    if not isinstance(saved, dict):
        raise UserError(f"{path} is not a JSON object: {json.dumps(saved)[:40]}")
    return saved
