"""Phases of a run: stretches of its steps with settings of their own, in one folder.

    model: base
    masking: whole_word
    phases:
      - {name: short, num_train_steps: 90_000, max_seq_length: 128}
      - {name: long, num_train_steps: 10_000, max_seq_length: 512, learning_rate: 5e-5}

A phase has a name, its steps, and any settings of a run but the size of the model and the seed. Its
warm-up and schedule, its order of the data and its random draws begin with it: it draws from a seed
of its own. Weights and the optimizer's moments carry over (`warm_start.carried_weights`). This
module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import logging

from electra_zh import files, machine
from electra_zh.errors import UsageError, UserError, did_you_mean
from electra_zh.pretraining.config import (
    Idle,
    Init,
    PretrainConfig,
    SourceSize,
    idle_rules,
    override,
    resolve,
)
from electra_zh.settings import COMMAND_LINE, Layer, Resolved, load_recipe
from electra_zh.training import schedules

_KEY = re.compile(r"phases\.([^.]+)\.(.+)")
_NAME = re.compile(r"[A-Za-z0-9_-]+")
# Between the seeds of a run's phases: further apart than the seeds that people try.
_SEED_STRIDE = 100_000
# Settings that a run has one of.
_OF_RUN = ("seed", "budget_hours")
# Settings of the model that may differ between phases: they have no variables.
_FREE_SIZES = ("hidden_dropout_prob", "attention_probs_dropout_prob")


class Phase(NamedTuple):
    """A phase of a run; a run without phases has one without a name."""

    name: str
    config: PretrainConfig  # its settings; num_train_steps are its own steps
    first_step: int = 0  # steps of the run before it

    @property
    def last_step(self) -> int:
        """The run's step at its end."""
        return self.first_step + self.config.num_train_steps

    @property
    def prefix(self) -> str:
        """The beginning of its settings' keys on the command line; empty without a name."""
        return f"phases.{self.name}." if self.name else ""

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate of the run's update number `step`, counted from 1."""
        return float(learning_rate(self.config, step - self.first_step))


def learning_rate(config: PretrainConfig, step: Any) -> Any:
    """Returns the learning rate of a phase's update number `step`; see `schedules`."""
    return schedules.learning_rate(
        step,
        config.learning_rate,
        num_train_steps=config.num_train_steps,
        num_warmup_steps=config.num_warmup_steps,
        schedule=config.lr_schedule,
        power=config.lr_decay_power,
        fraction=config.lr_decay_fraction,
    )


def in_order(named: Iterable[tuple[str, PretrainConfig]]) -> tuple[Phase, ...]:
    """Returns phases one after the other."""
    phases: list[Phase] = []
    for name, config in named:
        phases.append(Phase(name, config, phases[-1].last_step if phases else 0))
    return tuple(phases)


def at_step(phases: Sequence[Phase], step: int) -> Phase:
    """Returns the phase that a checkpoint of `step` belongs to: at a border the one that ends."""
    return next((phase for phase in phases if step <= phase.last_step), phases[-1])


def resolve_phases(
    recipe: str,
    overrides: Mapping[str, Any],
    *,
    vocab_size: int,
    source: SourceSize | None = None,
    init: Init | None = None,
    generator: Init | None = None,
) -> dict[str, Resolved[PretrainConfig]]:
    """Resolves a recipe's phases by their names; the name of a recipe without phases is empty.

    The arguments are those of `config.resolve`. Overrides are for all phases, or for one as
    `phases.NAME.key`.

    Raises:
      UsageError: an unknown phase, recipe or key.
      UserError: a value that is not allowed, or phases that contradict each other.
    """
    listed = _listed(recipe)
    found: dict[str, Resolved[PretrainConfig]] = {}
    for index, (name, given) in enumerate(
        _split(overrides, list(listed), f"recipe {recipe}").items()
    ):
        values = listed[name]
        if name:
            _check_keys(f"Recipe {recipe}: phase {name}", values, given)
        resolved = resolve(
            recipe,
            given,
            vocab_size=vocab_size,
            source=source,
            init=init,
            generator=generator,
            phase=Layer(f"phase {name}", values),
        )
        if index:
            seed = resolved.settings.seed + index * _SEED_STRIDE
            settings = dataclasses.replace(resolved.settings, seed=seed)
            origins = {**resolved.origins, "seed": f"phase {name}"}
            resolved = dataclasses.replace(resolved, settings=settings, origins=origins)
        found[name] = resolved
    _check_models({name: each.settings for name, each in found.items()}, recipe)
    _check_effects(list(found.values()), idle_rules(has_generator=generator is not None))
    for note in dict.fromkeys(note for each in found.values() for note in each.notes):
        logging.info("%s", note)
    return found


def _check_keys(where: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Checks the keys of a phase in a recipe, and those that are given for it."""
    if "num_train_steps" not in {*values, *given}:
        raise UserError(f"{where} has no num_train_steps: add it")
    for key in (*_OF_RUN, "phases"):
        if key in values:
            raise UserError(f"{where}: remove {key}: the run has one")


def _check_effects(phases: Sequence[Resolved[PretrainConfig]], rules: Iterable[Idle]) -> None:
    """Refuses a setting that has no effect in any phase that it is given for."""
    for key, condition, without, flag in rules:
        default = getattr(PretrainConfig, key)
        for origin in {phase.origin(key) for phase in phases}:
            given = [each for each in phases if each.origin(key) == origin]
            given = [each for each in given if getattr(each.settings, key) != default]
            idle = [each for each in given if getattr(each.settings, condition) in without]
            if idle and len(idle) == len(given):
                where = "" if origin == COMMAND_LINE else f"{origin}: "
                value = str(getattr(idle[0].settings, condition)).lower()
                other, others = f"{condition}={value}", f", or choose another {condition}"
                if flag:
                    other, others = flag, ""
                raise UsageError(f"{where}{key} has no effect with {other}: remove it{others}")


def override_phases(phases: Sequence[Phase], overrides: Mapping[str, Any]) -> tuple[Phase, ...]:
    """Returns the phases of a run with overrides, which are for all or for one."""
    given = _split(overrides, [phase.name for phase in phases], "the run")
    changed = []
    for index, phase in enumerate(phases):
        config = override(phase.config, given[phase.name])
        if "seed" in given[phase.name]:
            config = dataclasses.replace(config, seed=config.seed + index * _SEED_STRIDE)
        changed.append((phase.name, config))
    return in_order(changed)


def keep_saved(phases: Sequence[Phase], saved: Sequence[Phase]) -> tuple[Phase, ...]:
    """Returns the phases with the run's values of settings that a recipe cannot know.

    They are the steps that the same budget gave when the run was started, and settings without
    effect: earlier versions saved those of the recipe.
    """

    def known_values(wanted: PretrainConfig, known: PretrainConfig) -> dict[str, Any]:
        keys = [key for key in wanted.idle if key in known.idle]
        if known.budget_hours and wanted.budget_hours == known.budget_hours:
            keys += ["num_train_steps", "num_warmup_steps"]
        return {key: getattr(known, key) for key in keys}

    return _with_saved(phases, saved, known_values)


def compiled_folder(folder: str | None, name: str) -> str | None:
    """Returns the folder of the compiled step of a phase in that of a recipe."""
    return files.join(folder, name) if folder and name else folder


def keep_batches(phases: Sequence[Phase], saved: Sequence[Phase]) -> tuple[Phase, ...]:
    """Returns the phases with the batches that `train_batch_size=auto` gave the run first."""
    return _with_saved(
        phases,
        saved,
        lambda wanted, known: {
            "train_batch_size": wanted.train_batch_size or known.train_batch_size
        },
    )


def choose_precision(
    phases: Sequence[Phase], saved: Sequence[Phase] = (), *, accelerator: bool = False
) -> tuple[Phase, ...]:
    """Returns the phases with the compute type that `precision=auto` means.

    It is that of the phase in `saved`, chosen when the run was started, perhaps on another machine;
    for a new run this machine's, which is bfloat16 on an accelerator.
    """
    known = {phase.name: phase.config.precision for phase in saved}

    def settings(phase: Phase) -> PretrainConfig:
        wanted = phase.config.precision
        if wanted == "auto":
            chosen = known.get(phase.name, "bfloat16" if accelerator else "auto")
            wanted = machine.compute_type(chosen)
        return dataclasses.replace(phase.config, precision=wanted)

    return in_order((phase.name, settings(phase)) for phase in phases)


def _with_saved(
    phases: Sequence[Phase],
    saved: Sequence[Phase],
    keep: Callable[[PretrainConfig, PretrainConfig], Mapping[str, Any]],
) -> tuple[Phase, ...]:
    """Returns the phases with the settings that `keep` chooses from theirs and those of the run."""
    known = {phase.name: phase.config for phase in saved}
    return in_order(
        (name, dataclasses.replace(config, **keep(config, known.get(name, config))))
        for name, config, _ in phases
    )


def to_plain(phases: Sequence[Phase]) -> list[dict[str, Any]]:
    """Returns phases as plain values, for config.json."""
    return [{"name": phase.name, "settings": phase.config.to_dict()} for phase in phases]


def from_plain(values: Any, *, where: str) -> tuple[Phase, ...]:
    """Returns the phases of plain values; `where` names their origin."""
    try:
        named = [(str(value["name"]), dict(value["settings"])) for value in values]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{where}: `phases` is damaged") from None
    return in_order(
        (name, PretrainConfig.from_dict(settings, where=f"{where}: phase {name}"))
        for name, settings in named
    )


def _listed(recipe: str) -> dict[str, Mapping[str, Any]]:
    """Returns the values of a recipe's phases by their names."""
    phases = load_recipe(recipe, kind="pretrain").get("phases")
    if phases is None:
        return {"": {}}
    where = f"Recipe {recipe}: `phases`"
    if not isinstance(phases, list) or not phases:
        raise UserError(f"{where} must be a list of mappings with a name; received {phases!r}")
    found: dict[str, Mapping[str, Any]] = {}
    for number, phase in enumerate(phases, start=1):
        name = str(phase.get("name", "")) if isinstance(phase, Mapping) else ""
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{where}: number {number} must be a mapping with a `name` of letters, digits, _ "
                f"and -; received {phase!r}"
            )
        if name in found:
            raise UserError(f"{where}: the name {name} is a duplicate: choose another one")
        found[name] = {key: value for key, value in phase.items() if key != "name"}
    return found


def _split(
    overrides: Mapping[str, Any], names: Sequence[str], where: str
) -> dict[str, dict[str, Any]]:
    """Returns the overrides of each phase by its name: those for all, then its own."""
    common = {key: value for key, value in overrides.items() if not key.startswith("phases.")}
    found = {name: dict(common) for name in names}
    for key, value in overrides.items():
        match = _KEY.fullmatch(key)
        if match and match[1] in found:
            if match[2] in _OF_RUN:
                raise UsageError(f"{key}: the run has one {match[2]}: give it for all phases")
            found[match[1]][match[2]] = value
        elif key not in common:
            known = f"its phases are {', '.join(names)}" if any(names) else "it has no phases"
            hint = did_you_mean(match[1], names) if match else " Write phases.NAME.key=value."
            raise UsageError(f"{key} names no phase of {where}: {known}.{hint}")
    return found


def _check_models(configs: Mapping[str, PretrainConfig], recipe: str) -> None:
    """Checks that all phases train a model of one size."""

    def size(config: PretrainConfig) -> dict[str, Any]:
        values = dataclasses.asdict(config.model)
        return {key: value for key, value in values.items() if key not in _FREE_SIZES}

    first, *others = configs
    for name in others:
        old, new = size(configs[first]), size(configs[name])
        different = [key for key in old if old[key] != new[key]]
        if different:
            key = different[0]
            raise UserError(
                f"Recipe {recipe}: {key} is {old[key]} in phase {first} and {new[key]} in phase "
                f"{name}: the model's size is that of the run; give it outside of the phases"
            )
