"""One safetensors file: written as a stream of tensors with its SHA-256, read without copies.

The safetensors library needs every tensor in memory, next to the file's bytes, before it writes.
A checkpoint is as large as the memory of a run, so it is written tensor by tensor, from the arrays
or variables that hold it. This module does not import TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from concurrent import futures
from typing import Any

import numpy as np

from electra_zh import files

_TYPES = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "bool": "BOOL"}
_NAMES = {short: name for name, short in _TYPES.items()}


def write(path: str, tensors: Mapping[str, Any]) -> str:
    """Writes arrays or variables of TensorFlow and returns the SHA-256 of the file.

    The file appears under its name only when it is complete and on the disk.
    """
    # The widest types first, as in files of the library: every tensor is aligned.
    names = sorted(tensors, key=lambda name: (-_dtype(tensors[name]).itemsize, name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        shape, dtype = [int(size) for size in tensors[name].shape], _dtype(tensors[name])
        start, end = end, end + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {"dtype": _TYPES[dtype.name], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    # A second thread hashes a tensor while it is written.
    with files.atomic_write(path) as file, futures.ThreadPoolExecutor(1) as pool:
        for block in (len(text).to_bytes(8, "little"), text):
            file.write(block)
            digest.update(block)
        for name in names:
            values = np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data
            hashed = pool.submit(digest.update, values)
            file.write(values)
            hashed.result()
    return digest.hexdigest()


def _dtype(value: Any) -> np.dtype[Any]:
    name: str = value.dtype.name
    return np.dtype(name)


def read(path: str, *, sha256: str) -> dict[str, np.ndarray]:
    """Returns the tensors of a file, as read-only views of its bytes; checks its checksum."""
    data = files.read_bytes(path)
    if files.sha256(data) != sha256:
        raise ValueError(f"{path} does not match its checksum")
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        dtype, shape = np.dtype(_NAMES[entry["dtype"]]), entry["shape"]
        count = int(np.prod(shape, dtype=np.int64))
        offset = start + entry["data_offsets"][0]
        tensors[name] = np.frombuffer(data, dtype, count, offset).reshape(shape)
    return tensors
