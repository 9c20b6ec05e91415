"""The heads of fine-tuned models, as they are exported. This module does not import TensorFlow.

A kind of task declares the form of its head (`finetuning.kinds`); whoever exports a model adds it
with `Weights.with_head_forms`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from electra_zh.errors import UserError
from electra_zh.models.weight_names import DISCRIMINATOR, Naming


@dataclasses.dataclass(frozen=True)
class HeadForm:
    """The exported form of the head of one kind of task.

    Attributes:
      class_name: the class of transformers that has this head.
      layers: our layers below `heads/TASK/` to the layers in transformers, inputs first.
      served: names of the served outputs: one for all values of a head, or one for each value.
      per_token: the head sees every token, not only [CLS].
      softmax: probabilities are served, not the values themselves.
      takes_text: a row is one text or a pair, so raw text can be served. The rows of other kinds
        are windows, choices or candidates, which the served graph does not make.
      is_number: the only output is a number in 0 to 1, scaled to the range of the task's labels.
      output_names: the names of the outputs, from the task's labels; None for kinds without names.
      variants: layer that only a variant of the head has -> name of the variant.
    """

    class_name: str
    layers: Mapping[str, str]
    served: tuple[str, ...]
    per_token: bool = False
    softmax: bool = False
    takes_text: bool = False
    is_number: bool = False
    output_names: Callable[[Iterable[str]], tuple[str, ...]] | None = None
    variants: Mapping[str, str] = dataclasses.field(default_factory=dict)


class TaskHead(NamedTuple):
    """The head of one task of a fine-tuned model.

    Attributes:
      name: name of the task; the weights are `heads/NAME/...`.
      kind: kind of task.
      labels: the task's labels; for a number, the lower and the upper limit.
      layers: names of the head's layers.
      max_seq_length: maximum tokens of a row; None for the number of the model's positions.
      declared: the exported form that the kind declares, if any.
    """

    name: str
    kind: str
    labels: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    max_seq_length: int | None = None
    declared: HeadForm | None = None

    @property
    def form(self) -> HeadForm:
        """The exported form.

        Raises:
          UserError: the kind of task declares none.
        """
        if self.declared is None:
            raise UserError(
                f'task {self.name} cannot be exported: kind "{self.kind}" declares no head_form'
            )
        return self.declared

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the head's outputs in order; for a number, the lower and the upper limit."""
        return self.form.output_names(self.labels) if self.form.output_names else ()

    @property
    def reference(self) -> bool:
        """True for the official code's head: one layer without a dense layer before it."""
        return "dense" in self.form.layers and "dense" not in self.layers

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants whose layers the head has."""
        return tuple(name for layer, name in self.form.variants.items() if layer in self.layers)

    def naming(self) -> Naming:
        """Returns the names of encoder and head in the head's class of transformers."""
        pairs = {ours: theirs for ours, theirs in DISCRIMINATOR.pairs.items() if "encoder/" in ours}
        for ours, theirs in self.form.layers.items():
            pairs[f"heads/{self.name}/{ours}/kernel"] = f"{theirs}.weight"
            pairs[f"heads/{self.name}/{ours}/bias"] = f"{theirs}.bias"
        return Naming(pairs, transposes=True)


def read_head(task: Mapping[str, Any], weights: Collection[str]) -> TaskHead:
    """Returns the head of a task, without its exported form.

    Args:
      task: the task's settings as plain values.
      weights: names of the model's weights, which show the layers of the head.
    """
    prefix = f"heads/{task['name']}/"
    own = [name.removeprefix(prefix) for name in weights if name.startswith(prefix)]
    return TaskHead(
        name=task["name"],
        kind=task["kind"],
        labels=tuple(task.get("labels", {}).get("names", ())),
        layers=tuple(sorted({name.partition("/")[0] for name in own})),
        max_seq_length=task.get("max_seq_length"),
    )
