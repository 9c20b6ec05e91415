"""The data of a run: folders of its phases, and held-out data. TensorFlow is not imported."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from absl import logging

from electra_zh import files
from electra_zh.data import pipeline
from electra_zh.data.cutting import SENTENCE_ENDS
from electra_zh.data.manifest import WeightedFolder
from electra_zh.data.mixed_folders import Mix, choose_by_length
from electra_zh.data.source import open_data_source
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.phases import Phase
from electra_zh.pretraining.request import PretrainRequest


class PreparedPhase(NamedTuple):
    """A phase with its data."""

    phase: Phase
    mix: Mix  # the training data
    eval_shards: tuple[pipeline.Shard, ...] | None  # of the held-out data; None for none

    @property
    def examples(self) -> int:
        """Number of training examples."""
        return sum(shard.examples for shard in self.mix.shards)

    @property
    def sequences(self) -> int:
        """Sequences that the complete phase reads."""
        return self.phase.config.num_train_steps * self.phase.config.train_batch_size

    @property
    def epochs(self) -> float:
        """Epochs of the complete phase: each is one pass through the data."""
        return self.sequences / self.examples

    def plan(self) -> str:
        """Returns the plan of the training as a line."""
        name, config = self.phase.name, self.phase.config
        settings = ""
        if name:
            settings = (
                f" of length {config.max_seq_length}, objective={config.objective}, "
                f"masking={config.masking}, learning_rate={config.learning_rate:g}"
            )
        return (
            f"{f'phase {name}' if name else 'training'}: {config.num_train_steps:,} steps of "
            f"{config.train_batch_size:,} sequences{settings}, {self.epochs:,.2f} epochs{self.cut}"
        )

    @property
    def cut(self) -> str:
        """The cutting of longer examples, as the end of a sentence; empty without."""
        cutting = self.mix.shards[0].cutting
        return f", cut from length {cutting.stored_length}" if cutting else ""


def open_shards(
    run: Run, data: str, *, on_damage: pipeline.OnDamage | None = None
) -> tuple[pipeline.Shard, ...]:
    """Opens data for a run, with the words that the masking needs; longer examples are cut."""
    tokens = {token: index for index, token in enumerate(run.vocabulary.tokens)}
    return pipeline.open_shards(
        data,
        max_seq_length=run.config.max_seq_length,
        words=run.config.needs_words,
        sentence_ends=tuple(tokens[token] for token in SENTENCE_ENDS if token in tokens),
        on_damage=on_damage,
    )


def open_held_out(
    run: Run, folders: Sequence[str], *, on_damage: pipeline.OnDamage | None = None
) -> tuple[pipeline.Shard, ...]:
    """Opens folders that must also have the vocabulary and tokenizer of a run."""
    shards: tuple[pipeline.Shard, ...] = ()
    for data in folders:
        open_data_source(data, default=run.vocabulary).check_fits(run.vocabulary, run.tokenizer)
        shards += open_shards(run, data, on_damage=on_damage)
    return shards


def open_phases(
    run: Run,
    data: Sequence[WeightedFolder],
    held_out: tuple[str, ...],
    on_damage: pipeline.OnDamage | None,
) -> Iterator[PreparedPhase]:
    """Yields the phases of a run with their data, by the lengths of their sequences."""
    lengths = [phase.config.max_seq_length for phase in run.phases]
    chosen = choose_by_length(data, lengths)
    chosen_held_out = choose_by_length([WeightedFolder(path) for path in held_out], lengths)
    for phase, folders, others in zip(run.phases, chosen, chosen_held_out, strict=True):
        in_phase = run.in_phase(phase)
        opening = functools.partial(open_shards, in_phase, on_damage=on_damage)
        mix = Mix(folders, opening, seed=phase.config.seed)
        paths, eval_shards = [each.folder for each in others], None
        if paths:
            eval_shards = open_held_out(in_phase, paths, on_damage=on_damage)
        yield PreparedPhase(phase, mix, eval_shards)


def with_data(run: Run, request: PretrainRequest) -> tuple[Run, tuple[str, ...]]:
    """Returns the run with the folders of its data, and those of held-out data to evaluate."""
    given = tuple(request.eval_folders())
    data = [str(each._replace(folder=files.absolute(each.folder))) for each in request.folders()]
    held_out = _find_held_out(run, given)
    kept = tuple(map(files.absolute, given)) or run.eval_data
    return dataclasses.replace(run, train_data=tuple(data), eval_data=kept), held_out


def _find_held_out(run: Run, given: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the held-out data of the command line, or else those that the run had before."""
    missing = [path for path in run.eval_data if not files.exists(path)]
    if missing and not given:
        logging.warning(
            "The run's held-out data in %s is missing: the run is resumed without evaluation. Give "
            "--eval-data DIR to evaluate.",
            missing[0],
        )
        return ()
    return given or run.eval_data


def evaluation_batches(
    config: PretrainConfig,
    shards: tuple[pipeline.Shard, ...],
    *,
    max_batches: int,
    on_damage: pipeline.OnDamage | None = None,
) -> pipeline.OnePass:
    """Returns the batches of an evaluation.

    They are at most `max_batches`, 0 for all, without a last partial batch. Less than one batch of
    data is one smaller batch.
    """
    batch_size = min(config.eval_batch_size, sum(shard.examples for shard in shards))
    reading = pipeline.Reading(config.max_seq_length, config.needs_words, on_damage)
    return pipeline.OnePass(shards, reading, batch_size, max_batches=max_batches or None)
