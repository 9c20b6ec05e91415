"""The step of a recipe or of a program, compiled for devices that this machine need not have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from electra_zh import machine
from electra_zh.data.manifest import WeightedFolder
from electra_zh.data.mixed_folders import open_sources
from electra_zh.errors import UsageError
from electra_zh.pretraining import phases
from electra_zh.pretraining.folder import load
from electra_zh.pretraining.phases import Phase
from electra_zh.pretraining.programs.exported import load_step
from electra_zh.runtime.ahead import Compiled, compile_for
from electra_zh.runtime.targets import Target
from electra_zh.text.settings import USUAL_SIZE
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary

_GB = 1e9


class CompiledPhase(NamedTuple):
    """A phase of a recipe, and its compiled step."""

    phase: Phase
    target: Target
    compiled: Compiled

    @property
    def peak(self) -> float:
        """Floating-point operations per second of a device at its peak; 0 if unknown."""
        chip, devices = self.target.chip, self.compiled.devices
        is_full = self.phase.config.precision == "float32"
        return (chip.float32 if is_full else chip.bfloat16) * self.target.chips / devices

    @property
    def capacity(self) -> float:
        """Bytes of a device; 0 if unknown."""
        return self.target.chip.memory * self.target.chips / self.compiled.devices

    def lines(self) -> list[str]:
        """Returns the figures as lines for people."""
        config, found = self.phase.config, self.compiled
        name = f"phase {self.phase.name}: " if self.phase.name else ""
        of_chip = f" of {self.capacity / _GB:.1f}" if self.capacity else ""
        parts = {"state": found.state, "temporary": found.temporary, "code": found.code}
        listed = ", ".join(f"{what} {size / _GB:.3f}" for what, size in parts.items())
        exchanges = [
            f"{each.number} {kind}, {each.bytes / 1e6:.1f} MB"
            for kind, each in found.collectives.items()
        ]
        lines = [
            f"{name}{config.train_batch_size} sequences of length {config.max_seq_length}, "
            f"{config.precision}, on {found.devices} x {self.target.name}",
            f"compiled in {found.seconds:.0f} s",
            f"memory of a device: {found.memory / _GB:.3f}{of_chip} GB ({listed})",
            f"exchanges in a step: {'; '.join(exchanges) or 'none'}",
            f"operations of a device in a step: {found.flops / 1e9:.1f} GFLOP",
        ]
        if self.peak:
            lines[-1] += (
                f", at least {1e3 * found.flops / self.peak:.2f} ms at {self.peak / 1e12:.0f} "
                "TFLOP/s"
            )
        if self.capacity and found.memory > self.capacity:
            lines.append(
                "The step does not fit in memory: lower train_batch_size, or use "
                "gradient_accumulation_steps, recompute or state_sharding"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures as plain values."""
        found = self.compiled._asdict()
        collectives = {kind: each._asdict() for kind, each in self.compiled.collectives.items()}
        return {
            **found,
            "phase": self.phase.name,
            "collectives": collectives,
            "capacity": self.capacity,
            "peak_flops": self.peak,
        }


def compile_recipe(
    recipe: str,
    overrides: Mapping[str, Any],
    target: Target,
    *,
    data: Sequence[WeightedFolder] = (),
    output: str | None = None,
) -> Iterator[CompiledPhase]:
    """Compiles the step of each phase of a recipe, for the vocabulary of `data`.

    The compiled steps are kept in the folder `output`, those of several phases in one of each.

    Raises:
      UserError: a setting is not allowed, or the compiler refuses the step.
    """
    from electra_zh.pretraining.programs import fitting
    from electra_zh.pretraining.programs.lower import lower_step
    from electra_zh.pretraining.state import TrainState

    known = open_sources(data).vocabulary if data else None
    size = known.size if known else USUAL_SIZE
    resolved = phases.resolve_phases(recipe, overrides, vocab_size=size)
    found = phases.in_order((name, each.settings) for name, each in resolved.items())
    found = phases.choose_precision(found, accelerator=target.chip.platform != "cpu")
    devices = target.devices()
    for phase in found:
        _check_output(phases.compiled_folder(output, phase.name))
    memory = target.chip.memory * target.chips or machine.memory().total
    for phase in found:
        vocabulary = known or made_up(phase.config.model.vocab_size)
        phase = fitting.fit(phase, vocabulary, devices, memory / len(devices))
        config = phase.config
        compiled = compile_for(
            target.name,
            devices,
            lower_step(TrainState(config, vocabulary, first_step=phase.first_step)),
            state_sharding=config.state_sharding,
            output=phases.compiled_folder(output, phase.name),
        )
        yield CompiledPhase(phase, target, compiled)


def compile_program(
    folder: str, overrides: Mapping[str, Any], target: Target, *, output: str | None = None
) -> Iterator[CompiledPhase]:
    """Compiles the steps of an exported run, without TensorFlow, as `compile_recipe` does.

    `overrides` may have `state_sharding` alone.

    Raises:
      UserError: a setting is part of the program, or the compiler refuses the step.
    """
    others = sorted(key for key in overrides if key.rpartition(".")[2] != "state_sharding")
    if others:
        raise UsageError(f"{others[0]} is part of the program: give it to electra-zh export-step")
    devices, found = target.devices(), phases.override_phases(load(folder).phases, overrides)
    for phase in found:
        _check_output(phases.compiled_folder(output, phase.name))
    for phase in found:
        compiled = compile_for(
            target.name,
            devices,
            load_step(folder, phase.name),
            state_sharding=phase.config.state_sharding,
            output=phases.compiled_folder(output, phase.name),
        )
        yield CompiledPhase(phase, target, compiled)


def _check_output(folder: str | None) -> None:
    from electra_zh.runtime import kept_steps

    if folder is not None:
        kept_steps.check_output(folder)


def made_up(size: int) -> Vocabulary:
    """Returns a vocabulary of a size, for recipes without data."""
    words = [f"[unused{number}]" for number in range(size)]
    return Vocabulary([*SPECIAL_TOKENS, *words][:size])
