"""TF1 checkpoints with the names of google-research/electra and google-research/bert."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from electra_zh import files
from electra_zh.convert import tensor_files
from electra_zh.convert.forms import FormReader
from electra_zh.convert.source_settings import (
    SourceSettings,
    encoder_size,
    infer_sizes,
    official_generator,
)
from electra_zh.convert.tokenizer_files import read_tokenizer
from electra_zh.convert.weights import Weights, check
from electra_zh.errors import UserError, few
from electra_zh.models import weight_names

_INDEX = ".index"
_ANCHOR = "/embeddings/word_embeddings"
_EPSILON = 1e-12  # of layer norm


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
    listing = files.join(path, "checkpoint")
    if files.exists(listing):
        # The path in it may be one of another machine.
        named = re.search(r'^model_checkpoint_path: "(.+)"', files.read_text(listing), re.M)
        prefix = files.join(path, named[1].rpartition("/")[2]) if named else ""
        if prefix in found:
            return prefix
    raise UserError(f"{path} holds several checkpoints; give one of: {few(found)}")


def read(path: str, hints: SourceSettings = SourceSettings()) -> Weights:
    """Reads a TF1 checkpoint, with vocabulary and settings from the files next to it."""
    prefix = _latest(path)
    found = tensor_files.read_tf1(prefix)
    global_step = found.pop("global_step", None)
    found, is_electra = _with_official_names(found, prefix)
    naming = weight_names.GOOGLE_ELECTRA if is_electra else weight_names.GOOGLE_BERT
    tensors, unused = naming.from_file(dict(sorted(found.items())))
    folder = prefix.rpartition("/")[0] or "."
    # Zips have the settings and the vocabulary next to the checkpoint, or one folder above.
    folders = [folder, folder.rpartition("/")[0] or files.join(folder, "..")]
    shown = infer_sizes(tensors, "encoder", where=prefix)
    size = encoder_size(shown, folders, hints, where=prefix)
    generator = None
    if any(name.startswith("generator/layers/") for name in tensors):
        shown = infer_sizes(tensors, "generator", where=prefix)
        generator = official_generator(shown, folder, where=prefix)
    vocabulary, tokenizer, notes = read_tokenizer(folders, hints, rows=size.model.vocab_size)
    return check(
        Weights(
            path=prefix,
            kind=f"{'ELECTRA' if is_electra else 'BERT'} of Google's code (TF1)",
            model=size.model,
            tensors=tensors,
            generator=generator and generator.model,
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            checkpoint=prefix,
            step=None if global_step is None else int(global_step),
            unused=tuple(unused),
            notes=(*size.notes, *(generator.notes if generator else ()), *notes),
            heads_assumed=size.is_assumed,
        ),
        naming,
    )


def _with_official_names(
    found: dict[str, np.ndarray], prefix: str
) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the variables without a scope around the official names, and whether of ELECTRA."""
    for name in found:
        scope, slash, network = name.removesuffix(_ANCHOR).rpartition("/")
        if name.endswith(_ANCHOR) and network in ("electra", "bert"):
            scope += slash
            return {each.removeprefix(scope): v for each, v in found.items()}, network == "electra"
    if any(name.startswith(("electra/", "bert/")) for name in found):
        return found, any(name.startswith("electra/") for name in found)
    raise UserError(
        f"{prefix} is not a checkpoint of ELECTRA or BERT. It holds {few(sorted(found))}; needed "
        "are names such as electra/embeddings/word_embeddings or bert/embeddings/word_embeddings"
    )


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
        case = {"do_lower_case": weights.tokenizer.lower_case}
        case["strip_accents"] = weights.tokenizer.strip_accents
        files.write_json(files.join(folder, "tokenizer_config.json"), case)
        for file, values in _written_settings(weights).items():
            files.write_json(files.join(folder, file), values)
    owner = "BERT" if weights.is_bert else "the reference"
    line = f"{files.join(output, name)}: {len(variables)} variables under {owner}'s names"
    return [line, *_fixed_there(weights)]


def _fixed_there(weights: Weights) -> Iterator[str]:
    """Yields a line on each setting that Google's code has another, fixed value of."""
    if weights.model.layer_norm_eps != _EPSILON:
        found = f"{weights.model.layer_norm_eps:g}"
        yield f"note: layer_norm_eps is {found}, but {_EPSILON:g} in Google's code"
    if weights.generator is not None:
        heads, rule = weights.generator.num_attention_heads, weights.generator.hidden_size // 64
        if heads != max(1, rule):
            yield (
                f"note: the generator has {heads} attention heads, but {max(1, rule)} in Google's "
                "code (width / 64)"
            )


def _written_settings(weights: Weights) -> dict[str, dict[str, Any]]:
    """Returns the files of settings by name."""
    values = dataclasses.asdict(weights.model)
    if weights.is_bert:
        del values["embedding_size"]
        return {"bert_config.json": {**values, "hidden_act": "gelu"}}
    written = {"discriminator.json": values}
    if weights.generator is not None:
        written["generator.json"] = dataclasses.asdict(weights.generator)
    return written


READER = FormReader(
    expected="a TF1 checkpoint of Google's code (its folder or prefix)",
    order=2,
    matches=lambda path: bool(_checkpoints(path)),
    read=read,
)
