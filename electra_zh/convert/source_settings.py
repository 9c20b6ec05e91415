"""The settings of a foreign model: those that its files and shapes tell, and those of the user.

Shapes show every size but the number of attention heads. That comes from a file of settings, or
from the user. A width of 64 per head, the default of Google's codes, is assumed at last, and never
where 64 does not divide the width. This module imports neither NumPy nor TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import files
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import LETTERS, NETWORK
from electra_zh.settings import Settings, build_settings, load_recipe, recipe_names, setting
from electra_zh.settings.coercion import coerce

HEADS = "num_attention_heads"
# Sizes that shapes show, and the widths of other settings of a network.
_SHOWN = tuple(LETTERS.values())
# Rows of the word embeddings that may follow those of the vocabulary, as padding.
MAX_FILLER = 127

# Usual names of settings, the best first; others are read if their values are those of a network.
USUAL_NAMES = (
    *("discriminator.json", "electra_config.json", "bert_config.json", "config.json"),
    *("model_hparams.json", "hparams.json", "model_hparams", "hparams"),
)
_OTHER_FILES = ("tokenizer", "vocab", "special_tokens", "added_tokens", "generator", "results")
_MAX_BYTES = 1 << 20
# Sections of settings in files of other tools; those of the official code are hyperparameters.
_OFFICIAL = "model_hparam_overrides"
_SECTIONS = ("model", "model_config", "bert_config", "config", "hparams", "model_hparams")
# Width and layers of the official code's `model_size`.
_OFFICIAL_SIZES = {"small": (256, 12), "base": (768, 12), "large": (1024, 24)}


def _size(meaning: str, **limits: Any) -> Any:
    return setting(None, meaning, at_least=1, listed=False, **limits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceSettings(Settings):
    """Facts of a foreign model that its files may not tell, for commands that read models."""

    num_attention_heads: int | None = setting(
        None,
        "attention heads per layer of a foreign model whose files do not tell it; other sizes "
        "(model.max_position_embeddings=512, ...) are checked against its tensors",
        at_least=1,
        flags=("--model.num-attention-heads",),
        group="foreign models",
    )
    lower_case: bool | None = setting(
        None,
        "lower-case text for a foreign model; by default as its files say, if its vocabulary "
        "agrees",
        group="foreign models",
    )
    vocab: str | None = setting(
        None,
        "vocabulary of a foreign model without one in its folder",
        metavar="FILE",
        group="foreign models",
    )
    hidden_size: int | None = _size("width", flags=("--model.hidden-size",))
    embedding_size: int | None = _size("embeddings", flags=("--model.embedding-size",))
    num_hidden_layers: int | None = _size("layers", flags=("--model.num-hidden-layers",))
    intermediate_size: int | None = _size("inner width", flags=("--model.intermediate-size",))
    max_position_embeddings: int | None = _size(
        "positions", flags=("--model.max-position-embeddings",)
    )
    type_vocab_size: int | None = _size("segments", flags=("--model.type-vocab-size",))
    vocab_size: int | None = _size("tokens", flags=("--model.vocab-size",))

    def source_settings(self) -> SourceSettings:
        """Returns these settings alone, of a class with others."""
        names = [field.name for field in dataclasses.fields(SourceSettings)]
        return SourceSettings(**{name: getattr(self, name) for name in names})

    def sizes(self) -> dict[str, int]:
        """Returns the sizes that are given."""
        values = {name: getattr(self, name) for name in (HEADS, *_SHOWN)}
        return {name: value for name, value in values.items() if value is not None}

    def is_empty(self) -> bool:
        """Returns whether nothing is given."""
        return self == SourceSettings()

    def check(self, model: ModelConfig, *, where: str) -> None:
        """Checks the given sizes against those of the model.

        Raises:
          UserError: a size contradicts it.
        """
        for name, value in self.sizes().items():
            if getattr(model, name) != value:
                raise UserError(
                    f"{name}={value} contradicts {where}, which has {getattr(model, name)}: "
                    f"omit {name}"
                )


class NetworkSize(NamedTuple):
    """The size of a network, and the assumptions about it as sentences."""

    model: ModelConfig
    notes: tuple[str, ...]
    is_assumed: bool  # the number of attention heads is assumed


class SettingsFile(NamedTuple):
    """A file of settings of a network."""

    path: str
    values: Mapping[str, Any]


def infer_sizes(tensors: Mapping[str, Any], part: str, *, where: str) -> dict[str, int]:
    """Returns the settings of `ModelConfig` that shapes show: all but the number of heads.

    The tensors have our names, `part` is `encoder` or `generator`, `where` names the file.
    """
    own = f"{part}/embeddings/word_embeddings" in tensors
    shown = {
        w.ours: w.shape for w in NETWORK if w.ours.endswith(("_embeddings", "intermediate/kernel"))
    }
    numbers = [int(name.split("/")[2]) for name in tensors if name.startswith(f"{part}/layers/")]
    sizes = {"num_hidden_layers": max(numbers, default=0) + 1}
    for weight, letters in shown.items():
        network = "encoder" if weight.startswith("embeddings/") and not own else part
        name = f"{network}/{weight}".replace("{layer}", "0")
        if name not in tensors:
            raise UserError(f"{where} is not an ELECTRA or BERT model: {name} is missing")
        shape = tensors[name].shape
        if len(shape) != 2:
            raise UserError(f"{where}: {name} has shape {list(shape)}; two dimensions are needed")
        sizes |= {LETTERS[x]: n for x, n in zip(letters, shape, strict=True)}
    return sizes


def model_config(settings: Mapping[str, Any], *, where: str) -> ModelConfig:
    """Returns the size of a network from another tool's settings; unknown keys are ignored.

    Raises:
      UserError: a setting is missing or not valid; the message begins with `where`.
    """
    act = settings.get("hidden_act", "gelu")
    if act != "gelu":
        raise UserError(f'{where}: hidden_act is "{act}"; allowed: gelu')
    names = (field.name for field in dataclasses.fields(ModelConfig))
    values = {name: settings[name] for name in names if name in settings}
    return build_settings(ModelConfig, values, where=where)


def read_files(folder: str) -> list[SettingsFile]:
    """Returns the files of settings of a network in a folder, those of usual names first."""
    names = files.list_dir(folder)
    usual = [name for name in USUAL_NAMES if name in names]
    others = [name for name in names if name not in usual and _may_be_settings(name)]
    found = []
    for name in (*usual, *others):
        path = files.join(folder, name)
        if files.is_dir(path) or files.size(path) > _MAX_BYTES:
            continue
        try:
            saved = files.read_json(path)
        except UserError:
            if name in usual:
                raise
            continue
        if not isinstance(saved, dict):
            if name in usual:
                raise UserError(f"{path} is not a JSON object: {str(saved)[:40]}")
            continue
        values = _network_settings(saved)
        if name in usual or {HEADS, *_SHOWN} & values.keys():
            found.append(SettingsFile(path, values))
    return found


def _may_be_settings(name: str) -> bool:
    is_json = name.endswith(".json") and not name.endswith(".index.json")
    return (is_json or "hparam" in name) and not name.startswith(_OTHER_FILES)


def _network_settings(saved: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a network in a file, sections of it included."""
    values = dict(saved)
    for name in (*_SECTIONS, _OFFICIAL):
        section = saved.get(name)
        if isinstance(section, Mapping):
            values |= _network_settings(section)
    size = _OFFICIAL_SIZES.get(str(saved.get("model_size")))
    if size is not None:
        values = dict(zip(("hidden_size", "num_hidden_layers"), size, strict=True)) | values
    return {name: value for name, value in values.items() if value is not None}


def _misfit(file: SettingsFile, shown: Mapping[str, int]) -> str:
    """Returns a setting that contradicts the shapes, "" for a file that fits."""
    for name, size in shown.items():
        value = file.values.get(name, size)
        if name == "vocab_size" and isinstance(value, int) and abs(value - size) <= MAX_FILLER:
            continue
        if value != size:
            return f"{file.path} has {name} {value}, and the tensors have {size}"
    return ""


def encoder_size(
    shown: Mapping[str, int], folders: Sequence[str], hints: SourceSettings, *, where: str
) -> NetworkSize:
    """Returns the size of an encoder of these shapes.

    Args:
      shown: the sizes that its shapes show.
      folders: folders of its settings; the first that has any is read.
      hints: settings of the user.
      where: the file of the tensors, for messages.

    Raises:
      UserError: the number of heads is not told, or told twice; files contradict the shapes.
    """
    found: list[SettingsFile] = []
    notes: list[str] = []
    for number, folder in enumerate(folders):
        candidates = read_files(folder)
        misfits = [_misfit(each, shown) for each in candidates]
        fits = [each for each, misfit in zip(candidates, misfits, strict=True) if not misfit]
        if fits and number:
            notes.append(f"settings are those of {fits[0].path}, which fit the tensors")
        found += fits
        if any(HEADS in each.values for each in found):
            break
        if candidates and not (fits or number or hints.num_attention_heads):
            raise UserError(f"{misfits[0]}: replace it by the settings of {where}, or remove it")
    return _size_of(shown, found, hints, where=where, notes=notes)


def stated_size(
    file: SettingsFile, shown: Mapping[str, int], hints: SourceSettings, *, where: str
) -> NetworkSize:
    """Returns the size that a file of settings states; what it omits is shown by shapes.

    The number of rows of the word embeddings is that of the tensors, which may be padded.
    """
    sizes = {name: file.values.get(name, size) for name, size in shown.items()}
    tokens = sizes["vocab_size"]
    if isinstance(tokens, int) and abs(tokens - shown["vocab_size"]) <= MAX_FILLER:
        sizes["vocab_size"] = shown["vocab_size"]
    return _size_of(sizes, [file], hints, where=where, notes=[])


def _size_of(
    shown: Mapping[str, int],
    found: Sequence[SettingsFile],
    hints: SourceSettings,
    *,
    where: str,
    notes: list[str],
) -> NetworkSize:
    told = {
        coerce(each.values[HEADS], int, f"{each.path}: {HEADS}"): each.path
        for each in found
        if HEADS in each.values
    }
    heads, note = _heads(shown, found, told, hints, where=where)
    values = dict(found[0].values) if found else {}
    tokens = values.get("vocab_size", shown["vocab_size"])
    if tokens != shown["vocab_size"]:
        rows = shown["vocab_size"]
        notes.append(f"vocab_size is {rows}, as in the tensors; {found[0].path} has {tokens}")
    origin = found[0].path if found else where
    model = model_config({**values, **shown, HEADS: heads}, where=origin)
    return NetworkSize(model, (*notes, *([note] if note else [])), bool(note))


def _heads(
    shown: Mapping[str, int],
    found: Sequence[SettingsFile],
    told: Mapping[int, str],
    hints: SourceSettings,
    *,
    where: str,
) -> tuple[int, str]:
    """Returns the number of heads, and a sentence if it is assumed."""
    given, width = hints.num_attention_heads, shown["hidden_size"]
    different = [number for number in told if given not in (None, number)]
    if different:
        path = told[different[0]]
        raise UserError(f"{HEADS}={given} contradicts {path}, which has {different[0]}")
    if len(told) > 1:
        shown_files = " and ".join(f"{number} in {path}" for number, path in told.items())
        raise UserError(f"{HEADS} is {shown_files}: remove the wrong file")
    if given is not None or told:
        return given or next(iter(told)), ""
    if any(_OFFICIAL in each.values or "model_size" in each.values for each in found):
        return max(1, width // 64), ""  # the rule of the official code, whose settings these are
    advice = f"give model.{HEADS}=N, or put the model's config.json next to the tensors"
    if width % 64:
        raise UserError(
            f"{where}: no file says the number of attention heads, and 64 does not "
            f"divide its width {width}{_same_size(shown)}: {advice}"
        )
    heads = width // 64
    note = (
        f"assumed {heads} attention heads (width / 64), as no file says; if that is wrong, {advice}"
    )
    return heads, note


def _same_size(shown: Mapping[str, int]) -> str:
    """Returns a remark on a shipped size of these shapes; "" without one."""
    keys = ("hidden_size", "intermediate_size", "embedding_size")
    for name in recipe_names("model"):
        values = load_recipe(name, kind="model")
        if all(values[key] == shown[key] for key in keys):
            return f" (the size {name} of this tool has {values[HEADS]} heads)"
    return ""


def official_generator(shown: Mapping[str, int], folder: str, *, where: str) -> NetworkSize:
    """Returns the size of a generator of the official code, from generator.json or by its rule."""
    path = files.join(folder, "generator.json")
    if files.exists(path):
        values = {**shown, **_network_settings(files.read_json_object(path))}
        return NetworkSize(model_config(values, where=path), (), False)
    heads = max(1, shown["hidden_size"] // 64)
    note = (
        f"assumed {heads} attention heads of the generator: the rule of Google's code, width / 64, "
        "at least 1; generator.json next to the checkpoint sets another number"
    )
    return NetworkSize(model_config({**shown, HEADS: heads}, where=where), (note,), False)
