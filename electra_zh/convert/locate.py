"""The model that a path names: its folder, one of its files, a checkpoint, a folder of results.

All commands find models here. This module does not import TensorFlow.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from electra_zh import files
from electra_zh.convert import forms, model_folder
from electra_zh.convert.forms import FormReader
from electra_zh.errors import UsageError, UserError, few

# Of the checkpoints of a run: their folder, a checkpoint, or a file of one.
_CHECKPOINTS = re.compile(
    r"^(?:(.*)/)?checkpoints(?:/checkpoint|/ckpt-(\d+)(?:\.[^/]*)?(?:/[^/]+)?)?$"
)
_TF1_PART = re.compile(r"\.(index|meta|data-\d+-of-\d+)$")
# Files that are found in the folder of a model.
_PART_OF_MODEL = (".json", ".txt", ".model", ".safetensors", ".bin", "/checkpoint")
_OF_RESULTS = ("/results.json", "/task.json")
# The search for models below a folder: levels, and folders that are opened.
_DEPTH, _MAX_FOLDERS = 4, 500


class FoundModel(NamedTuple):
    """A model that is found and not read yet."""

    path: str  # the folder or file that `reader` reads
    reader: FormReader
    step: int | None  # of the checkpoint, for forms with checkpoints; None for the latest


def find_model(path: str, *, checkpoint: int | None = None) -> FoundModel:
    """Finds the model that a path names.

    Args:
      path: the folder of a model, one of its files, a TF1 prefix, the checkpoints of a run, one of
        them, or a folder with one model below it, such as the results of fine-tuning.
      checkpoint: step of a checkpoint of a run; None for that of the path, or the latest.

    Raises:
      UserError: there is no model, or there are several; the message names them.
    """
    path = path.rstrip("/") or path
    found = _find(path, lambda each: True, checkpoint)
    if found is None:
        raise UserError(_not_found(path))
    return found


def find_folder(path: str, *, fine_tuned: bool, checkpoint: int | None = None) -> FoundModel:
    """Finds a fine-tuned model of this tool, or a run, by a path as in `find_model`.

    Raises:
      UserError: there is none, or there are several.
    """

    def accepts(folder: str) -> bool:
        if not model_folder.is_model_folder(folder):
            return False
        return model_folder.load(folder).fine_tuned == fine_tuned

    path = path.rstrip("/") or path
    found = _find(path, accepts, checkpoint)
    if found is not None:
        return found
    wanted = ("a fine-tuned model of this tool", "finetune")
    if not fine_tuned:
        wanted = ("the folder of a pretraining run", "pretrain")
    if not files.exists(path):
        raise UserError(
            f"{path} does not exist: give {wanted[0]}, of `electra-zh {wanted[1]}`{_hub_hint(path)}"
        )
    hint = _trial_hint(path) if fine_tuned else ""
    if not fine_tuned and any(map(model_folder.is_model_folder, _meanings(path))):
        hint = ": it is a fine-tuned model; `electra-zh predict` labels and scores a file with it"
    raise UserError(f"{path} is not {wanted[0]}{hint or f'. Run `electra-zh {wanted[1]}` first'}")


def _find(path: str, accepts: Callable[[str], bool], checkpoint: int | None) -> FoundModel | None:
    run, step = _run_of_checkpoint(path)
    meanings = [run] if run else list(_meanings(path))
    for each in meanings:
        reader = _reader_of(each)
        if reader is not None and accepts(each):
            return FoundModel(each, reader, _only_step(path, step, checkpoint))
    folder = meanings[-1] if f"/{path}".endswith(_OF_RESULTS) else path
    damaged: list[UserError] = []
    found = [each for each in _models_below(folder, damaged) if accepts(each[0])]
    if damaged and not found:
        raise damaged[0]
    if len(found) > 1:
        shown = few(each for each, _ in found)
        raise UserError(f"{path} contains several models; give one of: {shown}")
    return FoundModel(*found[0], checkpoint) if found else None


def _run_of_checkpoint(path: str) -> tuple[str, int | None]:
    """Returns the folder of a run and the step, for a path of its checkpoints; "" for others."""
    for each in dict.fromkeys((path, files.absolute(path))):
        match = _CHECKPOINTS.match(each)
        if match and model_folder.is_model_folder(match[1] or "."):
            return match[1] or ".", int(match[2]) if match[2] else None
    return "", None


def _only_step(path: str, step: int | None, checkpoint: int | None) -> int | None:
    if None not in (step, checkpoint) and step != checkpoint:
        raise UsageError(f"{path} is not the checkpoint of step {checkpoint}: omit --checkpoint")
    return checkpoint if step is None else step


def _meanings(path: str) -> Iterator[str]:
    """Yields the paths that a path may stand for, itself first."""
    yield path
    prefix = _TF1_PART.sub("", path)
    if prefix != path:
        yield prefix
    elif files.is_dir(path):
        yield files.join(path, "model")  # RESULTS/TASK
    elif f"/{path}".endswith(_PART_OF_MODEL) and files.exists(path):
        yield path.rpartition("/")[0] or "."


def _reader_of(path: str) -> FormReader | None:
    return next((reader for reader in forms.readers() if reader.matches(path)), None)


def _models_below(folder: str, damaged: list[UserError]) -> Iterator[tuple[str, FormReader]]:
    """Yields the models below a folder; nothing is searched below a model.

    Errors of models with damaged settings are added to `damaged`.
    """
    folders, opened = [(folder, 0)] if files.is_dir(folder) else [], itertools.count()
    while folders and next(opened) < _MAX_FOLDERS:
        parent, depth = folders.pop(0)
        for name in files.list_dir(parent):
            path = files.join(parent, name)
            if name.startswith((".", "trial-", "checkpoints")) or not files.is_dir(path):
                continue
            try:
                reader = _reader_of(path)
            except UserError as error:
                damaged.append(error)
                continue
            if reader is not None:
                yield path, reader
            elif depth + 1 < _DEPTH:
                folders.append((path, depth + 1))


def _not_found(path: str) -> str:
    expected = "; ".join(reader.expected for reader in forms.readers())
    what, hint = f"No model found in {path}", _trial_hint(path)
    if not files.exists(path):
        what, hint = f"{path} does not exist", _hub_hint(path)
    elif files.is_dir(files.join(path, "checkpoints")):
        hint = ": its config.json is missing"
    return f"{what}{hint}. Expected one of: {expected}"


def _hub_hint(path: str) -> str:
    """Returns advice for a path that may be the name of a model of the Hugging Face hub."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        return ""
    return (
        f". If it is a model of the Hugging Face hub, download it (`hf download {path} --local-dir "
        "FOLDER`) and give its folder"
    )


def _trial_hint(path: str) -> str:
    """Returns advice for a folder or file of a trial of fine-tuning; "" for others."""
    while "/" in path:
        path = path.rpartition("/")[0]
        if files.exists(files.join(path, "task.json")):
            return f". Trials do not keep their model: give {path} for that of the best trial"
    return ""
