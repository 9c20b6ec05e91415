"""What a fine-tuning starts from: a run, a fine-tuned model, or a model of another tool."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from electra_zh import files
from electra_zh.convert import model_folder, source
from electra_zh.convert.weights import Weights
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.models.encoder import Encoder
from electra_zh.models.weight_names import variable_name
from electra_zh.text.characters import TokenizerSettings
from electra_zh.text.tokenizer import Tokenizer, make_tokenizer
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training import checkpoints


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder on disk.

    Attributes:
      path: the folder, or the prefix of a TF1 checkpoint.
      model: the encoder's size.
      vocabulary: its tokens.
      tokenizer: how its text was tokenized.
      checkpoint: the checkpoint's path; "" for random weights.
      fine_tuned: the folder is a fine-tuned model's, not a pretraining run's.
      weights: of a model of another tool; None for our own, which `checkpoint` holds.
    """

    path: str
    model: ModelConfig
    vocabulary: Vocabulary
    tokenizer: TokenizerSettings
    checkpoint: str
    fine_tuned: bool
    weights: Weights | None = dataclasses.field(default=None, repr=False, compare=False)

    def make_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer of its vocabulary and settings."""
        return make_tokenizer(self.vocabulary, self.tokenizer)

    def with_dropout(self, rate: float | None) -> Pretrained:
        """Returns the same start with this rate of all dropout; None keeps the model's own."""
        if rate is None:
            return self
        model = dataclasses.replace(
            self.model, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate
        )
        return dataclasses.replace(self, model=model)

    def restore(self, encoder: Encoder) -> None:
        """Puts the pretrained weights into the encoder; does nothing for random weights.

        Raises:
          UserError: the checkpoint cannot be read or does not fit.
        """
        if not self.checkpoint:
            return
        tensors: Mapping[str, np.ndarray]
        if self.weights is not None:
            tensors = self.weights.tensors
        else:
            tensors = checkpoints.read(self.checkpoint, optimizer=False).model
        variables = {variable_name(value.name): value for value in encoder.trainable_variables}
        checkpoints.assign(variables, tensors, where=self.checkpoint)

    def identity(self) -> dict[str, Any]:
        """Returns what tells this start from another, as a run's settings keep it."""
        return {
            "path": self.path,
            "checkpoint": self.checkpoint.rpartition("/")[2],
            "vocabulary": self.vocabulary.sha256,
            "model": dataclasses.asdict(self.model),
        }


def load_pretrained(
    path: str, *, checkpoint: int | None = None, from_scratch: bool = False
) -> Pretrained:
    """Reads what a fine-tuning starts from.

    Args:
      path: the folder of a run or of a fine-tuned model, or a model of another tool
        (`convert.source.open_source`).
      checkpoint: step of a kept checkpoint; the newest unless given.
      from_scratch: leave the weights random: the same network without pretraining, to compare with.

    Raises:
      UserError: it is none of these, or has no such checkpoint.
    """
    if not model_folder.is_model_folder(path):
        return _foreign_start(path, checkpoint=checkpoint, from_scratch=from_scratch)
    saved = model_folder.load(path)
    folder = files.join(path, "checkpoints")
    return Pretrained(
        path=path,
        model=saved.model(where=model_folder.config_path(path)),
        vocabulary=saved.vocabulary,
        tokenizer=saved.tokenizer,
        checkpoint="" if from_scratch else checkpoints.find(folder, step=checkpoint),
        fine_tuned=saved.fine_tuned,
    )


def _foreign_start(path: str, *, checkpoint: int | None, from_scratch: bool) -> Pretrained:
    """Returns the encoder of a model of another tool; the log says what of it is used."""
    try:
        weights = source.open_source(path, checkpoint=checkpoint)
    except UserError as error:
        raise UserError(f"--model {error}") from None
    if weights.vocabulary is None:
        raise UserError(
            f"--model {path} has no vocabulary: put its vocab.txt beside it (or spm.model)"
        )
    for line in weights.lines():
        logging.info("%s", line)
    encoder = weights.part("encoder")
    others = len(weights.tensors) - len(encoder)
    logging.info("the encoder's %d tensors are used, %d others are not", len(encoder), others)
    return Pretrained(
        path=path,
        model=weights.model,
        vocabulary=weights.vocabulary,
        tokenizer=weights.tokenizer,
        checkpoint="" if from_scratch else weights.path,
        fine_tuned=False,
        weights=dataclasses.replace(weights, tensors=encoder, generator=None),
    )
