"""The heads of fine-tuned models: the one table of facts that depend on the kind of task.

To export another kind of task, add its entry to `KINDS`. This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from electra_zh.errors import UserError
from electra_zh.models.weight_names import DISCRIMINATOR, Naming


def tag_names(types: Iterable[str]) -> tuple[str, ...]:
    """Returns the BIOES tags of entity types, `O` first: the outputs of a tagging head."""
    return ("O", *(f"{prefix}-{name}" for name in types for prefix in "BIES"))


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


_CHOICE = HeadForm(
    "ElectraForMultipleChoice",
    {"dense": "sequence_summary.summary", "output": "classifier"},
    served=("logits",),
)
KINDS: dict[str, HeadForm] = {
    "classification": HeadForm(
        "ElectraForSequenceClassification",
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        served=("probabilities",),
        softmax=True,
        takes_text=True,
        output_names=tuple,
    ),
    "regression": HeadForm(
        "ElectraForSequenceClassification",
        {"dense": "classifier.dense", "output": "classifier.out_proj"},
        served=("value",),
        takes_text=True,
        is_number=True,
        output_names=tuple,
    ),
    "tagging": HeadForm(
        "ElectraForTokenClassification",
        {"output": "classifier"},
        served=("tag_probabilities",),
        per_token=True,
        softmax=True,
        takes_text=True,
        output_names=tag_names,
    ),
    "span": HeadForm(
        "ElectraForQuestionAnswering",
        {"output": "qa_outputs"},
        served=("start_logits", "end_logits"),
        per_token=True,
        variants={
            "start": "joint_prediction",
            "unanswerable": "answerability",
            "verdict": "verdict",
        },
    ),
    "choice": _CHOICE,
    "cloze": _CHOICE,
}


class TaskHead(NamedTuple):
    """The head of one task of a fine-tuned model.

    Attributes:
      name: name of the task; the weights are `heads/NAME/...`.
      kind: kind of task.
      outputs: names of the head's outputs in order; for a number, the lower and the upper limit.
      reference: the head is the official code's: one layer without a dense layer before it.
      variants: names of the variants whose layers the head has.
      max_seq_length: maximum tokens of a row; None for the number of the model's positions.
    """

    name: str
    kind: str
    outputs: tuple[str, ...] = ()
    reference: bool = False
    variants: tuple[str, ...] = ()
    max_seq_length: int | None = None

    @property
    def form(self) -> HeadForm:
        """The facts that depend on the kind of task.

        Raises:
          UserError: models of this kind of task have no exported form.
        """
        if self.kind not in KINDS:
            raise UserError(
                f'task {self.name}: kind "{self.kind}" has no exported form; '
                f"allowed: {', '.join(KINDS)}"
            )
        return KINDS[self.kind]

    def naming(self) -> Naming:
        """Returns the names of encoder and head in the head's class of transformers."""
        pairs = {ours: theirs for ours, theirs in DISCRIMINATOR.pairs.items() if "encoder/" in ours}
        for ours, theirs in self.form.layers.items():
            pairs[f"heads/{self.name}/{ours}/kernel"] = f"{theirs}.weight"
            pairs[f"heads/{self.name}/{ours}/bias"] = f"{theirs}.bias"
        return Naming(pairs, transposes=True)


def read_head(task: Mapping[str, Any], weights: Collection[str]) -> TaskHead:
    """Returns the head of a task.

    Args:
      task: the task's settings as plain values.
      weights: names of the model's weights, which show the layers of the head.
    """
    form = KINDS.get(task["kind"])
    if form is None:
        return TaskHead(task["name"], task["kind"], max_seq_length=task.get("max_seq_length"))

    def has(layer: str) -> bool:
        return f"heads/{task['name']}/{layer}/kernel" in weights

    return TaskHead(
        name=task["name"],
        kind=task["kind"],
        outputs=form.output_names(task["labels"]["names"]) if form.output_names else (),
        reference="dense" in form.layers and not has("dense"),
        variants=tuple(variant for layer, variant in form.variants.items() if has(layer)),
        max_seq_length=task.get("max_seq_length"),
    )
