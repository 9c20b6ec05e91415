"""A model in memory, independent of any file: named arrays, sizes, vocabulary.

Every conversion reads into `Weights` and writes from it. This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from electra_zh.convert.source_settings import MAX_FILLER
from electra_zh.convert.task_heads import HeadForm, TaskHead
from electra_zh.errors import UserError, counted, few
from electra_zh.models.config import ModelConfig
from electra_zh.models.weight_names import Naming, part_shapes
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary


class TrainedWith(NamedTuple):
    """The settings that a model was pretrained with."""

    length: int  # number of positions that have been trained
    batch: int  # sequences per step
    learning_rate: float  # the peak
    attention_start: str = "normal"  # kind of its initial attention


@dataclasses.dataclass(frozen=True)
class Weights:
    """A pretrained or fine-tuned model of any origin."""

    path: str  # the folder or file that it was read from
    kind: str  # name of its form, for people
    model: ModelConfig  # size of `encoder`, dropout rates included
    # Our name to float32 array, kernels [inputs, outputs]. A generator that shares the
    # discriminator's embeddings has no embedding tensors.
    tensors: Mapping[str, np.ndarray]
    generator: ModelConfig | None = None  # size of `generator`
    vocabulary: Vocabulary | None = None  # None if the source does not include one
    tokenizer: TokenizerSettings = TokenizerSettings()
    tasks: tuple[TaskHead, ...] = ()  # the heads of a fine-tuned model
    checkpoint: str = ""  # path of the checkpoint or file that holds the tensors
    step: int | None = None  # number of training steps, if the source records it
    trained: TrainedWith | None = None  # if the source records it
    # Parts of a run that no other format has, by name: they are for runs that start from it.
    own: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    unused: tuple[str, ...] = ()  # names of the source's tensors that have no counterpart here
    # Assumptions that were made while reading, as sentences for the end of a command's output.
    notes: tuple[str, ...] = ()
    # How it was trained, as its folder says: `start`, the path of the model that it started from;
    # `settings` of the run, or of each task; `data`, the counts of the manifest.
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    heads_assumed: bool = False  # no file says the number of attention heads

    def part(self, prefix: str) -> dict[str, np.ndarray]:
        """Returns the tensors whose names begin with `prefix/`, by their full names."""
        return {name: v for name, v in self.tensors.items() if name.startswith(f"{prefix}/")}

    def has(self, prefix: str) -> bool:
        """Returns whether any tensor's name begins with `prefix/`."""
        return any(name.startswith(f"{prefix}/") for name in self.tensors)

    def with_head_forms(self, form_of: Callable[[str], HeadForm | None]) -> Weights:
        """Returns the model with the exported forms of its heads, by the kinds of their tasks."""
        tasks = tuple(task._replace(declared=form_of(task.kind)) for task in self.tasks)
        return dataclasses.replace(self, tasks=tasks)

    @property
    def has_own_embeddings(self) -> bool:
        """True if the generator does not share the discriminator's embeddings."""
        return self.has("generator/embeddings")

    @property
    def is_bert(self) -> bool:
        """True for a BERT: a masked LM without other heads, embeddings as wide as the layers."""
        alone = self.has("masked_lm_head") and not self.has("rtd_head") and not self.generator
        return alone and not self.tasks and self.model.embedding_size == self.model.hidden_size

    def generator_tensors(self) -> dict[str, np.ndarray]:
        """Returns the generator by its full names, copies of shared embeddings included."""
        tensors = self.part("generator")
        if not self.has_own_embeddings:
            for name, value in self.part("encoder/embeddings").items():
                tensors[name.replace("encoder/", "generator/", 1)] = value
        return tensors

    def digest(self) -> str:
        """Returns the SHA-256 of the tensors and their names, by which a run knows its source."""
        found = hashlib.sha256()
        for tensors in (self.tensors, self.own):
            for name in sorted(tensors):
                found.update(name.encode())
                found.update(np.ascontiguousarray(tensors[name]).data)
        return found.hexdigest()

    def lines(self) -> list[str]:
        """Returns a description of the model for people."""
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
        size, layers = self.model, counted(self.model.num_hidden_layers, "layer")
        found = [
            f"{self.path}: {self.kind}, {layers} of {size.hidden_size}, "
            f"{size.vocab_size:,} tokens" + (f", step {self.step:,}" if self.step else ""),
            f"parameters: {', '.join(counts)}",
        ]
        if self.own:
            parts = sorted({name.partition("/")[0] for name in self.own})
            found.append(f"not exported, since no other format has them: {', '.join(parts)}")
        filler = size.vocab_size - self.vocabulary.size if self.vocabulary else 0
        if filler:
            found.append(f"word embeddings: the last {filler} rows are padding without a token")
        if self.unused:
            found.append(f"skipped tensors without a counterpart here: {few(self.unused)}")
        return found


def check(weights: Weights, naming: Naming | None = None, *, names: Iterable[str] = ()) -> Weights:
    """Returns the model after checking that it is complete and that its vocabulary fits.

    `naming` and `names` are those of its file, for messages.

    Raises:
      UserError: a tensor is missing, has another shape or holds NaN; the message names it.
    """
    size, generator = weights.model, weights.generator
    expected = part_shapes("encoder", size)
    if generator is not None:
        expected |= part_shapes("generator", generator, embeddings=weights.has_own_embeddings)
    for head, network in (("masked_lm_head", generator or size), ("rtd_head", size)):
        if weights.has(head):
            expected |= part_shapes(head, network)
    found = {name: value.shape for name, value in weights.tensors.items()}
    missing = [name for name in expected if name not in found]
    wrong = [name for name in expected if found.get(name, expected[name]) != expected[name]]
    extra = [name for name in found if name not in expected and not name.startswith("heads/")]
    problem = _vocabulary_problem(weights)
    if missing:
        problem = f"{len(missing)} of {len(expected)} tensors are missing: {few(missing)}"
        if naming is not None:
            problem += f"; their names in the file: {few(map(naming.theirs, missing))}"
        if names:
            problem += f". It has {few(sorted(names))}"
    elif wrong:
        shapes = list(found[wrong[0]]), list(expected[wrong[0]])
        problem = f"{wrong[0]} has shape {shapes[0]}; by the model's size it is {shapes[1]}"
    elif extra:
        problem = f"more tensors than the model's size has: {few(extra)}"
    problem = problem or _value_problem(weights.tensors)
    if problem:
        raise UserError(f"{weights.path}: {problem}")
    return weights


def _value_problem(tensors: Mapping[str, np.ndarray]) -> str:
    broken = [name for name, value in tensors.items() if not np.isfinite(value).all()]
    return f"tensors with values that are not finite (NaN): {few(broken)}" if broken else ""


def _vocabulary_problem(weights: Weights) -> str:
    rows = weights.model.vocab_size
    tokens = rows if weights.vocabulary is None else weights.vocabulary.size
    if 0 <= rows - tokens <= MAX_FILLER:
        return ""
    return (
        f"the vocabulary has {tokens:,} tokens but encoder/embeddings/word_embeddings has "
        f"{rows:,} rows. Replace it with this model's vocabulary"
    )
