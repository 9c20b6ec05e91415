"""Files of torch as people save them; code in them is never run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from electra_zh.convert import tensor_files
from electra_zh.convert.forms import huggingface
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from support.converting import make_run

pytestmark = pytest.mark.interop


@pytest.fixture
def saved(tmp_path: Path) -> dict[str, Any]:
    """The tensors of a discriminator, whose folder keeps only settings and vocabulary."""
    import torch

    run, _ = make_run(tmp_path / "run")
    huggingface.write(open_source(run.folder), str(tmp_path / "hf"))
    shutil.move(tmp_path / "hf" / "discriminator", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    found = tensor_files.read_safetensors(str(path))
    path.unlink()
    return {name: torch.tensor(value) for name, value in found.items()}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "epoch2.pt", "last.ckpt"])
@pytest.mark.parametrize("form", ["plain", "module", "half", "lightning", "legacy"])
def test_weights_as_people_save_them(
    form: str, name: str, saved: dict[str, Any], tmp_path: Path
) -> None:
    import torch

    forms: dict[str, Any] = {
        "module": {f"module.{key}": value for key, value in saved.items()},
        "half": {key: value.half() for key, value in saved.items()},
        "lightning": {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in saved.items()}},
    }
    path = tmp_path / "model" / name
    zipped = form != "legacy"
    torch.save(forms.get(form, saved), path, _use_new_zipfile_serialization=zipped)
    expected = saved["electra.embeddings.LayerNorm.weight"].numpy()
    for given in (path, path.parent):
        found = open_source(str(given)).tensors["encoder/embeddings/layer_norm/gamma"]
        np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_code_in_a_file_is_not_run(saved: dict[str, Any], tmp_path: Path) -> None:
    import torch

    class Code:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "run-by-the-file"),)

    torch.save({**saved, "more": Code()}, tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds more than tensors, which would run code"):
        open_source(str(tmp_path / "model"))
    assert not (tmp_path / "run-by-the-file").exists()
