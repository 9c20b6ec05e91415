"""TF1 checkpoints under the names of google-research/electra and google-research/bert."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh import files
from electra_zh.convert import tensor_files
from electra_zh.convert.tokenizer_files import read_vocabulary
from electra_zh.convert.weights import Weights, check, sizes_of
from electra_zh.errors import UserError
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.settings import build_settings
from electra_zh.text.tokenizer import settings_of
from electra_zh.text.wordpiece.characters import TokenizerSettings

_INDEX = ".index"
# Files of settings that may lie beside a checkpoint, most wanted first; the first are ours.
_BERT_SETTINGS = "bert_config.json"
_SETTINGS = ("discriminator.json", "electra_config.json", _BERT_SETTINGS)
_GENERATOR_SETTINGS = ("generator.json",)


def find(path: str) -> str | None:
    """Returns the prefix of the TF1 checkpoint that `path` means: a prefix, or a folder of one.

    Raises:
      UserError: a folder with several, none of which its `checkpoint` file names.
    """
    if not files.is_dir(path):
        prefix = path.removesuffix(_INDEX)
        return prefix if files.exists(prefix + _INDEX) else None
    found = [
        files.join(path, name.removesuffix(_INDEX))
        for name in files.list_dir(path)
        if name.endswith(_INDEX)
    ]
    if len(found) < 2:
        return found[0] if found else None
    latest = tf.train.latest_checkpoint(path)
    if latest is None:
        shown = ", ".join(found[:4])
        raise UserError(f"{path} holds several checkpoints; give one of: {shown}")
    return str(latest)


def read(prefix: str) -> Weights:
    """Reads a TF1 checkpoint; vocabulary and settings are looked for beside it.

    Raises:
      UserError: it is damaged, or the model is neither ELECTRA nor BERT.
    """
    found = tensor_files.read_tf1(prefix)
    step = found.pop("global_step", None)
    is_electra = any(name.startswith("electra/") for name in found)
    if not is_electra and not any(name.startswith("bert/") for name in found):
        shown = ", ".join(sorted(found)[:3])
        raise UserError(f"{prefix} is no checkpoint of ELECTRA or BERT; it has {shown}")
    naming = weight_names.GOOGLE_ELECTRA if is_electra else weight_names.GOOGLE_BERT
    tensors, unused = {}, []
    for name, value in sorted(found.items()):
        try:
            tensors[naming.ours(name)] = value
        except KeyError:
            unused.append(name)
    folder = prefix.rpartition("/")[0] or "."
    notes: list[str] = []
    generator = None
    if any(name.startswith("generator/layers/") for name in tensors):
        generator = _size(folder, _GENERATOR_SETTINGS, tensors, "generator", prefix, notes)
    vocabulary = read_vocabulary(folder)
    settings = TokenizerSettings()
    if vocabulary is not None:
        settings = settings_of(vocabulary, settings)
    return check(
        Weights(
            path=prefix,
            kind=f"{'ELECTRA' if is_electra else 'BERT'} of Google's code (TF1)",
            model=_size(folder, _SETTINGS, tensors, "encoder", prefix, notes),
            tensors=tensors,
            generator=generator,
            vocabulary=vocabulary,
            tokenizer=settings,
            step=None if step is None else int(step),
            unused=tuple(unused),
            notes=tuple(notes),
        )
    )


def _size(
    folder: str,
    settings_names: tuple[str, ...],
    tensors: Mapping[str, np.ndarray],
    part: str,
    prefix: str,
    notes: list[str],
) -> ModelConfig:
    """Returns the size by the settings beside the checkpoint, and else by the shapes."""
    own = f"{part}/embeddings/word_embeddings" in tensors
    embeddings = part if own else "encoder"
    inferred: dict[str, Any] = sizes_of(tensors, part, embeddings=embeddings, where=prefix)
    path, saved = _settings(folder, settings_names)
    if saved.get("hidden_act", "gelu") != "gelu":
        raise UserError(f'{path}: hidden_act is "{saved["hidden_act"]}"; allowed: gelu')
    fields = [field.name for field in dataclasses.fields(ModelConfig)]
    values = {**inferred, **{name: saved[name] for name in fields if name in saved}}
    if "num_attention_heads" not in values:
        # Both codes make heads of 64 unless told otherwise; shapes do not show it.
        values["num_attention_heads"] = max(1, values["hidden_size"] // 64)
        network = "generator" if part == "generator" else "model"
        notes.append(
            f"the {network} is taken to have {values['num_attention_heads']} attention heads "
            f"(width / 64): {' or '.join(settings_names)} beside the checkpoint would say otherwise"
        )
    return build_settings(ModelConfig, values, where=path or prefix)


def _settings(folder: str, wanted: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    for name in wanted:
        path = files.join(folder, name)
        if files.exists(path):
            return path, tensor_files.read_settings(path)
    return "", {}


def write(weights: Weights, output: str) -> list[str]:
    """Writes `model.ckpt-STEP`, vocabulary and sizes; nothing is left where that fails.

    Args:
      weights: a pretrained model.
      output: a folder that does not exist.

    Returns:
      What was written, for people.

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
    variables: dict[str, Any] = {
        naming.theirs(name): value for name, value in weights.tensors.items()
    }
    variables["global_step"] = np.int64(step)
    name = f"model.ckpt-{step}"
    with files.new_folder(output) as folder:
        order = sorted(variables)
        tf.raw_ops.SaveV2(
            prefix=files.join(folder, name),
            tensor_names=order,
            shape_and_slices=[""] * len(order),
            tensors=[tf.constant(variables[key]) for key in order],
        )
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
    """Returns what is written of the sizes, by the names of files."""
    values = dataclasses.asdict(weights.model)
    if weights.is_bert:
        del values["embedding_size"]
        return {_BERT_SETTINGS: {**values, "hidden_act": "gelu"}}
    if weights.generator is None:
        return {_SETTINGS[0]: values}
    return {_SETTINGS[0]: values, _GENERATOR_SETTINGS[0]: dataclasses.asdict(weights.generator)}
