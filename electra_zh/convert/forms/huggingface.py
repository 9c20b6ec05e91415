"""Hugging Face's folders for transformers, ELECTRA and BERT.

A run becomes two folders, `discriminator/` (ElectraForPreTraining) and `generator/`
(ElectraForMaskedLM). Each task of a fine-tuned model becomes a folder of the class of its head.
BERT is the same encoder with embeddings as wide as its layers: a masked LM of that form is written
as BertForMaskedLM.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.convert import tensor_files, tokenizer_files
from electra_zh.convert.forms import FormReader
from electra_zh.convert.task_heads import TaskHead
from electra_zh.convert.weights import Weights, check, model_config
from electra_zh.errors import UserError
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import Naming
from electra_zh.training import tensor_file

_DISCRIMINATOR, _GENERATOR = _FOLDERS = ("discriminator", "generator")
_TYPES = ("electra", "bert")
# Tensors that are another one under a second name.
_TIED = {
    "generator_lm_head.weight": "electra.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def _config(folder: str) -> str:
    return files.join(folder, "config.json")


def _is_model(folder: str) -> bool:
    if not files.is_dir(folder) or not files.exists(_config(folder)):
        return False
    settings = tensor_files.read_settings(_config(folder))
    return "model_type" in settings or tensor_files.has_tensors(folder)


def _networks(path: str) -> list[str]:
    """Returns the folders of the discriminator and generator in a folder."""
    folders = (files.join(path, name) for name in _FOLDERS)
    return [folder for folder in folders if files.exists(_config(folder))]


def read(path: str) -> Weights:
    """Reads a model, or `discriminator/` and `generator/` of a folder as one model."""
    if _is_model(path):
        return _read_model(path)
    first, *others = map(_read_model, _networks(path))
    return _pair(path, first, others[0]) if others else first


def _read_model(folder: str) -> Weights:
    where = _config(folder)
    settings = tensor_files.read_settings(where)
    base = str(settings.get("model_type"))
    if base not in _TYPES:
        raise UserError(f'{where}: model_type is "{base}"; allowed: {", ".join(_TYPES)}')
    positions = settings.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise UserError(f'{where}: position_embedding_type is "{positions}"; allowed: absolute')
    if base == "bert":
        settings["embedding_size"] = settings.get("hidden_size")
    size = model_config(settings, where=where)
    path, found = tensor_files.read_folder(folder)
    tensors, unused = _with_our_names(_with_current_names(found, base), base)
    vocabulary = tokenizer_files.read_vocabulary(folder)
    return check(
        Weights(
            path=path,
            kind=f"{'ELECTRA' if base == 'electra' else 'BERT'} of Hugging Face",
            model=size,
            tensors=tensors,
            vocabulary=vocabulary,
            tokenizer=tokenizer_files.read_settings(folder, vocabulary),
            checkpoint=path,
            unused=tuple(unused),
        )
    )


def _pair(folder: str, discriminator: Weights, generator: Weights) -> Weights:
    sizes = discriminator.model.vocab_size, generator.model.vocab_size
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{folder}: the discriminator has {sizes[0]:,} tokens and the generator {sizes[1]:,}"
        )
    tensors, own = discriminator.tensors, generator.tensors
    tables = generator.part("encoder/embeddings")
    if all(np.array_equal(tensors[name], value) for name, value in tables.items()):
        own = {name: value for name, value in own.items() if name not in tables}
    tensors = {**tensors, **{n.replace("encoder/", "generator/", 1): v for n, v in own.items()}}
    return check(
        dataclasses.replace(
            discriminator,
            path=folder,
            kind="ELECTRA of Hugging Face, both networks",
            tensors=tensors,
            generator=generator.model,
            checkpoint=folder,
            unused=(*discriminator.unused, *generator.unused),
        )
    )


def _with_current_names(found: Mapping[str, np.ndarray], base: str) -> dict[str, np.ndarray]:
    """Returns the tensors under the names of today's transformers.

    Old files name the layer norms' weights gamma and beta; files of an encoder alone omit the
    prefix.
    """
    bare = not any(name.startswith(f"{base}.") for name in found)
    renamed = {}
    for name, value in found.items():
        if name.endswith("position_ids"):
            continue
        if bare and name.startswith(("embeddings.", "embeddings_project.", "encoder.", "pooler.")):
            name = f"{base}.{name}"
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[name.replace("LayerNorm.beta", "LayerNorm.bias")] = value
    return renamed


def _with_our_names(
    found: dict[str, np.ndarray], base: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the tensors under our names, and the names of the others."""
    naming = weight_names.BERT
    if base == "electra":
        is_generator = any(name.startswith("generator_predictions.") for name in found)
        naming = weight_names.MASKED_LM_ELECTRA if is_generator else weight_names.DISCRIMINATOR
    untied = _remove_tied(found)
    tensors, unused = naming.from_file(found)
    if untied:
        # The output layer is not the word embeddings, and ours can be nothing else.
        for name in [name for name in tensors if name.startswith("masked_lm_head/")]:
            untied.append(naming.theirs(name))
            del tensors[name]
    return tensors, untied + unused


def _remove_tied(found: dict[str, np.ndarray]) -> list[str]:
    """Removes the duplicates of tied tensors; returns the names of those that differ."""
    different = []
    for name in [name for name in _TIED if name in found]:
        value = found.pop(name)
        if not np.array_equal(value, found.setdefault(_TIED[name], value)):
            different.append(name)
    return different


class _Model(NamedTuple):
    """One folder to write, below the output; "" is the output itself."""

    folder: str
    class_name: str
    size: ModelConfig
    tensors: Mapping[str, np.ndarray]  # under our names
    naming: Naming
    labels: Mapping[str, Any] = {}


def write(weights: Weights, output: str) -> list[str]:
    """Writes the folders of a model; all or nothing.

    Raises:
      UserError: the folder exists, the model has no vocabulary, or a head has no counterpart.
    """
    if weights.vocabulary is None:
        raise UserError(f"{weights.path} has no vocabulary. Put its vocab.txt or spm.model there")
    for task in weights.tasks:
        found = [*(["the official one-layer head"] if task.reference else []), *task.variants]
        if found:
            raise UserError(
                f"{weights.path}: task {task.name} has {', '.join(found)}, which no class of "
                "transformers has. To export, fine-tune without it"
            )
    lines = []
    with files.new_folder(output) as folder:
        for model in _models(weights):
            target = files.join(folder, model.folder) if model.folder else folder
            files.make_dirs(target)
            tensors = model.naming.to_file(model.tensors)
            tensor_file.write(files.join(target, tensor_files.SAFETENSORS), tensors)
            files.write_json(_config(target), _settings(model))
            length = model.size.max_position_embeddings
            tokenizer_files.write(target, weights.vocabulary, weights.tokenizer, max_length=length)
            shown = files.join(output, model.folder) if model.folder else output
            lines.append(f"{shown}: {model.class_name}")
    for task in weights.tasks:
        if task.form.is_number:
            low, high = task.outputs
            lines.append(f"note: 0 to 1 of the output of {task.name} stand for {low} to {high}")
    if weights.tokenizer.map_punctuation:
        lines.append(
            "note: tokenizers of transformers do not map punctuation that is missing from the "
            "vocabulary, as this model's data does; such characters are [UNK] there"
        )
    return lines


def _models(weights: Weights) -> list[_Model]:
    size, encoder = weights.model, weights.part("encoder")
    if weights.is_bert:
        return [_Model("", "BertForMaskedLM", size, weights.tensors, weight_names.BERT)]
    found: list[_Model] = []
    for task in weights.tasks:
        folder = task.name if len(weights.tasks) > 1 else ""
        tensors = encoder | weights.part(f"heads/{task.name}")
        name = task.form.class_name
        found.append(_Model(folder, name, size, tensors, task.naming(), _labels(task)))
    if weights.has("rtd_head") or not (weights.tasks or weights.has("masked_lm_head")):
        name = "ElectraForPreTraining" if weights.has("rtd_head") else "ElectraModel"
        tensors = encoder | weights.part("rtd_head")
        found.append(_Model(_DISCRIMINATOR, name, size, tensors, weight_names.DISCRIMINATOR))
    if weights.has("masked_lm_head"):
        naming = weight_names.MASKED_LM_ELECTRA
        if weights.generator:
            size, encoder = weights.generator, weights.generator_tensors()
            naming = weight_names.GENERATOR
        tensors = encoder | weights.part("masked_lm_head")
        found.append(_Model(_GENERATOR, "ElectraForMaskedLM", size, tensors, naming))
    return found


def _labels(task: TaskHead) -> dict[str, Any]:
    names = (task.name,) if task.form.is_number else task.outputs
    if not names:
        return {}
    return {
        **({"problem_type": "regression"} if task.form.is_number else {}),
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }


def _settings(model: _Model) -> dict[str, Any]:
    values: dict[str, Any] = dataclasses.asdict(model.size)
    is_bert = model.class_name.startswith("Bert")
    if is_bert:
        del values["embedding_size"]
    else:
        values |= {
            "summary_type": "first",
            "summary_use_proj": True,
            "summary_activation": "gelu",
            "summary_last_dropout": model.size.hidden_dropout_prob,
        }
    return {
        "model_type": "bert" if is_bert else "electra",
        "architectures": [model.class_name],
        **values,
        "hidden_act": "gelu",
        "classifier_dropout": None,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
        "dtype": "float32",
        **model.labels,
    }


READER = FormReader(
    expected="a folder of Hugging Face (config.json with model.safetensors or pytorch_model.bin, "
    "or the folders discriminator and generator)",
    order=1,
    matches=lambda path: _is_model(path) or bool(_networks(path)),
    read=read,
)
