"""The folders that this tool writes: pretraining runs and fine-tuned models.

This module alone knows the layout of their `config.json`. `pretraining` and `finetuning` write
through it, and `forms.native` reads through it. It does not import TensorFlow.

- `config.json`: section `pretrain` (all settings of the run, or of the phase that it is in) or
  `finetuned` (model size, tasks with labels, path of the pretrained model); `tokenizer`; of a run
  also `data_fingerprint`, `init` and `phases`
- `vocab.txt` or `spm.model`: the vocabulary
- `checkpoints/`: the checkpoints
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from electra_zh import __version__, files
from electra_zh.convert.weights import TrainedWith
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig, generator_config
from electra_zh.settings import build_settings
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import vocabulary_of
from electra_zh.text.vocabulary import Vocabulary

_RUN, _FINE_TUNED = "pretrain", "finetuned"
# Types of values that a run may have.
_OPTIONAL: dict[str, Any] = {
    **dict.fromkeys(("init", "generator", "data"), dict),
    **{"phases": list, "train_data": list | str, "eval_data": list | str},
}


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """Contents of a folder, without its checkpoints."""

    vocabulary: Vocabulary
    tokenizer: TokenizerSettings
    section: Mapping[str, Any]  # settings of the run or of the fine-tuned model, as plain values
    fine_tuned: bool  # the folder holds a fine-tuned model, not a run
    data_fingerprint: str = ""  # identifies the data of a run
    init: Mapping[str, Any] | None = None  # source of a run's first weights; None for random ones
    train_data: Sequence[str] = ()  # folders of a run's training data, with weights
    eval_data: Sequence[str] = ()  # folders of a run's held-out data
    generator: Mapping[str, Any] | None = None  # source of a run's generator that is not trained
    phases: Sequence[Mapping[str, Any]] | None = None  # a run's phases, as plain values
    data: Mapping[str, Any] | None = None  # counts of a run's data, by its manifest
    recipe: str = ""  # name of a run's recipe

    def save(self, folder: str) -> None:
        """Writes the vocabulary, then config.json."""
        files.make_dirs(folder)
        self.vocabulary.save(files.join(folder, self.vocabulary.file_name))
        saved: dict[str, Any] = {
            "version": __version__,
            _FINE_TUNED if self.fine_tuned else _RUN: self.section,
            "tokenizer": dataclasses.asdict(self.tokenizer),
        }
        if not self.fine_tuned:
            saved["data_fingerprint"] = self.data_fingerprint
            names = ("recipe", "init", "train_data", "eval_data", "generator", "data", "phases")
            saved |= {name: value for name in names if (value := getattr(self, name))}
        files.write_json(config_path(folder), saved)

    def of_checkpoint(self, state: Mapping[str, Any]) -> ModelFolder:
        """Returns the folder with the settings that a run's checkpoint was saved with."""
        if self.fine_tuned or not isinstance(state.get("settings"), dict):
            return self
        return dataclasses.replace(self, section=state["settings"])

    @property
    def tasks(self) -> Sequence[Mapping[str, Any]]:
        """The tasks of a fine-tuned model with their labels, as plain values."""
        return self.section["tasks"] if self.fine_tuned else ()

    def record(self) -> dict[str, Any]:
        """Returns the record of the model's training, as `Weights.record`."""
        if self.fine_tuned:
            tasks = {task["name"]: {**task, **task.get("training", {})} for task in self.tasks}
            return {"start": self.section.get("start", ""), "settings": tasks}
        start = (self.init or {}).get("source", "")
        return {"start": start, "settings": self.section, "data": self.data or {}}

    def model(self, *, where: str) -> ModelConfig:
        """Returns the size of the encoder; error messages begin with `where`."""
        return build_settings(ModelConfig, self.section["model"], where=where)

    def generator_size(self, model: ModelConfig) -> ModelConfig:
        """Returns the size of a run's generator network."""
        foreign = self.section.get("foreign_generator")
        if foreign is not None:
            return build_settings(ModelConfig, foreign, where="foreign_generator")
        return generator_config(
            model,
            generator_layers=self.section["generator_layers"],
            generator_hidden_size=self.section["generator_hidden_size"],
            generator_heads=self.section.get("generator_heads", 0),
            untied_embeddings=self.section["untied_generator_embeddings"],
        )

    def trained(self, step: int = 0) -> TrainedWith | None:
        """Returns a run's settings after a step; its source or a phase before may be longer."""
        if self.fine_tuned:
            return None
        own, begun, before = self.section, [0], 0
        for phase in (each["settings"] for each in self.phases or ()):
            begun += [phase["max_seq_length"]] if before < max(step, 1) else []
            before += phase["num_train_steps"]
        length = max(own["max_seq_length"], (self.init or {}).get("positions", 0), *begun)
        return TrainedWith(
            length=min(length, own["model"]["max_position_embeddings"]),
            batch=self.section["train_batch_size"],
            learning_rate=self.section["learning_rate"],
            attention_start=self.section.get("attention_start", "normal"),
        )


def fine_tuned_section(
    model: ModelConfig, tasks: Sequence[Mapping[str, Any]], *, start: str
) -> dict[str, Any]:
    """Returns the section of a fine-tuned model; `start` is the path of the pretrained model."""
    return {"model": dataclasses.asdict(model), "tasks": list(tasks), "start": start}


def config_path(folder: str) -> str:
    """Returns the path of the folder's config.json."""
    return files.join(folder, "config.json")


def is_run(folder: str) -> bool:
    """Returns whether a folder is a pretraining run of this tool."""
    return is_model_folder(folder) and _RUN in files.read_json_object(config_path(folder))


def is_model_folder(folder: str) -> bool:
    """Returns whether a folder is a run or a fine-tuned model of this tool."""
    path = config_path(folder)
    if not files.is_dir(folder) or not files.exists(path):
        return False
    return bool({_RUN, _FINE_TUNED} & files.read_json_object(path).keys())


def load(folder: str) -> ModelFolder:
    """Reads the folder of a run or of a fine-tuned model.

    Raises:
      UserError: its files are damaged or missing.
    """
    path = config_path(folder)
    saved = files.read_json_object(path)
    section = saved.get(_FINE_TUNED) or saved.get(_RUN)
    if not isinstance(section, dict):
        raise UserError(
            f"{path} is not the settings of a pretraining run or of a fine-tuned model of this tool"
        )
    if not isinstance(section.get("model"), dict):
        raise UserError(f"{path}: the model's size is missing")
    tasks = section.get("tasks") if _FINE_TUNED in saved else []
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise UserError(f"{path}: `tasks` is not a list of tasks")
    for name, kind in _OPTIONAL.items():
        if saved.get(name) and not isinstance(saved[name], kind):
            raise UserError(f"{path}: `{name}` is {saved[name]!r}")
    return ModelFolder(
        vocabulary=vocabulary_of(folder),
        tokenizer=build_settings(TokenizerSettings, saved.get("tokenizer", {}), where=path),
        section=section,
        fine_tuned=_FINE_TUNED in saved,
        data_fingerprint=str(saved.get("data_fingerprint", "")),
        train_data=_folders(saved.get("train_data")),
        eval_data=_folders(saved.get("eval_data")),
        init=saved.get("init") or None,
        generator=saved.get("generator") or None,
        data=saved.get("data"),
        phases=saved.get("phases") or None,
        recipe=str(saved.get("recipe", "")),
    )


def _folders(saved: Any) -> tuple[str, ...]:
    """Returns saved folders; earlier versions saved one as a text."""
    return (saved,) if isinstance(saved, str) else tuple(map(str, saved or ()))
