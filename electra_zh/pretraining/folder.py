"""A run's folder: its settings, vocabulary and tokenizer, and the settings that may change.

- `RUN/config.json`: the resolved settings, the tokenizer's, and which data it trains on
- `RUN/vocab.txt` or `RUN/spm.model`: the vocabulary
- `RUN/checkpoints/`: `ckpt-STEP`, the last few
- `RUN/metrics.jsonl`: a line of metrics every log_steps, and every evaluation
- `RUN/tensorboard/`: the same as TensorBoard event files
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from electra_zh import files, locks
from electra_zh.convert import model_folder
from electra_zh.convert.locate import find_folder
from electra_zh.convert.model_folder import ModelFolder
from electra_zh.data.source import DataSource
from electra_zh.errors import UsageError, UserError
from electra_zh.pretraining.config import Init, PretrainConfig, SourceSize, override, resolve
from electra_zh.settings import build_settings, recipe_names
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Tokenizer, make_tokenizer
from electra_zh.text.vocabulary import Vocabulary

# Settings that change no number of the training: they may change when a run is resumed.
_FREE = (
    "eval_batch_size",
    "num_eval_steps",
    "save_checkpoints_steps",
    "keep_checkpoint_max",
    "log_steps",
    "iterations_per_loop",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as its folder records it."""

    folder: str  # where it is
    config: PretrainConfig  # the resolved settings
    vocabulary: Vocabulary  # the run's own copy
    tokenizer: TokenizerSettings  # how its data was tokenized
    data_fingerprint: str  # identifies the data that it trains on
    init: Init | None = None  # source of its first weights; None for random ones
    eval_data: str | None = None  # folder of its held-out data; None for none

    @property
    def checkpoints(self) -> str:
        """The folder of the checkpoints."""
        return files.join(self.folder, "checkpoints")

    def make_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer that the run's data was made with."""
        return make_tokenizer(self.vocabulary, self.tokenizer)

    def save(self) -> None:
        """Writes config.json and the vocabulary."""
        ModelFolder(
            vocabulary=self.vocabulary,
            tokenizer=self.tokenizer,
            section=self.config.to_dict(),
            fine_tuned=False,
            data_fingerprint=self.data_fingerprint,
            init=None if self.init is None else dataclasses.asdict(self.init),
            eval_data=self.eval_data,
        ).save(self.folder)


def is_run(folder: str) -> bool:
    """Returns whether the folder has been a run's before."""
    return files.exists(model_folder.config_path(folder))


def load(folder: str) -> Run:
    """Reads a run's folder."""
    path = model_folder.config_path(folder)
    if not files.exists(path):
        what = "is not the folder of a pretraining run: it has no config.json"
        raise UserError(f"{folder} {what if files.exists(folder) else 'does not exist'}")
    saved = model_folder.load(folder)
    if saved.fine_tuned:
        raise UserError(f"{path} is not the settings of a pretraining run")
    return Run(
        folder=folder,
        config=PretrainConfig.from_dict(saved.section, where=path),
        vocabulary=saved.vocabulary,
        tokenizer=saved.tokenizer,
        data_fingerprint=saved.data_fingerprint,
        init=None if saved.init is None else build_settings(Init, saved.init, where=path),
        eval_data=saved.eval_data,
    )


def open_run(path: str, *, checkpoint: int | None = None) -> tuple[Run, int | None]:
    """Returns the run that a path names, as in `locate.find_model`, and a checkpoint's step.

    The step is `checkpoint`, or that of the path; None for the latest.
    """
    found = find_folder(path, fine_tuned=False, checkpoint=checkpoint)
    return load(found.path), found.step


def create(
    folder: str,
    *,
    recipe: str | None,
    overrides: Mapping[str, Any],
    data: DataSource,
    init: Init | None = None,
    source: SourceSize | None = None,
) -> Run:
    """Returns a new run on `data`, in a folder that must be empty or missing; writes nothing.

    `source` is the size of the model that `init` names.

    Raises:
      UsageError: there is no recipe.
      UserError: the folder holds something else, or a setting is not allowed.
    """
    files.check_output(folder)
    if files.exists(folder) and set(files.list_dir(folder)) - {locks.LOCK}:
        raise UserError(f"{folder} exists and is not a run's folder: choose another --output")
    if recipe is None:
        names = ", ".join(recipe_names("pretrain"))
        raise UsageError(f"A new run needs --config: {names}, or a .yaml file")
    size = data.vocabulary.size
    wanted = resolve(recipe, overrides, vocab_size=size, source=source, init=init).settings
    if wanted.model.vocab_size != size:
        raise UserError(
            f"vocab_size is {wanted.model.vocab_size} but the data's vocabulary has {size} tokens. "
            "Remove vocab_size: it is that of the data."
        )
    return Run(folder, wanted, data.vocabulary, data.tokenizer, data.fingerprint, init)


def resume(
    folder: str,
    *,
    recipe: str | None,
    overrides: Mapping[str, Any],
    data: DataSource,
    init: Init | None = None,
) -> Run:
    """Returns the run in `folder`, to be resumed; writes nothing.

    A run is resumed only with the settings, vocabulary and data that it was started with. The
    settings that change no number of the training are free. Without a recipe, the overrides change
    the run's settings; without `init`, its source of first weights is kept.

    Raises:
      UserError: the run has other settings, vocabulary, data or first weights.
    """
    saved, vocabulary = load(folder), data.vocabulary
    _check_init(saved, init)
    if recipe is None:
        wanted = override(saved.config, overrides)
    else:
        size, source = vocabulary.size, _source_size(saved)
        wanted = resolve(
            recipe, overrides, vocab_size=size, source=source, init=saved.init
        ).settings
    _check_same(saved, wanted)
    if saved.vocabulary != vocabulary:
        raise UserError(
            f"The run in {folder} was started with another vocabulary than that of the data "
            f"({saved.vocabulary.size} and {vocabulary.size} tokens): use its own data, or start "
            "a new run in another --output."
        )
    if data.fingerprint != saved.data_fingerprint:
        raise UserError(
            f"The run in {folder} was started on other data: use the same --data to resume, or "
            "start a new run in another --output."
        )
    return dataclasses.replace(saved, config=wanted)


def _source_size(saved: Run) -> SourceSize | None:
    """Returns the meaning of `model=source` when the run was started, without its source."""
    if saved.init is None:
        return None
    values = saved.config.to_dict()
    keys = ("generator_layers", "generator_hidden_size", "untied_generator_embeddings")
    return SourceSize(saved.config.model, {key: values[key] for key in keys})


def _check_init(saved: Run, init: Init | None) -> None:
    if init is not None and init != saved.init:
        raise UserError(
            f"The run in {saved.folder} was started with {saved.init or 'random weights'}, not "
            f"with {init}. Remove --init to resume, or start a new run in another --output."
        )


def _check_same(saved: Run, wanted: PretrainConfig) -> None:
    old, new = _flat(saved.config.to_dict()), _flat(wanted.to_dict())
    changed = [key for key in old if old[key] != new[key] and key not in _FREE]
    if changed:
        shown = ", ".join(f"{key} {old[key]} (now {new[key]})" for key in changed[:4])
        more = f" and {len(changed) - 4} more" if len(changed) > 4 else ""
        raise UserError(
            f"The run in {saved.folder} was started with {shown}{more}. Resume it with the same "
            "settings (without --config), or start a new run in another --output; "
            f"--init {saved.folder} --keep-optimizer continues from its weights and optimizer."
        )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    model = {f"model.{key}": value for key, value in values["model"].items()}
    return {**{key: value for key, value in values.items() if key != "model"}, **model}
