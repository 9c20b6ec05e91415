"""ONNX files to serve, exported by torch from the model as transformers has it.

No exporter from TensorFlow is maintained (tf2onnx is looking for a maintainer and is tested up to
TensorFlow 2.15). torch's is, and tests show that transformers computes the same as this tool.
"""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

from electra_zh import files
from electra_zh.convert import tensor_files
from electra_zh.convert.forms import huggingface
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError, install_line

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def write(weights: Weights, output: str) -> list[str]:
    """Writes the folders of `huggingface.write` with `model.onnx` in place of the weights.

    Inputs are int64 [batch, length], of multiple choice [batch, choices, length], all free.

    Raises:
      UserError: as `huggingface.write`; or torch, transformers, onnx or onnxscript is missing.
    """
    try:
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(f"--to onnx needs {error.name}: {install_line('onnx')}") from None
    with files.new_folder(output) as folder, tempfile.TemporaryDirectory() as scratch:
        made = files.join(scratch, "models")
        lines = huggingface.write(weights, made, onnx=True)
        for path in files.walk(made):
            source = path.rpartition("/")[0]
            target = folder + source[len(made) :]
            files.make_dirs(target)
            if path.endswith(tensor_files.SAFETENSORS):
                _export(source, files.join(target, "model.onnx"))
            else:
                with files.atomic_write(target + path[len(source) :]) as file:
                    file.write(files.read_bytes(path))
    return [line.replace(made, output) for line in lines]


def _export(source: str, target: str) -> None:
    import torch
    import transformers

    settings = files.read_json_object(files.join(source, "config.json"))
    (name,) = settings["architectures"]
    model: Any = getattr(transformers, name).from_pretrained(source).eval()
    # The exporter would treat a size of 1 as fixed.
    sizes = (2, 3, 16) if name.endswith("MultipleChoice") else (2, 16)
    labels = ("batch", "choices")[: len(sizes) - 1]
    dims = [torch.export.Dim(label) for label in labels]
    dims.append(torch.export.Dim("length", max=settings["max_position_embeddings"]))
    kwargs = {each: torch.ones(sizes, dtype=torch.int64) for each in _INPUTS}
    with torch.no_grad():
        outputs = list(model(**kwargs).keys())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (),
            target,
            kwargs=kwargs,
            input_names=list(_INPUTS),
            output_names=outputs,
            dynamo=True,
            dynamic_shapes={each: dict(enumerate(dims)) for each in _INPUTS},
            verbose=False,
        )
