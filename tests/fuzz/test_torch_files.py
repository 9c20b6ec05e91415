"""Files of torch with any bytes: tensors, or one line; code in them is never run."""

from __future__ import annotations

import functools
import importlib.util
import io
import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.convert import tensor_files
from support.mutations import fuzz, inputs
from support.refusing import folder_of, refusing

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs torch"),
]


@functools.cache
def saved() -> tuple[bytes, bytes]:
    """A file of weights in torch's present form, a ZIP of a pickle and data, and in its old one."""
    import torch

    found = []
    for zipped in (True, False):
        file = io.BytesIO()
        weights = {"a": torch.arange(6.0).reshape(2, 3), "state": {"b": torch.ones(2)}}
        torch.save(weights, file, _use_new_zipfile_serialization=zipped)
        found.append(file.getvalue())
    return found[0], found[1]


@pytest.mark.parametrize("form", [0, 1])
@given(choice=st.data())
@fuzz
def test_torch_files(choice: st.DataObject, form: int) -> None:
    data = choice.draw(inputs(saved()[form]))
    with folder_of(model_bin=data) as folder, refusing():
        tensors = tensor_files.read_tensors(str(folder / "model.bin"))
        assert all(value.dtype == "float32" for value in tensors.values())


class _Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@given(choice=st.data())
@fuzz
def test_changed_pickles_run_nothing(choice: st.DataObject) -> None:
    import torch

    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/was-run"
        file = io.BytesIO()
        torch.save({"a": _Runs(target)}, file, _use_new_zipfile_serialization=False)
        # Of two lengths, so that the pickle alone is met, too.
        data = choice.draw(inputs(file.getvalue(), pickle.dumps({"a": _Runs(target)})))
        Path(folder, "model.bin").write_bytes(data)
        with refusing():
            tensor_files.read_tensors(f"{folder}/model.bin")
        assert not Path(target).exists()
