"""An estimate of a run: parameters, memory, disk, the time of its steps, tokens and epochs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_zh import files, machine
from electra_zh.data.build import rows, tfrecord_writer
from electra_zh.errors import counted
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.networks import of_objective
from electra_zh.pretraining.planning import speed
from electra_zh.pretraining.planning.speed import Speed
from electra_zh.pretraining.running.driver import PreparedRun
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary

_FLOAT32 = 4
_SLOTS = 2  # of the optimizer for each trained weight
# Memory that graphs and threads take, seen with nano: it does not grow with the batch.
_RUNTIME_BYTES = 250e6
_SAMPLE_EXAMPLES = 2048


class Parameters(NamedTuple):
    """Numbers of weights."""

    discriminator: int  # alone; of a masked LM its only network
    generator: int  # alone, with the heads of both its masked LM and its towers
    shared: int  # embeddings that belong to both
    trained: int  # of all of them

    @property
    def total(self) -> int:
        """All weights."""
        return self.discriminator + self.generator + self.shared


class PhaseEstimate(NamedTuple):
    """The estimate of a phase."""

    name: str
    steps: int
    speed: Speed
    tokens: int  # that the complete phase reads, padding included
    epochs: float | None  # None without data

    @property
    def hours(self) -> float:
        """Hours of all steps, without evaluations."""
        return self.steps * self.speed.seconds / 3600


class RunEstimate(NamedTuple):
    """The estimate of a run."""

    prepared: PreparedRun
    parameters: Parameters
    phases: tuple[PhaseEstimate, ...]
    load: float  # mean number of busy CPUs before it was measured

    @property
    def checkpoint_bytes(self) -> int:
        """Size of a checkpoint: weights, and the optimizer's slots."""
        return checkpoint_bytes(self.parameters)

    def to_dict(self) -> dict[str, Any]:
        """Returns the estimate as plain values."""
        kept = self.prepared.run.config.keep_checkpoint_max
        return {
            "parameters": {**self.parameters._asdict(), "total": self.parameters.total},
            "memory_bytes": _memory(self),
            "checkpoint_bytes": self.checkpoint_bytes,
            "checkpoints_bytes": kept * self.checkpoint_bytes,
            "device": str(self.prepared.device),
            "load": self.load,
            "hours": sum(phase.hours for phase in self.phases),
            "phases": [
                {**phase._asdict(), "speed": phase.speed._asdict(), "hours": phase.hours}
                for phase in self.phases
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yields the estimate as lines of at most 80 columns."""
        run, counts = self.prepared.run, self.parameters
        yield f"device       {self.prepared.device}, precision={run.config.precision}"
        yield parameters_line(counts)
        memory = {name: size(each) for name, each in _memory(self).items()}
        rest = memory.pop("activations")
        shown = ", ".join(f"{name} {each}" for name, each in memory.items())
        yield f"memory       {shown}"
        yield f"             activations about {rest} (an estimate, from the measured peak)"
        kept, each = run.config.keep_checkpoint_max, self.checkpoint_bytes
        yield f"checkpoints  {size(each)} each, {size(kept * each)} for the {kept} that are kept"
        for phase, part in zip(self.phases, self.prepared.phases, strict=True):
            yield from _phase_lines(phase, part.phase.config)
        if len(self.phases) > 1:
            yield f"all phases   {duration(sum(phase.hours for phase in self.phases))}"
        if self.load > 0.5 * machine.usable_cpus():
            yield f"note: other processes use the CPUs (load {self.load:.1f}): repeat without them"


def estimate(prepared: PreparedRun, *, has_data: bool, seconds: float = 10.0) -> RunEstimate:
    """Returns the estimate of a new run, and measures its steps for about `seconds` per phase."""
    phases, load = [], os.getloadavg()[0]
    for part in prepared.phases:
        config = part.phase.config
        phases.append(
            PhaseEstimate(
                part.phase.name,
                config.num_train_steps,
                speed.measure(prepared, part, seconds=seconds),
                part.sequences * config.max_seq_length,
                part.epochs if has_data else None,
            )
        )
    counts = most_parameters(part.phase.config for part in prepared.phases)
    return RunEstimate(prepared, counts, tuple(phases), load)


def count_parameters(config: PretrainConfig) -> Parameters:
    """Returns the numbers of weights of a run's networks, without making them."""
    networks = of_objective(config)
    sizes = {name: math.prod(shape) for name, shape in networks.shapes(config).items()}
    has_generator = networks.generator is not None or networks.towers is not None
    own = ("generator", "cloze_head/", *(("masked_lm_head/",) if has_generator else ()))
    generator = sum(size for name, size in sizes.items() if name.startswith(own))
    shared = 0
    if has_generator and not config.has_own_generator_embeddings:
        embeddings = "encoder/embeddings/"
        shared = sum(size for name, size in sizes.items() if name.startswith(embeddings))
    trained = sum(size for name, size in sizes.items() if config.trains(name))
    return Parameters(sum(sizes.values()) - generator - shared, generator, shared, trained)


def most_parameters(phases: Iterable[PretrainConfig]) -> Parameters:
    """Returns the numbers of weights of the phase with the largest checkpoint."""
    return max(map(count_parameters, phases), key=checkpoint_bytes)


def parameters_line(counts: Parameters) -> str:
    """Returns the numbers of weights as a line."""
    parts = [("discriminator", counts.discriminator), ("generator", counts.generator)]
    if counts.generator or counts.shared:
        parts.append(("shared", counts.shared))
    shown = ", ".join(f"{name} {_millions(count)}" for name, count in parts if count)
    return f"parameters   {_millions(counts.total)}: {shown}"


def checkpoint_bytes(counts: Parameters) -> int:
    """Returns the size of a checkpoint of a run with these weights."""
    return _FLOAT32 * (counts.total + _SLOTS * counts.trained)


def _memory(found: RunEstimate) -> Mapping[str, int]:
    """Returns the bytes of memory by their use."""
    counts = found.parameters
    parts = 1 if found.prepared.device.found else machine.side_by_side()
    known = {
        "weights": _FLOAT32 * counts.total,
        "optimizer": _FLOAT32 * _SLOTS * counts.trained,
        "gradients": _FLOAT32 * counts.trained * parts,
    }
    activations = 0.0
    for phase, part in zip(found.phases, found.prepared.phases, strict=True):
        measured, config = phase.speed, part.phase.config
        rest = max(0.0, measured.peak_bytes - sum(known.values()) - _RUNTIME_BYTES)
        if measured.sequences < config.train_batch_size:  # all of them at once
            at_once = config.train_batch_size // config.gradient_accumulation_steps
            rest *= at_once / measured.sequences
        activations = max(activations, rest)
    return {**known, "activations": round(activations)}


def _phase_lines(phase: PhaseEstimate, config: PretrainConfig) -> Iterator[str]:
    measured, speed_of = phase.speed, phase.tokens / phase.steps / phase.speed.seconds
    if phase.name:
        yield f"phase {phase.name}:"
    how = f"measured on {counted(measured.steps, 'step')}"
    if measured.sequences < config.train_batch_size:
        how = f"scaled from {measured.sequences} of {config.train_batch_size} sequences"
    yield f"step         {measured.seconds:.3g} s ({how}), {speed_of:,.0f} tokens/s"
    epochs = "" if phase.epochs is None else f", {phase.epochs:,.2f} epochs"
    read = f"{phase.tokens / 1e6:,.1f} million tokens{epochs}"
    yield f"training     {phase.steps:,} steps, {read}"
    yield f"             {duration(phase.hours)}, without evaluations"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M"


def size(number: int) -> str:
    """Returns a number of bytes as text."""
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def duration(hours: float) -> str:
    """Returns a number of hours as text."""
    days = f" ({hours / 24:,.1f} days)" if hours >= 48 else ""
    return f"{hours:,.1f} hours{days}" if hours >= 1 else f"{60 * hours:.1f} minutes"


def write_sample(folder: str, *, vocab_size: int, max_seq_length: int) -> str:
    """Writes data of random tokens, to measure without a corpus; returns the vocabulary's path."""
    files.make_dirs(folder)
    path = files.join(folder, "sample-vocab.txt")
    others = (f"token{number}" for number in range(vocab_size - len(SPECIAL_TOKENS)))
    Vocabulary([*SPECIAL_TOKENS, *others]).save(path)
    random = np.random.default_rng(0)
    dtype = rows.row_dtype(vocab_size, max_seq_length, words=True)
    table = np.empty((_SAMPLE_EXAMPLES, rows.row_width(max_seq_length)), dtype)
    table[:, 0], table[:, 1] = max_seq_length, max_seq_length // 2
    shape = (_SAMPLE_EXAMPLES, max_seq_length)
    table[:, 2:] = random.integers(len(SPECIAL_TOKENS), vocab_size, shape)
    data = tfrecord_writer.encode_rows(table, words=True)
    with files.atomic_write(files.join(folder, "sample.tfrecord")) as file:
        file.write(data)
    return path
