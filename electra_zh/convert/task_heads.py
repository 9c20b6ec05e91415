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
    """The exported form of the head of one kind of task."""

    class_name: str  # the class of transformers that has this head
    # Our layers below `heads/TASK/` to the layers in transformers, inputs first.
    layers: Mapping[str, str]
    # Names of the served outputs: one for all values of a head, or one for each value.
    served: tuple[str, ...]
    per_token: bool = False  # the head sees every token, not only [CLS]
    # What makes probabilities of the values, softmax or sigmoid (several labels at once); "" serves
    # the values themselves.
    activation: str = ""
    # A row is one text or a pair, so raw text can be served. The rows of other kinds are windows,
    # choices or candidates, which the served graph does not make.
    takes_text: bool = False
    is_number: bool = False  # the only output is in 0 to 1, scaled to the range of the labels
    # The names of the outputs, from the task's labels; None for kinds without names.
    output_names: Callable[[Iterable[str]], tuple[str, ...]] | None = None
    # Layer that only a variant of the head has -> name of the variant.
    variants: Mapping[str, str] = dataclasses.field(default_factory=dict)


class TaskHead(NamedTuple):
    """The head of one task of a fine-tuned model."""

    name: str  # of the task; the weights are `heads/NAME/...`
    kind: str  # of task
    labels: tuple[str, ...] = ()  # of the task; for a number, the lower and the upper limit
    layers: tuple[str, ...] = ()  # names of the head's layers
    max_seq_length: int | None = None  # most tokens of a row; None: the model's positions
    descriptions: tuple[str, ...] = ()  # of the labels, for people
    declared: HeadForm | None = None  # the exported form that the kind declares, if any

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
    def problem_type(self) -> str:
        """The problem type in the `config.json` of transformers; "" for none."""
        if self.form.is_number:
            return "regression"
        return "multi_label_classification" if self.form.activation == "sigmoid" else ""

    @property
    def readable_outputs(self) -> tuple[str, ...]:
        """Descriptions in place of the labels, where each label has another one."""
        described = self.descriptions if self.outputs == self.labels else ()
        return described if len(set(described)) == len(self.labels) else self.outputs

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

    `task` has the settings as plain values, and the names of the weights show the head's layers.
    """
    prefix = f"heads/{task['name']}/"
    own = [name.removeprefix(prefix) for name in weights if name.startswith(prefix)]
    return TaskHead(
        name=task["name"],
        kind=task["kind"],
        labels=tuple(task.get("labels", {}).get("names", ())),
        layers=tuple(sorted({name.partition("/")[0] for name in own})),
        max_seq_length=task.get("max_seq_length"),
        descriptions=tuple(task.get("labels", {}).get("descriptions", ())),
    )
