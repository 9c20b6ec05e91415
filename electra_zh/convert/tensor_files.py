"""Files of tensors that other tools write, as named float32 arrays.

`model.safetensors` (one, or several with an index), `pytorch_model.bin` (likewise; read by torch
with weights only, so that no code in a file is ever run), and TF1 checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_zh import files
from electra_zh.errors import UserError

SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def has_tensors(folder: str) -> bool:
    """Returns whether a folder holds tensors in one of the forms of Hugging Face."""
    names = (SAFETENSORS, TORCH)
    return any(
        files.exists(files.join(folder, f"{name}{end}"))
        for name in names
        for end in ("", ".index.json")
    )


def read_folder(folder: str) -> tuple[str, dict[str, np.ndarray]]:
    """Returns the file (or index) and all tensors of a folder; safetensors where both are there.

    Raises:
      UserError: there is none, a part is missing, or one cannot be read.
    """
    for name in (SAFETENSORS, TORCH):
        path = files.join(folder, name)
        read = read_safetensors if name == SAFETENSORS else read_torch
        if files.exists(path):
            return path, read(path)
        index = f"{path}.index.json"
        if files.exists(index):
            return index, _read_parts(folder, index, read)
    raise UserError(f"{folder} has no {SAFETENSORS} and no {TORCH}")


def _read_parts(folder: str, index: str, read: Any) -> dict[str, np.ndarray]:
    saved = files.read_json(index)
    places = saved.get("weight_map") if isinstance(saved, dict) else None
    if not isinstance(places, dict) or not places:
        raise UserError(f"{index} has no weight_map")
    tensors: dict[str, np.ndarray] = {}
    for name in sorted(set(map(str, places.values()))):
        if "/" in name or "\\" in name:
            raise UserError(f"{index} names {name}, which is not a file beside it")
        tensors.update(read(files.join(folder, name)))
    missing = [name for name in places if name not in tensors]
    if missing:
        raise UserError(f"{index}: {places[missing[0]]} lacks the tensor {missing[0]}")
    return tensors


def read_safetensors(path: str) -> dict[str, np.ndarray]:
    """Returns the tensors of one file.

    Raises:
      UserError: the file is damaged or of another form.
    """
    import safetensors

    data = files.read_bytes(path)
    try:
        found = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is no whole safetensors file: {error}") from None
    return {name: _array(path, name, value) for name, value in found}


def _array(path: str, name: str, value: Mapping[str, Any]) -> np.ndarray:
    kind, shape, data = value["dtype"], value["shape"], value["data"]
    if kind == "BF16":
        # The upper half of a float32.
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if kind not in _TYPES:
        raise UserError(f"{path}: {name} is of type {kind}; allowed: BF16, {', '.join(_TYPES)}")
    return _float32(np.frombuffer(data, _TYPES[kind]).reshape(shape))


def _float32(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32, copy=False) if value.dtype.kind == "f" else value


def read_torch(path: str) -> dict[str, np.ndarray]:
    """Returns the tensors of one file of torch.

    Raises:
      UserError: torch is not installed, or the file is damaged or holds more than tensors.
    """
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} needs torch to be read: pip install 'electra-zh[interop]', "
            f"or give a folder with {SAFETENSORS}"
        ) from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        return {
            str(name): _float32(value.detach().to(torch.float32).numpy())
            for name, value in found.items()
        }
    except Exception as error:  # torch raises many kinds for a damaged file
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"{path} cannot be read as weights of torch: {first_line}") from None


def read_tf1(prefix: str) -> dict[str, np.ndarray]:
    """Returns the variables of a TF1 checkpoint; slots of the optimizer are left out.

    Raises:
      UserError: the checkpoint is damaged, or one of TensorFlow 2's form.
    """
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(prefix)
        names = [name for name in reader.get_variable_to_shape_map() if not _is_slot(name)]
        if any(name.startswith("_CHECKPOINTABLE") for name in names):
            raise UserError(f"{prefix} is an object-based checkpoint: give the run's folder")
        return {name: _float32(np.asarray(reader.get_tensor(name))) for name in names}
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        first_line = str(error).strip().partition("\n")[0]
        raise UserError(f"Checkpoint {prefix} cannot be read: {first_line}") from None


def _is_slot(name: str) -> bool:
    return name.endswith(("/adam_m", "/adam_v"))


def write_safetensors(path: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes a file that transformers reads, whole or not at all."""
    import safetensors.numpy

    arrays = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    with files.atomic_write(path) as file:
        file.write(safetensors.numpy.save(arrays, metadata={"format": "pt"}))


def read_settings(path: str) -> dict[str, Any]:
    """Returns a JSON file of settings.

    Raises:
      UserError: it is not a JSON object.
    """
    saved = files.read_json(path)
    if not isinstance(saved, dict):
        raise UserError(f"{path} is not a JSON object: {json.dumps(saved)[:40]}")
    return saved
