"""An estimate of a run on devices that this machine need not have, by the compiler's figures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from electra_zh.pretraining.planning.estimate import (
    Parameters,
    checkpoint_bytes,
    duration,
    most_parameters,
    parameters_line,
    size,
)
from electra_zh.pretraining.programs.compiling import CompiledPhase

# Fractions of the chip's peak that steps may reach; docs/results.md has measured ones.
FRACTIONS = (0.2, 0.4, 0.6)


class AheadEstimate(NamedTuple):
    """The estimate of a run from the compiled steps of its phases."""

    phases: tuple[CompiledPhase, ...]

    @property
    def _counts(self) -> Parameters:
        return most_parameters(each.phase.config for each in self.phases)

    def _hours(self, fraction: float) -> float:
        return sum(
            phase.phase.config.num_train_steps * _seconds(phase, fraction) / 3600
            for phase in self.phases
        )

    def lines(self) -> Iterator[str]:
        """Yields the estimate as lines."""
        first = self.phases[0]
        config, counts = first.phase.config, self._counts
        yield (
            f"device       {first.compiled.devices} x {first.target.name}, compiled for, "
            f"precision={config.precision}"
        )
        yield parameters_line(counts)
        kept, each = config.keep_checkpoint_max, checkpoint_bytes(counts)
        yield f"checkpoints  {size(each)} each, {size(kept * each)} for the {kept} that are kept"
        for phase in self.phases:
            yield from _phase_lines(phase)
        hours = ", ".join(
            f"{duration(self._hours(fraction))} at {fraction:.0%}" for fraction in FRACTIONS
        )
        yield f"time         {hours} of the peak, without evaluations"

    def to_dict(self) -> dict[str, Any]:
        """Returns the estimate as plain values."""
        counts = self._counts
        return {
            "parameters": {**counts._asdict(), "total": counts.total},
            "checkpoint_bytes": checkpoint_bytes(counts),
            "hours": {str(fraction): self._hours(fraction) for fraction in FRACTIONS},
            "phases": [
                {**phase.to_dict(), "steps": phase.phase.config.num_train_steps}
                for phase in self.phases
            ],
        }


def _seconds(phase: CompiledPhase, fraction: float = 1.0) -> float:
    """Returns the seconds of a step at a fraction of the peak."""
    return phase.compiled.flops / phase.peak / fraction


def _phase_lines(phase: CompiledPhase) -> Iterator[str]:
    found, config = phase.compiled, phase.phase.config
    if phase.phase.name:
        yield f"phase {phase.phase.name}:"
    parts = {"state": found.state, "temporary": found.temporary, "code": found.code}
    shown = ", ".join(f"{name} {size(each)}" for name, each in parts.items() if each)
    yield f"memory       {size(found.memory)} of {size(round(phase.capacity))} of a device: {shown}"
    if found.memory > phase.capacity:
        yield "             it does not fit: lower train_batch_size, or see docs/accelerators"
    yield (
        f"step         {found.flops / 1e12:.3g} TFLOP of a device, {1e3 * _seconds(phase):.3g} ms "
        f"at its peak of {phase.peak / 1e12:.0f} TFLOP/s"
    )
    tokens = config.num_train_steps * config.train_batch_size * config.max_seq_length
    yield (
        f"training     {config.num_train_steps:,} steps of {config.train_batch_size} x "
        f"{config.max_seq_length}, {tokens / 1e6:,.1f} million tokens"
    )
