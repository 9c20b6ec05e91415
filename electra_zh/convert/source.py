"""A model of any kind, told by its files."""

from __future__ import annotations

from electra_zh import files
from electra_zh.convert import google, huggingface, native, tensor_files
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError

_ALLOWED = (
    "a run or fine-tuned model of this tool, a folder of Hugging Face (config.json with "
    "model.safetensors or pytorch_model.bin), or a TF1 checkpoint (its folder or prefix)"
)


def open_source(path: str, *, step: int | None = None) -> Weights:
    """Reads a model.

    Args:
      path: the folder of a run, of a fine-tuned model or of a model of Hugging Face (or of
        `discriminator/` and `generator/`), or the folder or prefix of a TF1 checkpoint.
      step: of a kept checkpoint of a run; the newest unless given.

    Raises:
      UserError: none of these is there, or its files are damaged.
    """
    path = path.rstrip("/") or path
    settings_path = files.join(path, "config.json")
    if files.is_dir(path) and files.exists(settings_path):
        settings = tensor_files.read_settings(settings_path)
        if native.is_own(settings):
            return native.read(path, settings, step=step)
        if "model_type" in settings or tensor_files.has_tensors(path):
            _no_step(path, step)
            return huggingface.read(path, settings)
    _no_step(path, step)
    parts = (huggingface.DISCRIMINATOR, huggingface.GENERATOR)
    inside = [name for name in parts if files.exists(files.join(path, name, "config.json"))]
    if len(inside) == len(parts):
        return huggingface.read_pair(path)
    if inside:
        return open_source(files.join(path, inside[0]))
    prefix = google.find(path)
    if prefix is not None:
        return google.read(prefix)
    if not files.exists(path):
        raise UserError(f"{path} does not exist; needed is {_ALLOWED}")
    raise UserError(f"{path} holds no model; needed is {_ALLOWED}")


def is_own_folder(path: str) -> bool:
    """Returns whether a folder is a run or a fine-tuned model of this tool, by its config.json."""
    settings_path = files.join(path, "config.json")
    return files.exists(settings_path) and native.is_own(files.read_json(settings_path))


def _no_step(path: str, step: int | None) -> None:
    if step is not None:
        raise UserError(f"--checkpoint {step} is for runs of this tool; {path} is none")
