"""The pretrained model that fine-tuning starts from, of any origin."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging

from electra_zh.convert import model_folder
from electra_zh.convert.source import open_source
from electra_zh.convert.source_settings import SourceSettings
from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.models.encoder import Encoder
from electra_zh.models.weight_names import variable_name
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.tokenizer import Tokenizer, make_tokenizer
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training import checkpoints


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder in memory.

    Attributes:
      path: the folder, or the prefix of a TF1 checkpoint.
      model: the encoder's size.
      vocabulary: its tokens.
      tokenizer: settings of the text normalization.
      tensors: the encoder's weights by name; empty for random weights.
      checkpoint: name of the checkpoint that holds them; "" for random weights.
      trained_length: number of positions that were trained; 0 if unknown.
      attention_start: kind of initial attention of random weights.
      notes: assumptions about it, for the end of the output.
    """

    path: str
    model: ModelConfig
    vocabulary: Vocabulary
    tokenizer: TokenizerSettings
    tensors: Mapping[str, np.ndarray] = dataclasses.field(
        default_factory=dict, repr=False, compare=False
    )
    checkpoint: str = ""
    trained_length: int = dataclasses.field(default=0, compare=False)
    attention_start: str = "normal"
    notes: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def make_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer of its vocabulary and settings."""
        return make_tokenizer(self.vocabulary, self.tokenizer)

    def with_dropout(self, rate: float | None) -> Pretrained:
        """Returns the same model with this rate of all dropout; None keeps the model's own."""
        if rate is None:
            return self
        model = dataclasses.replace(
            self.model, hidden_dropout_prob=rate, attention_probs_dropout_prob=rate
        )
        return dataclasses.replace(self, model=model)

    def restore(self, encoder: Encoder) -> None:
        """Assigns the pretrained weights to the encoder; does nothing for random weights.

        Raises:
          UserError: the weights do not fit.
        """
        if self.tensors:
            variables = {variable_name(each.name): each for each in encoder.trainable_variables}
            checkpoints.assign(variables, self.tensors, where=self.path)

    @functools.cached_property
    def _digest(self) -> str:
        """The SHA-256 of the weights."""
        found = hashlib.sha256()
        for name in sorted(self.tensors):
            found.update(name.encode())
            found.update(np.ascontiguousarray(self.tensors[name]).data)
        return found.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Returns values that differ between any two pretrained models, as task.json keeps them."""
        local = {"attention_start": "local"} if self.attention_start == "local" else {}
        return {
            **local,
            "path": self.path,
            "checkpoint": self.checkpoint,
            "vocabulary": self.vocabulary.sha256,
            "weights": self._digest,
            "model": dataclasses.asdict(self.model),
        }


def load_pretrained(
    path: str,
    *,
    checkpoint: int | None = None,
    from_scratch: bool = False,
    attention_start: str | None = None,
    hints: SourceSettings = SourceSettings(),
) -> Pretrained:
    """Reads the encoder of a run, of a fine-tuned model or of a model of another tool.

    Args:
      path: any path that `convert.source.open_source` takes.
      checkpoint: step of a run's checkpoint; None for the latest.
      from_scratch: random weights instead: the same network without pretraining, to compare with.
      attention_start: initial attention of random weights; None for that of the run.
      hints: facts that the files of another tool may not say.

    Raises:
      UserError: there is no model, or no such checkpoint.
    """
    try:
        weights = open_source(path, checkpoint=checkpoint, settings_only=from_scratch, hints=hints)
    except UserError as error:
        raise UserError(f"--model: {error}") from None
    if weights.vocabulary is None:
        raise UserError(
            f"--model {path} has no vocabulary: put its vocab.txt or spm.model into the folder, or "
            "give --vocab FILE"
        )
    encoder, source = weights.part("encoder"), weights.checkpoint
    if not model_folder.is_model_folder(weights.path):
        source = path
        for line in weights.lines():
            logging.info("%s", line)
        others = len(weights.tensors) - len(encoder)
        logging.info("using the encoder's %d tensors, not the %d others", len(encoder), others)
    if attention_start is None:
        attention_start = weights.trained.attention_start if weights.trained else "normal"
    return Pretrained(
        path=path,
        model=weights.model,
        vocabulary=weights.vocabulary,
        tokenizer=weights.tokenizer,
        tensors={} if from_scratch else encoder,
        checkpoint="" if from_scratch else source.rstrip("/").rpartition("/")[2],
        trained_length=weights.trained.length if weights.trained and not from_scratch else 0,
        attention_start=attention_start if from_scratch else "normal",
        notes=weights.notes,
    )
