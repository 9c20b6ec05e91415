"""A model apart from any file: named arrays, sizes, vocabulary. All conversions go through it.

This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from electra_zh.errors import UserError
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import NETWORK
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.tokenizer import TokenizerSettings

# Rows of the word embeddings beyond the vocabulary that are taken for filler, not for an error.
_MAX_FILLER = 127


class TaskHead(NamedTuple):
    """One task of a fine-tuned model.

    Attributes:
      name: of the task; its tensors are `heads/NAME/...`.
      kind: classification, regression, tagging, span, choice or cloze.
      outputs: names of the head's outputs in their order; the least and the greatest value of
        regression; nothing for kinds without classes.
      reference: the head has the official code's form.
      more: names of layers that a plain head of the kind does not have.
      max_seq_length: tokens of a row at most; None for as many as the model has positions.
    """

    name: str
    kind: str
    outputs: tuple[str, ...] = ()
    reference: bool = False
    more: tuple[str, ...] = ()
    max_seq_length: int | None = None


class Trained(NamedTuple):
    """How a model was pretrained, where its source says.

    Attributes:
      length: positions that have been trained.
      batch: sequences a step.
      learning_rate: the peak.
    """

    length: int
    batch: int
    learning_rate: float


@dataclasses.dataclass(frozen=True)
class Weights:
    """A model in memory.

    Attributes:
      path: what it was read from.
      kind: what that is, in words.
      model: size of `encoder`.
      tensors: our name to float32, kernels [inputs, outputs]. A generator that shares the
        discriminator's embeddings has none of its own.
      generator: size of `generator`; None without one.
      vocabulary: None where the source has none.
      tokenizer: how text is normalised.
      tasks: of a fine-tuned model.
      step: training steps, if the source says.
      trained: how it was pretrained, if the source says.
      unused: names of the source's tensors that nothing here corresponds to.
      notes: what had to be assumed, in sentences.
    """

    path: str
    kind: str
    model: ModelConfig
    tensors: Mapping[str, np.ndarray]
    generator: ModelConfig | None = None
    vocabulary: Vocabulary | None = None
    tokenizer: TokenizerSettings = TokenizerSettings()
    tasks: tuple[TaskHead, ...] = ()
    step: int | None = None
    trained: Trained | None = None
    unused: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the tensors whose names begin with `prefix/`, by their whole names."""
        return {name: v for name, v in self.tensors.items() if name.startswith(f"{prefix}/")}

    def has(self, prefix: str) -> bool:
        """Returns whether there is any tensor below `prefix/`."""
        return any(name.startswith(f"{prefix}/") for name in self.tensors)

    @property
    def has_own_embeddings(self) -> bool:
        """Whether the generator's embeddings are not the discriminator's."""
        return self.has("generator/embeddings")

    @property
    def is_bert(self) -> bool:
        """Whether it is what others call BERT: a masked LM alone, embeddings as wide as layers."""
        alone = self.has("masked_lm_head") and not self.has("rtd_head") and not self.generator
        return alone and not self.tasks and self.model.embedding_size == self.model.hidden_size

    def lines(self) -> list[str]:
        """Returns what there is, for people."""
        counts = [
            f"{name} {sum(value.size for value in self.part(prefix).values()):,}"
            for name, prefix in (
                ("encoder", "encoder"),
                ("generator", "generator"),
                ("masked LM head", "masked_lm_head"),
                ("detection head", "rtd_head"),
                *((f"head of {task.name}", f"heads/{task.name}") for task in self.tasks),
            )
            if self.has(prefix)
        ]
        size = self.model
        found = [
            f"{self.path}: {self.kind}, {size.num_hidden_layers} layers of {size.hidden_size}, "
            f"{size.vocab_size:,} tokens" + (f", step {self.step:,}" if self.step else ""),
            f"parameters: {', '.join(counts)}",
            *self.notes,
        ]
        if self.unused:
            found.append(f"left out, of no use here: {_few(self.unused)}")
        return found


def network_shapes(size: ModelConfig, part: str, *, embeddings: bool) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every variable of a network, by our names.

    Args:
      size: of the network.
      part: `encoder` or `generator`.
      embeddings: it has embeddings of its own.
    """
    inner, width = size.intermediate_size, size.hidden_size
    special = {
        "embeddings/word_embeddings": (size.vocab_size, size.embedding_size),
        "embeddings/token_type_embeddings": (size.type_vocab_size, size.embedding_size),
        "embeddings/position_embeddings": (size.max_position_embeddings, size.embedding_size),
        "embeddings/layer_norm/gamma": (size.embedding_size,),
        "embeddings/layer_norm/beta": (size.embedding_size,),
        "projection/kernel": (size.embedding_size, width),
        "layers/{layer}/intermediate/kernel": (width, inner),
        "layers/{layer}/intermediate/bias": (inner,),
        "layers/{layer}/output/kernel": (inner, width),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for weight in NETWORK:
        name = weight.ours
        if name.startswith("embeddings/") and not embeddings:
            continue
        if name.startswith("projection/") and size.embedding_size == width:
            continue
        plain = (width, width) if name.endswith("/kernel") else (width,)
        layers = range(size.num_hidden_layers) if "{layer}" in name else range(1)
        for layer in layers:
            whole = f"{part}/{name}".replace("{layer}", str(layer))
            shapes[whole] = special.get(name, plain)
    return shapes


def masked_lm_shapes(size: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the masked LM's head on a network of `size`."""
    return {
        "masked_lm_head/dense/kernel": (size.hidden_size, size.embedding_size),
        "masked_lm_head/dense/bias": (size.embedding_size,),
        "masked_lm_head/layer_norm/gamma": (size.embedding_size,),
        "masked_lm_head/layer_norm/beta": (size.embedding_size,),
        "masked_lm_head/output_bias": (size.vocab_size,),
    }


def detection_shapes(size: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the detection head on a discriminator of `size`."""
    return {
        "rtd_head/dense/kernel": (size.hidden_size, size.hidden_size),
        "rtd_head/dense/bias": (size.hidden_size,),
        "rtd_head/output/kernel": (size.hidden_size, 1),
        "rtd_head/output/bias": (1,),
    }


def head_shapes(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the pretraining heads that the model has any variable of."""
    shapes: dict[str, tuple[int, ...]] = {}
    if weights.has("masked_lm_head"):
        shapes |= masked_lm_shapes(weights.generator or weights.model)
    if weights.has("rtd_head"):
        shapes |= detection_shapes(weights.model)
    return shapes


def check(weights: Weights) -> Weights:
    """Returns the model after checking that it is whole, and that its vocabulary fits.

    Raises:
      UserError: a tensor is missing or has another shape; the message names it.
    """
    expected = network_shapes(weights.model, "encoder", embeddings=True)
    if weights.generator is not None:
        own = weights.has_own_embeddings
        expected |= network_shapes(weights.generator, "generator", embeddings=own)
    expected |= head_shapes(weights)
    missing = [name for name in expected if name not in weights.tensors]
    if missing:
        raise UserError(
            f"{weights.path}: {len(missing)} of {len(expected)} tensors are missing: "
            f"{_few(missing)}"
        )
    for name, shape in expected.items():
        found = weights.tensors[name].shape
        if found != shape:
            raise UserError(
                f"{weights.path}: {name} has shape {list(found)}; by the model's size it is "
                f"{list(shape)}"
            )
    extra = [
        name for name in weights.tensors if name not in expected and not name.startswith("heads/")
    ]
    if extra:
        raise UserError(f"{weights.path}: more tensors than the model's size has: {_few(extra)}")
    _check_vocabulary(weights)
    return weights


def _check_vocabulary(weights: Weights) -> None:
    if weights.vocabulary is None:
        return
    rows, tokens = weights.model.vocab_size, weights.vocabulary.size
    if not 0 <= rows - tokens <= _MAX_FILLER:
        name = "encoder/embeddings/word_embeddings"
        raise UserError(
            f"{weights.path}: the vocabulary has {tokens:,} tokens but {name} has shape "
            f"{list(weights.tensors[name].shape)}: is it another model's vocabulary?"
        )


def _few(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def sizes_of(
    tensors: Mapping[str, np.ndarray], part: str, *, embeddings: str, where: str
) -> dict[str, int]:
    """Returns the settings of `ModelConfig` that shapes tell: all but the heads.

    Args:
      tensors: by our names.
      part: the network, `encoder` or `generator`.
      embeddings: the network whose embeddings it has.
      where: the file, for error messages.

    Raises:
      UserError: the tensors are not those of a transformer.
    """

    def shape(name: str) -> tuple[int, ...]:
        if name not in tensors:
            raise UserError(f"{where}: {name} is missing: it is no ELECTRA or BERT model")
        found = tensors[name].shape
        if len(found) != 2:
            raise UserError(f"{where}: {name} has shape {list(found)}; two dimensions are needed")
        return found

    numbers = [int(name.split("/")[2]) for name in tensors if name.startswith(f"{part}/layers/")]
    vocab_size, embedding_size = shape(f"{embeddings}/embeddings/word_embeddings")
    hidden_size, intermediate_size = shape(f"{part}/layers/0/intermediate/kernel")
    return {
        "vocab_size": vocab_size,
        "embedding_size": embedding_size,
        "hidden_size": hidden_size,
        "num_hidden_layers": max(numbers, default=0) + 1,
        "intermediate_size": intermediate_size,
        "max_position_embeddings": shape(f"{embeddings}/embeddings/position_embeddings")[0],
        "type_vocab_size": shape(f"{embeddings}/embeddings/token_type_embeddings")[0],
    }
