"""A run's folder: its settings, vocabulary and tokenizer, and the settings that may change.

- `RUN/config.json`: the resolved settings, phase by phase, the tokenizer's, and which data it
  trains on
- `RUN/vocab.txt` or `RUN/spm.model`: the vocabulary
- `RUN/checkpoints/`: `ckpt-STEP`, the last few
- `RUN/metrics.jsonl`: a line of metrics every log_steps, and every evaluation
- `RUN/tensorboard/`: the same as TensorBoard event files
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Set
from typing import Any

from electra_zh import files, locks
from electra_zh.convert import model_folder
from electra_zh.convert.locate import find_folder
from electra_zh.convert.model_folder import ModelFolder
from electra_zh.convert.source import check_source
from electra_zh.data.mixed_folders import open_sources
from electra_zh.data.source import DataSource, open_data_source
from electra_zh.errors import UsageError, UserError, few
from electra_zh.pretraining import phases as run_phases
from electra_zh.pretraining.config import Init, PretrainConfig, SourceSize
from electra_zh.pretraining.phases import Phase
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.settings import build_settings, flat, recipe_names
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Tokenizer, make_tokenizer, vocabulary_of
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training import checkpoints

_CHECKPOINTS = "checkpoints"  # folder in that of a run
# Settings that change no number of the training: they may change when a run is resumed.
FREE = (
    "eval_batch_size",
    "num_eval_steps",
    "save_checkpoints_steps",
    "keep_checkpoint_max",
    "log_steps",
    "iterations_per_loop",
    "max_skipped_steps",
    "gradient_accumulation_steps",
    "recompute",
    "state_sharding",
    "device_memory_gb",
)


@dataclasses.dataclass(frozen=True)
class Run:
    """A run, as its folder records it."""

    folder: str  # where it is
    config: PretrainConfig  # the resolved settings, of the phase that the run is in
    vocabulary: Vocabulary  # the run's own copy
    tokenizer: TokenizerSettings  # how its data was tokenized
    data_fingerprint: str  # identifies the data that it trains on
    init: Init | None = None  # source of its first weights; None for random ones
    train_data: tuple[str, ...] = ()  # folders of its training data, with weights
    eval_data: tuple[str, ...] = ()  # folders of its held-out data
    generator: Init | None = None  # source of a generator that is not trained; None without one
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # counts of its data
    phases: tuple[Phase, ...] = ()  # its phases in order; one without a name for a run without
    recipe: str = ""  # name of the recipe, or of its file

    def __post_init__(self) -> None:
        """Makes the only phase of a run without phases."""
        if not self.phases:
            object.__setattr__(self, "phases", (Phase("", self.config),))

    @property
    def last_step(self) -> int:
        """Steps of the complete run."""
        return self.phases[-1].last_step

    def with_generator(self, start: Init, size: Mapping[str, Any]) -> Run:
        """Returns the run with a generator of another model in its phases that have one."""
        phases = with_foreign(self.phases, size)
        if phases == self.phases:
            raise UserError("--generator is for objective=electra; remove it")
        return dataclasses.replace(self, config=phases[0].config, phases=phases, generator=start)

    def in_phase(self, phase: Phase) -> Run:
        """Returns the run with the settings of a phase."""
        return dataclasses.replace(self, config=phase.config)

    @property
    def checkpoints(self) -> str:
        """The folder of the checkpoints."""
        return files.join(self.folder, _CHECKPOINTS)

    def make_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer that the run's data was made with."""
        return make_tokenizer(self.vocabulary, self.tokenizer)

    def moved_to(self, folder: str) -> Run:
        """Returns the run with another folder."""
        return dataclasses.replace(self, folder=folder)

    def trained_length(self, step: int) -> int:
        """Returns the length of the longest sequences of the training up to a step."""
        trained = self._record().trained(step)
        assert trained is not None
        return trained.length

    def save(self) -> None:
        """Writes config.json and the vocabulary."""
        self._record().save(self.folder)

    def _record(self) -> ModelFolder:
        return ModelFolder(
            vocabulary=self.vocabulary,
            tokenizer=self.tokenizer,
            section=self.config.to_dict(),
            fine_tuned=False,
            data_fingerprint=self.data_fingerprint,
            init=None if self.init is None else dataclasses.asdict(self.init),
            train_data=self.train_data,
            eval_data=self.eval_data,
            generator=None if self.generator is None else dataclasses.asdict(self.generator),
            data=self.data,
            phases=run_phases.to_plain(self.phases) if self.phases[0].name else None,
            recipe=self.recipe,
        )


def with_foreign(phases: tuple[Phase, ...], size: Mapping[str, Any]) -> tuple[Phase, ...]:
    """Returns the phases with a generator of this size, which is not the run's own."""
    return run_phases.in_order(
        (name, dataclasses.replace(config, foreign_generator=dict(size)))
        if config.objective == "electra"
        else (name, config)
        for name, config, _ in phases
    )


def is_run(folder: str) -> bool:
    """Returns whether the folder has been a run's before."""
    return files.exists(model_folder.config_path(folder))


def is_started(folder: str) -> bool:
    """Returns whether the folder has a checkpoint of a run."""
    return is_run(folder) and not checkpoints.is_empty(files.join(folder, _CHECKPOINTS))


def load(folder: str, *, checkpoint: int | None = None) -> Run:
    """Reads a run's folder; the settings are those of the newest checkpoint, or of that step."""
    path = model_folder.config_path(folder)
    if not files.exists(path):
        what = "is not the folder of a pretraining run: it has no config.json"
        raise UserError(f"{folder} {what if files.exists(folder) else 'does not exist'}")
    saved = model_folder.load(folder)
    if saved.fine_tuned:
        raise UserError(f"{path} is not the settings of a pretraining run")
    run = Run(
        folder=folder,
        config=PretrainConfig.from_dict(saved.section, where=path),
        vocabulary=saved.vocabulary,
        tokenizer=saved.tokenizer,
        data_fingerprint=saved.data_fingerprint,
        init=None if saved.init is None else build_settings(Init, saved.init, where=path),
        train_data=tuple(saved.train_data),
        eval_data=tuple(saved.eval_data),
        generator=None
        if saved.generator is None
        else build_settings(Init, saved.generator, where=path),
        data=saved.data or {},
        phases=run_phases.from_plain(saved.phases or (), where=path),
        recipe=saved.recipe,
    )
    if run.vocabulary.size != run.config.model.vocab_size:
        raise UserError(
            f"{folder} has a vocabulary of {run.vocabulary.size} tokens, and its model one of "
            f"{run.config.model.vocab_size}: restore its {run.vocabulary.file_name}"
        )
    if saved.phases is None:
        return run
    newest = 0
    if not checkpoints.is_empty(run.checkpoints):
        newest = checkpoints.step_of(checkpoints.find(run.checkpoints))
    return run.in_phase(run_phases.at_step(run.phases, checkpoint or newest))


def open_run(path: str, *, checkpoint: int | None = None) -> tuple[Run, int | None]:
    """Returns the run that a path names, as in `locate.find_model`, and a checkpoint's step.

    The step is `checkpoint`, or that of the path; None for the latest.
    """
    found = find_folder(path, fine_tuned=False, checkpoint=checkpoint)
    run = load(found.path, checkpoint=found.step)
    checkpoints.find(run.checkpoints, step=found.step)
    return run, found.step


def check_request(request: PretrainRequest, overrides: Mapping[str, Any]) -> Run | None:
    """Checks the paths of a request and, where no other model is needed, the settings of its run.

    It loads no TensorFlow: `run.prepare` reads models and data, seconds later. Returns the run, or
    None where it needs another model.

    Raises:
      UserError: a path or a setting is wrong.
    """
    names = {key.rpartition(".")[2] for key in overrides}
    if "budget_hours" in names and "num_train_steps" in names:
        raise UsageError("--budget-hours plans num_train_steps: remove one of them")
    data = open_sources(request.folders(), vocab=request.vocab)
    for path in request.eval_folders():
        open_data_source(path, default=data.vocabulary)
    new = not is_run(request.output)
    if request.compiled is not None and not files.is_dir(request.compiled):
        raise UserError(f"--compiled {request.compiled} is not a folder of `electra-zh compile`")
    for flag, source in (("--init", request.init), ("--generator", request.generator)):
        if new and source is not None:
            try:
                check_source(source)
            except UserError as error:
                named = "" if str(error).startswith(source) else f"{source}: "
                raise UserError(f"{flag} {named}{error}") from None
    if new and request.init is not None:
        return None
    return begin(request, overrides, data=data)


def begin(
    request: PretrainRequest,
    overrides: Mapping[str, Any],
    *,
    data: DataSource,
    init: Init | None = None,
    source: SourceSize | None = None,
    accelerator: bool = False,
) -> Run:
    """Returns the run of a request, new or to be resumed; writes nothing.

    The folder of a new run must be empty or missing. `init` is the source of its first weights and
    `source` the size of that model. `accelerator` is True if it trains on a GPU or TPU.

    Raises:
      UsageError: a new run has no recipe.
      UserError: the folder holds something else, a setting is not allowed, or as in `resume`.
    """
    folder, recipe, generator = request.output, request.config, request.foreign_generator()
    if is_run(folder):
        own = request.first_weights()
        return resume(
            folder, recipe=recipe, overrides=overrides, data=data, init=own, generator=generator
        )
    files.check_output(folder)
    if files.exists(folder) and not _is_unused(folder, data.vocabulary):
        raise UserError(f"{folder} exists and is not a run's folder: choose another --output")
    if recipe is None:
        names = ", ".join(recipe_names("pretrain"))
        raise UsageError(f"A new run needs --config: {names}, or a .yaml file")
    size = data.vocabulary.size
    resolved = run_phases.resolve_phases(
        recipe, overrides, vocab_size=size, source=source, init=init, generator=generator
    )
    phases = run_phases.in_order((name, each.settings) for name, each in resolved.items())
    phases = run_phases.choose_precision(phases, accelerator=accelerator)
    wanted = phases[0].config
    if wanted.model.vocab_size != size:
        raise UserError(
            f"vocab_size is {wanted.model.vocab_size} but the data's vocabulary has {size} tokens. "
            "Remove vocab_size: it is that of the data."
        )
    return Run(
        *(folder, wanted, data.vocabulary, data.tokenizer, data.fingerprint, init),
        data=data.counts,
        phases=phases,
        recipe=pathlib.PurePath(recipe).stem,
    )


def _is_unused(folder: str, vocabulary: Vocabulary) -> bool:
    """Returns whether a folder is empty, or has the first files of a run of this vocabulary.

    The vocabulary is written before config.json.
    """
    names = {name for name in files.list_dir(folder) if not files.is_partial(name)} - {locks.LOCK}
    return not names or (names == {vocabulary.file_name} and vocabulary_of(folder) == vocabulary)


def resume(
    folder: str,
    *,
    recipe: str | None,
    overrides: Mapping[str, Any],
    data: DataSource,
    init: Init | None = None,
    generator: Init | None = None,
) -> Run:
    """Returns the run in `folder`, to be resumed; writes nothing.

    A run is resumed only with the settings, vocabulary and data that it was started with. The
    settings that change no number of the training are free. Without a recipe, the overrides change
    the run's settings; without `init` and `generator`, its sources of weights are kept.

    Raises:
      UserError: the run has other settings, vocabulary, data or first weights.
    """
    saved, vocabulary = load(folder), data.vocabulary
    _check_init(saved, init, generator)
    if recipe is None:
        phases = run_phases.override_phases(saved.phases, overrides)
    else:
        size, source, frozen = vocabulary.size, _source_size(saved), saved.generator
        resolved = run_phases.resolve_phases(
            recipe, overrides, vocab_size=size, source=source, init=saved.init, generator=frozen
        )
        phases = run_phases.in_order((name, each.settings) for name, each in resolved.items())
        sizes = (phase.config.foreign_generator for phase in saved.phases)
        foreign = next((each for each in sizes if each), None)
        if foreign is not None:
            phases = with_foreign(phases, foreign)
        phases = run_phases.keep_saved(phases, saved.phases)
    phases = run_phases.choose_precision(phases, saved.phases)
    phases = run_phases.keep_batches(phases, saved.phases)
    _check_same(saved, phases)
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
    begun = [phase.config for phase in saved.phases].index(saved.config)
    return dataclasses.replace(saved, config=phases[begun].config, phases=phases)


def _source_size(saved: Run) -> SourceSize | None:
    """Returns the meaning of `model=source` when the run was started, without its source."""
    if saved.init is None:
        return None
    config = saved.phases[0].config
    values = config.to_dict()
    keys = (
        *("generator_layers", "generator_hidden_size", "generator_heads"),
        *("untied_generator_embeddings", "gdes"),
    )
    return SourceSize(config.model, {key: values[key] for key in keys})


def _check_init(saved: Run, init: Init | None, generator: Init | None) -> None:
    if init is not None and init != saved.init:
        raise UserError(
            f"The run in {saved.folder} was started with {saved.init or 'random weights'}, not "
            f"with {init}. Remove --init to resume, or start a new run in another --output."
        )
    started = saved.generator.source if saved.generator else "none"
    if generator is not None and started != generator.source:
        raise UserError(
            f"The run in {saved.folder} was started with --generator {started}, not with "
            f"{generator.source}. Remove --generator to resume, or start a new run in another "
            "--output."
        )


def changes(saved: Run, wanted: tuple[Phase, ...]) -> dict[str, str]:
    """Returns the settings that differ from those of a run, with both values as text.

    Those that change no number of the training are not compared.
    """
    shared = {phase.name for phase in saved.phases} & {phase.name for phase in wanted}
    old, new = _flat(saved.phases, shared), _flat(wanted, shared)
    return {
        key: f"{key} {old.get(key, 'missing')} (now {new.get(key, 'missing')})"
        for key in {**old, **new}
        if old.get(key) != new.get(key) and key.rpartition(".")[2] not in FREE
    }


def _check_same(saved: Run, wanted: tuple[Phase, ...]) -> None:
    changed = changes(saved, wanted)
    if changed:
        keep, what = " --keep-optimizer", "weights and optimizer"
        corrects = any(phase.config.corrects_bias for phase in wanted)
        if corrects and any("adam_beta_" in key for key in changed):  # It would be refused.
            keep, what = "", "weights"
        raise UserError(
            f"The run in {saved.folder} was started with {few(changed.values())}. Resume it with "
            "the same settings (without --config), or start a new run in another --output; "
            f"--init {saved.folder}{keep} continues from its {what}."
        )


def _flat(phases: tuple[Phase, ...], shared: Set[str]) -> dict[str, Any]:
    """Returns the settings of the shared phases by their keys, and the steps of named others."""
    found: dict[str, Any] = {}
    for phase in phases:
        if phase.name in shared:
            found |= flat(phase.config.to_dict(), phase.prefix)
        elif phase.name:
            found[phase.prefix.rstrip(".")] = f"{phase.config.num_train_steps:,} steps"
    return found
