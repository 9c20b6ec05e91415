"""TF1 checkpoints with the names of google-research/electra and google-research/bert."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from electra_zh import files
from electra_zh.convert import tensor_files
from electra_zh.convert.forms import FormReader
from electra_zh.convert.tokenizer_files import read_vocabulary
from electra_zh.convert.weights import Weights, check, infer_sizes, model_config
from electra_zh.errors import UserError
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.text.settings import TokenizerSettings

_INDEX = ".index"
_BERT_SETTINGS = "bert_config.json"
# Part -> optional files of settings next to a checkpoint. The first that exists is read; the first
# of all is written.
_SETTINGS = {
    "encoder": ("discriminator.json", "electra_config.json", _BERT_SETTINGS),
    "generator": ("generator.json",),
}


def _checkpoints(path: str) -> list[str]:
    """Returns the prefixes of the TF1 checkpoints at `path`, a prefix or a folder."""
    if files.is_dir(path):
        names = [name for name in files.list_dir(path) if name.endswith(_INDEX)]
        return [files.join(path, name.removesuffix(_INDEX)) for name in names]
    return [path] if files.exists(path + _INDEX) else []


def _latest(path: str) -> str:
    """Returns the only checkpoint at `path`, or the one that its `checkpoint` file names."""
    found = _checkpoints(path)
    if len(found) == 1:
        return found[0]
    import tensorflow as tf

    latest = tf.train.latest_checkpoint(path)
    if latest is None:
        shown = ", ".join(found[:4])
        raise UserError(f"{path} holds several checkpoints; give one of: {shown}")
    return str(latest)


def read(path: str) -> Weights:
    """Reads a TF1 checkpoint, with vocabulary and settings from the files next to it."""
    prefix = _latest(path)
    found = tensor_files.read_tf1(prefix)
    global_step = found.pop("global_step", None)
    is_electra = any(name.startswith("electra/") for name in found)
    if not is_electra and not any(name.startswith("bert/") for name in found):
        shown = ", ".join(sorted(found)[:3])
        raise UserError(f"{prefix} is not a checkpoint of ELECTRA or BERT. It holds {shown}")
    naming = weight_names.GOOGLE_ELECTRA if is_electra else weight_names.GOOGLE_BERT
    tensors, unused = naming.from_file(dict(sorted(found.items())))
    notes: list[str] = []
    has_generator = any(name.startswith("generator/layers/") for name in tensors)
    vocabulary = read_vocabulary(prefix.rpartition("/")[0] or ".")
    own = None if vocabulary is None else vocabulary.settings
    return check(
        Weights(
            path=prefix,
            kind=f"{'ELECTRA' if is_electra else 'BERT'} of Google's code (TF1)",
            model=_size(prefix, "encoder", tensors, notes),
            tensors=tensors,
            generator=_size(prefix, "generator", tensors, notes) if has_generator else None,
            vocabulary=vocabulary,
            tokenizer=own or TokenizerSettings(),
            checkpoint=prefix,
            step=None if global_step is None else int(global_step),
            unused=tuple(unused),
            notes=tuple(notes),
        )
    )


def _size(
    prefix: str, part: str, tensors: Mapping[str, np.ndarray], notes: list[str]
) -> ModelConfig:
    """Returns a network's size: from the settings next to the checkpoint, then from the shapes."""
    values: dict[str, Any] = infer_sizes(tensors, part, where=prefix)
    paths = [files.join(prefix.rpartition("/")[0] or ".", name) for name in _SETTINGS[part]]
    path = next(filter(files.exists, paths), None)
    values |= tensor_files.read_settings(path) if path else {}
    if "num_attention_heads" not in values:
        # The default of both codes is a width of 64 per head; shapes do not show it.
        values["num_attention_heads"] = max(1, values["hidden_size"] // 64)
        notes.append(
            f"assumed {values['num_attention_heads']} attention heads of the {part} (width / 64). "
            f"To set another number, put {' or '.join(_SETTINGS[part])} next to the checkpoint"
        )
    return model_config(values, where=path or prefix)


def write(weights: Weights, output: str) -> list[str]:
    """Writes `model.ckpt-STEP`, vocabulary and sizes of a pretrained model; all or nothing.

    Raises:
      UserError: the folder exists, or the model is fine-tuned.
    """
    if weights.tasks:
        raise UserError(
            f"{weights.path} is a fine-tuned model: Google's form is for pretrained ones; "
            "use --to huggingface"
        )
    step = weights.step or 0
    naming = weight_names.GOOGLE_BERT if weights.is_bert else weight_names.GOOGLE_ELECTRA
    variables = naming.to_file(weights.tensors) | {"global_step": np.array(step, np.int64)}
    name = f"model.ckpt-{step}"
    with files.new_folder(output) as folder:
        tensor_files.write_tf1(files.join(folder, name), variables)
        files.write_text(
            files.join(folder, "checkpoint"),
            f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n',
        )
        if weights.vocabulary is not None:
            weights.vocabulary.save(files.join(folder, weights.vocabulary.file_name))
        for file, values in _written_settings(weights).items():
            files.write_json(files.join(folder, file), values)
    owner = "BERT" if weights.is_bert else "the reference"
    return [f"{files.join(output, name)}: {len(variables)} variables under {owner}'s names"]


def _written_settings(weights: Weights) -> dict[str, dict[str, Any]]:
    """Returns the files of settings by name."""
    values = dataclasses.asdict(weights.model)
    if weights.is_bert:
        del values["embedding_size"]
        return {_BERT_SETTINGS: {**values, "hidden_act": "gelu"}}
    written = {_SETTINGS["encoder"][0]: values}
    if weights.generator is not None:
        written[_SETTINGS["generator"][0]] = dataclasses.asdict(weights.generator)
    return written


READER = FormReader(
    expected="a TF1 checkpoint of Google's code (its folder or prefix)",
    order=2,
    matches=lambda path: bool(_checkpoints(path)),
    read=read,
)
