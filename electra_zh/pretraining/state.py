"""What a run trains and saves, and how it is restored for use."""

from __future__ import annotations

import functools

import tensorflow as tf

from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.masking import SpecialIds
from electra_zh.pretraining.objectives import Electra, MaskedLM, build_objective
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training import checkpoints, schedules
from electra_zh.training.optimizers import AdamWeightDecay, Lamb


class TrainState(tf.Module):
    """Everything that a checkpoint holds: the networks, the optimizer's slots and its step.

    The position in the data needs no variable: it is step times batch size.
    """

    def __init__(self, config: PretrainConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.objective = make_objective(config, vocabulary)
        schedule = functools.partial(
            schedules.warmup_polynomial,
            peak=config.learning_rate,
            num_train_steps=config.num_train_steps,
            num_warmup_steps=config.num_warmup_steps,
            power=config.lr_decay_power,
        )
        kind = Lamb if config.optimizer == "lamb" else AdamWeightDecay
        self.optimizer = kind(
            self.objective.trainable_variables,
            schedule,
            weight_decay_rate=config.weight_decay_rate,
        )


def make_objective(config: PretrainConfig, vocabulary: Vocabulary) -> Electra | MaskedLM:
    """Returns the networks with their initial weights."""
    special = SpecialIds(
        pad=vocabulary.pad_id, cls=vocabulary.cls_id, sep=vocabulary.sep_id, mask=vocabulary.mask_id
    )
    return build_objective(config, special)


def restore_objective(run: Run, *, checkpoint: int | None = None) -> Electra | MaskedLM:
    """Returns a run's networks with the weights of its newest checkpoint, or of a step.

    Raises:
      UserError: there is no such checkpoint, or it cannot be read.
    """
    objective = make_objective(run.config, run.vocabulary)
    path = checkpoints.find(run.checkpoints, step=checkpoint)
    # The networks alone: whoever looks at a run needs no optimizer slots.
    state = tf.Module()
    state.objective = objective
    checkpoints.restore(tf.train.Checkpoint(state=state), path)
    return objective
