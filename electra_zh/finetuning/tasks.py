"""Tasks as data: what a YAML file of `configs/finetune/` says of a data set.

That is what kind of task it is, how its files are read and scored, and the settings of the
published setup.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from electra_zh.errors import UserError
from electra_zh.settings import build_settings

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
# A trial's seed stands above the step in the 63 bits that dropout follows from.
SEED_SHIFT = 40
MAX_SEED = 1 << (63 - SEED_SHIFT)


@dataclasses.dataclass(frozen=True)
class Files:
    """File names of the splits, most wanted first; `*` and `?` stand for any characters.

    A split may be several files together, `m-train.json + d-train.json`.
    """

    train: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Labels:
    """The labels of a task, or where they are read from.

    Attributes:
      names: the labels as they stand in the files.
      file: a file of JSON lines, or of one label a line, beside the training file.
      field: the field of such a JSON line that holds the label.
      drop: examples with these labels are left out of train and dev, and counted.
    """

    names: tuple[str, ...] = ()
    file: str = ""
    field: str = "label"
    drop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise UserError(f'label "{twice[0]}" stands there twice')


@dataclasses.dataclass(frozen=True)
class Submission:
    """The file that the leaderboard takes.

    Attributes:
      file: its name inside the zip.
      form: how predictions are written in it.
    """

    file: str
    form: Literal["labels", "choices", "answers", "idioms", "entities"] = "labels"


@dataclasses.dataclass(frozen=True)
class Training:
    """Settings of the training. 0 stands for the default of the model's size.

    Attributes:
      train_batch_size: examples a step.
      num_train_epochs: passes over the training set.
      learning_rate: the peak rate; 0: 3e-4 up to width 400, 1e-4 up to 900, 5e-5 above.
      layerwise_lr_decay: each layer's rate is this times that of the layer above; 0: 0.8, or 0.9
        for models wider than 900; 1 turns it off.
      top_layer_decay: decay exponent of the top layer: 2 is the reference's own, 1 the paper's.
      warmup_proportion: share of the steps with rising rate.
      weight_decay_rate: decoupled weight decay.
      dropout: rate of all dropout, on attention probabilities too; none: the rates that the model
        was pretrained with, which may be 0.
      lr_decay_power: power of the polynomial decay to 0.
      eval_batch_size: examples a step in evaluation.
      early_stopping: stop after so many epochs without a better dev score; 0: never.
      keep_best: keep the weights of the best epoch by dev score; off: those of the last.
      max_train_examples: train on a random choice of so many; 0: all. The choice does not depend
        on the seed of the trial.
      bucket_by_length: pad to the length of a batch's bucket; off: every batch to max_seq_length.
      precision: compute type; weights, losses and softmax are float32 in both.
      seed: of the first trial; the others count up from it.
    """

    train_batch_size: int = 32
    num_train_epochs: float = 3.0
    learning_rate: float = 0.0
    layerwise_lr_decay: float = 0.0
    top_layer_decay: int = 2
    warmup_proportion: float = 0.1
    weight_decay_rate: float = 0.01
    dropout: float | None = None
    lr_decay_power: float = 1.0
    eval_batch_size: int = 64
    early_stopping: int = 0
    keep_best: bool = True
    max_train_examples: int = 0
    bucket_by_length: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train_batch_size", "eval_batch_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1; received {getattr(self, name)}")
        if not self.num_train_epochs > 0:
            raise UserError(f"num_train_epochs must be above 0; received {self.num_train_epochs}")
        for name in (
            *("learning_rate", "weight_decay_rate", "early_stopping", "seed"),
            *("max_train_examples", "lr_decay_power", "top_layer_decay"),
        ):
            if getattr(self, name) < 0:
                raise UserError(f"{name} must not be negative; received {getattr(self, name)}")
        for name in ("layerwise_lr_decay", "warmup_proportion"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} must lie in 0 to 1; received {getattr(self, name)}")
        if self.seed >= MAX_SEED:
            raise UserError(f"seed must be below {MAX_SEED}; received {self.seed}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"dropout must be at least 0 and below 1; received {self.dropout}")


@dataclasses.dataclass(frozen=True)
class SpanConfig:
    """Settings of span extraction.

    Attributes:
      doc_stride: tokens between the starts of two windows.
      max_query_length: tokens of a question at most.
      max_answer_length: tokens of an answer at most.
      n_best: answers kept of each question.
      joint_prediction: the reference's end head, conditioned on the start, with a beam.
      answerability: a head that says whether there is an answer.
      answerable_weight: its weight in the loss.
      null_threshold: an answer is empty where its no-answer score minus the best span's is above.
    """

    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_length: int = 50
    n_best: int = 20
    joint_prediction: bool = False
    answerability: bool = False
    answerable_weight: float = 0.5
    null_threshold: float = 0.0


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """One data set.

    Attributes:
      name: of the YAML file.
      title: what it is, in a line.
      kind: the kind of task.
      reader: name of the function that reads its files (`finetuning/readers/`).
      folders: names of the folders that its files are found in, below --data.
      files: the splits.
      fields: what the reader asks for (text_a, label ...) to the name in the file.
      labels: of classification and tagging (entity types).
      metric: the score that the best epoch is chosen by and the table shows.
      max_seq_length: tokens of a sequence at most, [CLS] and [SEP] included.
      double_unordered: train on both orders of a pair.
      head: `huggingface` (dense, GELU, projection) or `reference` (one dense layer).
      training: how it is trained.
      reading: for span extraction.
      submission: for tasks with a leaderboard.
      published: model size to {model or paper: score in percent}, for the table.
      follows: the published setup that the settings follow.
    """

    name: str
    kind: Literal["classification", "regression", "tagging", "span", "choice", "cloze"]
    reader: str
    metric: str
    title: str = ""
    folders: tuple[str, ...] = ()
    files: Files = Files()
    fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    labels: Labels = Labels()
    max_seq_length: int = 128
    double_unordered: bool = False
    head: Literal["huggingface", "reference"] = "huggingface"
    training: Training = Training()
    reading: SpanConfig = SpanConfig()
    submission: Submission | None = None
    published: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    follows: str = ""

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or "/" in self.name:
            raise UserError(f'name is "{self.name}"; it names a folder and may have no "/"')
        if not 8 <= self.max_seq_length <= 4096:
            raise UserError(
                f"max_seq_length must lie between 8 and 4096; received {self.max_seq_length}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as nested plain values, as `from_dict` takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> TaskConfig:
        """Builds a task from nested plain values.

        Raises:
          UserError: an unknown key, a wrong type, or values that do not go together.
        """
        values = dict(values)
        labels = values.get("labels")
        if isinstance(labels, str):
            raise UserError(
                f"{where}: labels must be a list, or a mapping of `key: value`; received {labels!r}"
            )
        if isinstance(labels, Sequence):
            values["labels"] = {"names": [_plain(label) for label in labels]}
        names = values.get("files") or {}
        if isinstance(names, Mapping):
            values["files"] = {
                split: [name] if isinstance(name, str) else name for split, name in names.items()
            }
        return build_settings(cls, values, where=where)


def _plain(label: Any) -> str:
    """Returns a label as text; YAML reads a bare 0 or true as something else."""
    return str(label).lower() if isinstance(label, bool) else str(label)
