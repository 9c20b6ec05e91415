"""Folders of Hugging Face's transformers, ELECTRA and BERT, read and written.

A run becomes two folders, `discriminator/` (ElectraForPreTraining) and `generator/`
(ElectraForMaskedLM); a fine-tuned model one folder of the class of its head. BERT is the same
encoder with embeddings as wide as its layers: a masked LM of that form is written as one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.convert import tensor_files, tokenizer_files
from electra_zh.convert.weights import TaskHead, Weights, check
from electra_zh.errors import UserError
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import Naming
from electra_zh.settings import build_settings

DISCRIMINATOR, GENERATOR = "discriminator", "generator"
_TYPES = ("electra", "bert")
_CLASSES = {
    "classification": "ElectraForSequenceClassification",
    "regression": "ElectraForSequenceClassification",
    "tagging": "ElectraForTokenClassification",
    "span": "ElectraForQuestionAnswering",
    "choice": "ElectraForMultipleChoice",
    "cloze": "ElectraForMultipleChoice",
}
# Tensors that are another one under a second name.
_TIED = {
    "generator_lm_head.weight": "electra.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


class _Model(NamedTuple):
    """One folder to write.

    Attributes:
      folder: its name below the output; "" for the output itself.
      class_name: the class of transformers.
      size: of the network.
      tensors: under the names of transformers.
      settings: of config.json, beyond those of the size.
    """

    folder: str
    class_name: str
    size: ModelConfig
    tensors: dict[str, np.ndarray]
    settings: Mapping[str, Any] = {}


def read(folder: str, settings: Mapping[str, Any]) -> Weights:
    """Reads one model; `settings` is its config.json.

    Raises:
      UserError: another kind of model, or files that are damaged or do not go together.
    """
    where = files.join(folder, "config.json")
    base = str(settings.get("model_type"))
    if base not in _TYPES:
        raise UserError(f'{where}: model_type is "{base}"; allowed: {", ".join(_TYPES)}')
    size = _model_config(settings, base, where)
    path, found = tensor_files.read_folder(folder)
    found = _with_current_names(found, base)
    naming = _naming(base, found)
    untied = _take_tied(found)
    tensors, unused = {}, [*untied]
    for name, value in found.items():
        try:
            ours = naming.ours(name)
        except KeyError:
            unused.append(name)
            continue
        tensors[ours] = value.T if naming.is_transposed(ours) else value
    if untied:
        # Its output layer is not the word embeddings; ours can be nothing else.
        for name in [name for name in tensors if name.startswith("masked_lm_head/")]:
            unused.append(naming.theirs(name))
            del tensors[name]
    vocabulary = tokenizer_files.read_vocabulary(folder)
    return check(
        Weights(
            path=path,
            kind=f"{'ELECTRA' if base == 'electra' else 'BERT'} of Hugging Face",
            model=size,
            tensors=tensors,
            vocabulary=vocabulary,
            tokenizer=tokenizer_files.read_settings(folder, vocabulary),
            unused=tuple(unused),
        )
    )


def read_pair(folder: str) -> Weights:
    """Reads `discriminator/` and `generator/` of a folder as one model.

    Raises:
      UserError: as `read`; or the two do not go together.
    """
    paths = [files.join(folder, name) for name in (DISCRIMINATOR, GENERATOR)]
    both = [
        read(path, tensor_files.read_settings(files.join(path, "config.json"))) for path in paths
    ]
    first, second = both
    if first.model.vocab_size != second.model.vocab_size:
        raise UserError(
            f"{folder}: the discriminator has {first.model.vocab_size:,} tokens and the "
            f"generator {second.model.vocab_size:,}"
        )
    tensors = dict(first.tensors)
    for name, value in second.tensors.items():
        tensors[name.replace("encoder/", "generator/", 1)] = value
    table = [name for name in tensors if name.startswith("generator/embeddings/")]
    if all(
        np.array_equal(tensors[name], tensors[name.replace("generator/", "encoder/", 1)])
        for name in table
    ):
        for name in table:
            del tensors[name]
    return check(
        dataclasses.replace(
            first,
            path=folder,
            kind="ELECTRA of Hugging Face, both networks",
            tensors=tensors,
            generator=second.model,
            unused=(*first.unused, *second.unused),
        )
    )


def _model_config(settings: Mapping[str, Any], base: str, where: str) -> ModelConfig:
    act = settings.get("hidden_act", "gelu")
    if act != "gelu":
        raise UserError(f'{where}: hidden_act is "{act}"; only "gelu" can be computed here')
    positions = settings.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise UserError(f'{where}: position_embedding_type is "{positions}"; allowed: absolute')
    fields = [field.name for field in dataclasses.fields(ModelConfig)]
    values = {name: settings[name] for name in fields if name in settings}
    if base == "bert":
        values["embedding_size"] = settings.get("hidden_size")
    return build_settings(ModelConfig, values, where=where)


def _with_current_names(found: Mapping[str, np.ndarray], base: str) -> dict[str, np.ndarray]:
    """Returns the tensors under today's names.

    Old files have gamma and beta of the layer norms; files of a bare encoder lack the prefix.
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


def _naming(base: str, found: Mapping[str, np.ndarray]) -> Naming:
    if base == "bert":
        return weight_names.BERT
    is_generator = any(name.startswith("generator_predictions.") for name in found)
    return weight_names.MASKED_LM_ELECTRA if is_generator else weight_names.DISCRIMINATOR


def _take_tied(found: dict[str, np.ndarray]) -> list[str]:
    """Takes out what is there twice and returns the names of those that are not the same."""
    different = []
    for name, source in _TIED.items():
        value = found.pop(name, None)
        if value is None:
            continue
        if source not in found:
            found[source] = value
        elif not np.array_equal(value, found[source]):
            different.append(name)
    return different


def write(weights: Weights, output: str) -> list[str]:
    """Writes the folders of a model; nothing is left where that fails.

    Args:
      weights: the model.
      output: a folder that does not exist.

    Returns:
      What was written: lines of folder and class.

    Raises:
      UserError: the folder exists, the model has no vocabulary, or a head has no counterpart.
    """
    if weights.vocabulary is None:
        raise UserError(
            f"{weights.path} has no vocabulary (vocab.txt or spm.model): put its file there"
        )
    for task in weights.tasks:
        _check_head(task, weights.path)
    lines = []
    with files.new_folder(output) as folder:
        for model in _models(weights):
            target = files.join(folder, model.folder) if model.folder else folder
            files.make_dirs(target)
            path = files.join(target, tensor_files.SAFETENSORS)
            tensor_files.write_safetensors(path, model.tensors)
            settings = {**_settings(model.size, model.class_name), **model.settings}
            files.write_json(files.join(target, "config.json"), settings)
            length = model.size.max_position_embeddings
            tokenizer_files.write(target, weights.vocabulary, weights.tokenizer, max_length=length)
            shown = files.join(output, model.folder) if model.folder else output
            lines.append(f"{shown}: {model.class_name}")
    lines.extend(_scale(task) for task in weights.tasks if task.kind == "regression")
    if weights.tokenizer.map_punctuation:
        lines.append(
            "note: tokenizers of transformers do not map punctuation that the vocabulary lacks, as "
            "this model's data was made; such characters are [UNK] there"
        )
    return lines


def _models(weights: Weights) -> list[_Model]:
    if weights.tasks:
        return [_task_model(weights, task) for task in weights.tasks]
    if weights.is_bert:
        renamed = _renamed(weights.tensors, weight_names.BERT)
        return [_Model("", "BertForMaskedLM", weights.model, renamed)]
    found: list[_Model] = []
    if weights.has("rtd_head") or not weights.has("masked_lm_head"):
        class_name = "ElectraForPreTraining" if weights.has("rtd_head") else "ElectraModel"
        tensors = {**weights.part("encoder"), **weights.part("rtd_head")}
        renamed = _renamed(tensors, weight_names.DISCRIMINATOR)
        found.append(_Model(DISCRIMINATOR, class_name, weights.model, renamed))
    if weights.has("masked_lm_head"):
        naming = weight_names.GENERATOR if weights.generator else weight_names.MASKED_LM_ELECTRA
        network = weights.part("generator") if weights.generator else weights.part("encoder")
        if weights.generator and not weights.has_own_embeddings:
            for name, value in weights.part("encoder/embeddings").items():
                network[name.replace("encoder/", "generator/", 1)] = value
        renamed = _renamed({**network, **weights.part("masked_lm_head")}, naming)
        size = weights.generator or weights.model
        found.append(_Model(GENERATOR, "ElectraForMaskedLM", size, renamed))
    return found


def _task_model(weights: Weights, task: TaskHead) -> _Model:
    class_name = _CLASSES[task.kind]
    tensors = {**weights.part("encoder"), **weights.part(f"heads/{task.name}")}
    renamed = _renamed(tensors, weight_names.head_naming(task.name, class_name))
    folder = task.name if len(weights.tasks) > 1 else ""
    return _Model(folder, class_name, weights.model, renamed, _labels(task))


def _renamed(tensors: Mapping[str, np.ndarray], naming: Naming) -> dict[str, np.ndarray]:
    return {
        naming.theirs(name): value.T if naming.is_transposed(name) else value
        for name, value in tensors.items()
    }


def _check_head(task: TaskHead, path: str) -> None:
    missing = ", ".join([*(["the official one-layer head"] if task.reference else []), *task.more])
    if missing:
        raise UserError(
            f"{path}: task {task.name} has {missing}, which no class of transformers has: "
            "fine-tune without it to export"
        )


def _labels(task: TaskHead) -> dict[str, Any]:
    if task.kind == "regression":
        return {
            "problem_type": "regression",
            "id2label": {"0": task.name},
            "label2id": {task.name: 0},
        }
    if not task.outputs:
        return {}
    return {
        "id2label": {str(number): name for number, name in enumerate(task.outputs)},
        "label2id": {name: number for number, name in enumerate(task.outputs)},
    }


def _scale(task: TaskHead) -> str:
    low, high = task.outputs
    return f"note: 0 to 1 of the output of {task.name} stand for {low} to {high}"


def _settings(size: ModelConfig, class_name: str) -> dict[str, Any]:
    values = dataclasses.asdict(size)
    if class_name.startswith("Bert"):
        del values["embedding_size"]
        own = {}
    else:
        own = {
            "summary_type": "first",
            "summary_use_proj": True,
            "summary_activation": "gelu",
            "summary_last_dropout": size.hidden_dropout_prob,
        }
    return {
        "model_type": "bert" if class_name.startswith("Bert") else "electra",
        "architectures": [class_name],
        **values,
        "hidden_act": "gelu",
        **own,
        "classifier_dropout": None,
        "pad_token_id": 0,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
