"""Hugging Face's folders for transformers, ELECTRA and BERT.

A run becomes two folders, `discriminator/` (ElectraForPreTraining) and `generator/`
(ElectraForMaskedLM). Each task of a fine-tuned model becomes a folder of the class of its head.
BERT is the same encoder with embeddings as wide as its layers: a masked LM of that form is written
as BertForMaskedLM.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files
from electra_zh.convert import model_card, tensor_files, tokenizer_files
from electra_zh.convert.forms import FormReader
from electra_zh.convert.model_card import Card
from electra_zh.convert.model_folder import config_path
from electra_zh.convert.source_settings import (
    SourceSettings,
    encoder_size,
    infer_sizes,
    read_files,
    stated_size,
)
from electra_zh.convert.task_heads import TaskHead
from electra_zh.convert.tokenizer_files import read_tokenizer
from electra_zh.convert.weights import Weights, check
from electra_zh.errors import UserError, few
from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import Naming
from electra_zh.training import tensor_file

_DISCRIMINATOR, _GENERATOR = _FOLDERS = ("discriminator", "generator")
_TYPES = ("electra", "bert")
_SETTINGS = ("config.json", "bert_config.json", "electra_config.json", "discriminator.json")
_ANCHOR = "embeddings.word_embeddings.weight"
# Parts of names that wrappers of torch add: DataParallel, compile, FSDP, checkpointing.
_WRAPPERS = re.compile(
    r"(^|\.)(?:(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+"
)
_OF_ENCODER = ("embeddings.", "embeddings_project.", "encoder.", "pooler.")
# Networks with the same layers that compute something else.
_OTHER_NETWORKS = (
    *("roberta", "xlm_roberta", "camembert", "albert", "ernie", "nezha", "roformer", "deberta"),
    *("longformer", "rembert", "convbert", "mobilebert", "distilbert", "layoutlm"),
)
# Tensors that are another one under a second name.
_TIED = {
    "generator_lm_head.weight": "electra.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}


def _is_model(path: str) -> bool:
    if tensor_files.find_tensors(path):
        return True
    if not files.is_dir(path) or not files.exists(config_path(path)):
        return False
    # Settings without tensors: a folder of TF1, or one whose tensors are missing.
    is_tf1 = any(name.endswith(".index") for name in files.list_dir(path))
    return "model_type" in files.read_json_object(config_path(path)) and not is_tf1


def _networks(path: str) -> list[str]:
    """Returns the folders of the discriminator and generator in a folder."""
    return [folder for folder in (files.join(path, name) for name in _FOLDERS) if _is_model(folder)]


def read(path: str, hints: SourceSettings = SourceSettings()) -> Weights:
    """Reads a model, or `discriminator/` and `generator/` of a folder as one model."""
    if _is_model(path):
        return _read_model(path, hints)
    first, *others = _networks(path)
    discriminator = _read_model(first, hints)
    if not others:
        return discriminator
    case = SourceSettings(lower_case=hints.lower_case, vocab=hints.vocab)
    return _pair(path, discriminator, _read_model(others[0], case))


def _read_model(path: str, hints: SourceSettings) -> Weights:
    folder = path if files.is_dir(path) else path.rpartition("/")[0] or "."
    usual = (x for x in read_files(folder) if x.path.rpartition("/")[2] in _SETTINGS)
    stated = next(usual, None)
    settings = stated.values if stated else {}
    _check_network(settings, where=stated.path if stated else folder)
    path = tensor_files.find_tensors(path)
    if not path:
        shown = ", ".join(files.list_dir(folder)[:8])
        raise UserError(
            f"{folder} has neither {tensor_files.SAFETENSORS} nor pytorch_model.bin, but {shown}"
        )
    found = tensor_files.read_tensors(path)
    named, base, notes = _with_current_names(found, settings, where=path)
    tensors, unused = _with_our_names(named, base)
    shown_sizes = infer_sizes(tensors, "encoder", where=path)
    if stated:
        size = stated_size(stated, shown_sizes, hints, where=path)
    else:
        size = encoder_size(shown_sizes, [folder], hints, where=path)
    vocabulary, tokenizer, more = read_tokenizer([folder], hints, rows=size.model.vocab_size)
    return check(
        Weights(
            path=path,
            kind=f"{'ELECTRA' if base == 'electra' else 'BERT'} of Hugging Face",
            model=size.model,
            tensors=tensors,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            checkpoint=path,
            unused=tuple(unused),
            notes=(*notes, *size.notes, *more),
            heads_assumed=size.is_assumed,
        ),
        _naming(named, base),
        names=found,
    )


def _check_network(settings: Mapping[str, Any], *, where: str) -> None:
    """Refuses settings of other networks than ELECTRA and BERT."""
    base = settings.get("model_type", _TYPES[0])
    if base not in _TYPES:
        raise UserError(f'{where}: model_type is "{base}"; allowed: {", ".join(_TYPES)}')
    positions = settings.get("position_embedding_type") or "absolute"
    if positions != "absolute":
        raise UserError(f'{where}: position_embedding_type is "{positions}"; allowed: absolute')
    if settings.get("is_decoder"):
        raise UserError(f"{where}: is_decoder is true: its attention is from left to right only")


def _pair(folder: str, discriminator: Weights, generator: Weights) -> Weights:
    sizes = discriminator.model.vocab_size, generator.model.vocab_size
    if sizes[0] != sizes[1]:
        raise UserError(
            f"{folder}: the discriminator has {sizes[0]:,} tokens and the generator {sizes[1]:,}"
        )
    vocabularies = {discriminator.vocabulary, generator.vocabulary} - {None}
    if len(vocabularies) > 1:
        raise UserError(
            f"{folder}: the vocabularies of the discriminator and the generator differ. Put the "
            "right one into both folders"
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
            notes=(
                *discriminator.notes,
                *(f"generator: {n}" for n in generator.notes if n not in discriminator.notes),
            ),
        )
    )


def _with_current_names(
    found: Mapping[str, np.ndarray], settings: Mapping[str, Any], *, where: str
) -> tuple[dict[str, np.ndarray], str, list[str]]:
    """Returns the tensors under the names of today's transformers, the network, and notes.

    Old files name the layer norms' weights gamma and beta. Files of an encoder alone omit the
    network's prefix; wrappers and classes of other tools put one before all names.
    """
    plain = {_WRAPPERS.sub(r"\1", name): value for name, value in found.items()}
    prefix = _prefix_of_network(plain, where=where)
    outer, _, network = f".{prefix.rstrip('.')}".rpartition(".")
    outer = f"{outer}.".lstrip(".")
    notes = []
    base = network
    if network not in _TYPES:
        outer = prefix
        base = str(settings.get("model_type") or _network_of(plain, settings))
    if "model_type" not in settings:
        notes.append(f"read as {base.upper()} by the names of its tensors: no model_type is given")
    renamed = {}
    for name, value in plain.items():
        if name.endswith("position_ids"):
            continue
        rest = name.removeprefix(prefix)
        if name.startswith(prefix) and (network in _TYPES or rest.startswith(_OF_ENCODER)):
            name = f"{base}.{rest}"
        name = name.removeprefix(outer).replace("LayerNorm.gamma", "LayerNorm.weight")
        renamed[name.replace("LayerNorm.beta", "LayerNorm.bias")] = value
    return renamed, base, notes


def _prefix_of_network(names: Iterable[str], *, where: str) -> str:
    """Returns the names' part before `embeddings.`, such as `model.electra.`."""
    found = [name.removesuffix(_ANCHOR) for name in names if f".{name}".endswith(f".{_ANCHOR}")]
    # Both networks in one file: the discriminator is the encoder.
    chosen = [prefix for prefix in found if "generator" not in prefix] or found
    if len(chosen) == 1:
        network = chosen[0].rstrip(".").rpartition(".")[2]
        if network in _OTHER_NETWORKS:
            raise UserError(f"{where}: tensors are named {network}...; allowed: electra, bert")
        return chosen[0]
    shown = few(sorted(chosen or names))
    if chosen:
        raise UserError(f"{where} holds several networks, with the prefixes {shown}")
    raise UserError(
        f"{where} holds {shown}; needed are the names of transformers, such as "
        f"electra.{_ANCHOR} or bert.{_ANCHOR}"
    )


def _network_of(names: Iterable[str], settings: Mapping[str, Any]) -> str:
    """Returns the network of tensors whose names omit it, by those of its heads and settings."""
    of_electra = ("embeddings_project.", "discriminator_predictions.", "generator_")
    is_electra = "embedding_size" in settings or any(
        part in name for name in names for part in of_electra
    )
    return "electra" if is_electra else "bert"


def _naming(found: Mapping[str, np.ndarray], base: str) -> Naming:
    if base == "bert":
        return weight_names.BERT
    is_generator = any(name.startswith("generator_predictions.") for name in found)
    return weight_names.MASKED_LM_ELECTRA if is_generator else weight_names.DISCRIMINATOR


def _with_our_names(
    found: dict[str, np.ndarray], base: str
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the tensors under our names, and the names of the others."""
    naming = _naming(found, base)
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
    task: TaskHead | None = None


def write(weights: Weights, output: str, *, onnx: bool = False) -> list[str]:
    """Writes the folders of a model; all or nothing. `onnx`: the weights will be an ONNX file.

    Raises:
      UserError: the folder exists, the model has no vocabulary, or a head has no counterpart.
    """
    if weights.vocabulary is None:
        raise UserError(
            f"{weights.path} has no vocabulary. Put its vocab.txt or spm.model there, "
            "or give --vocab FILE"
        )
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
            files.write_json(config_path(target), _settings(model))
            length = model_card.trained_length(weights, model.task)
            card = Card(model.class_name, model.size, length, model.task, onnx)
            model_card.write(target, weights, card)
            tokenizer_files.write(target, weights.vocabulary, weights.tokenizer, max_length=length)
            shown = files.join(output, model.folder) if model.folder else output
            lines.append(f"{shown}: {model.class_name}")
    for task in weights.tasks:
        if task.form.is_number:
            low, high = task.outputs
            lines.append(f"note: 0 to 1 of the output of {task.name} stand for {low} to {high}")
    if weights.tokenizer.word_tokens:
        lines.append(
            "note: the tokenizer that is written makes every ideograph a token; the model's tokens "
            "of several ideographs (word_tokens) need text that jieba has cut"
        )
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
        found.append(_Model(folder, name, size, tensors, task.naming(), task))
    is_discriminator = weights.has("rtd_head") or weights.generator is not None
    if is_discriminator or not (weights.tasks or weights.has("masked_lm_head")):
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
    names = (task.name,) if task.form.is_number else task.readable_outputs
    if not names:
        return {}
    return {
        **({"problem_type": task.problem_type} if task.problem_type else {}),
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
        **(_labels(model.task) if model.task else {}),
    }


READER = FormReader(
    expected="a folder of Hugging Face (config.json with model.safetensors or pytorch_model.bin, "
    "or the folders discriminator and generator)",
    order=1,
    matches=lambda path: _is_model(path) or bool(_networks(path)),
    read=read,
)
