"""Settings of a task, as a YAML file of `configs/finetune/` gives them for a data set.

They are its kind, the form of its files, its score, and the training of the published setup.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from electra_zh.errors import UserError
from electra_zh.modules import module_names
from electra_zh.settings import COMMAND_LINE, Layer, Resolved, Settings, resolve, setting

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
# A trial's seed is above the step in the 63 bits of the random key of dropout.
MAX_SEED = 1 << 23
# Suffixes of files of labels.
_LABEL_FILES = (".json", ".jsonl", ".txt", ".tsv")


def kind_names() -> tuple[str, ...]:
    """Returns the names of all kinds of task: those of the modules in `kinds/`, sorted."""
    return module_names("electra_zh.finetuning.kinds")


def _file_names(text: str) -> tuple[str, ...]:
    return () if text == "none" else (text,)


def _file_setting(split: str, meaning: str) -> Any:
    return setting((), meaning, flags=(f"--{split}-file",), metavar="FILE", parse=_file_names)


@dataclasses.dataclass(frozen=True)
class Files(Settings):
    """File names of the splits, most wanted first; `*` and `?` match any characters.

    A split may be several files together, `m-train.json + d-train.json`.
    """

    train: tuple[str, ...] = _file_setting("train", "training file, instead of the task's")
    dev: tuple[str, ...] = _file_setting("dev", "dev file, instead of the task's")
    test: tuple[str, ...] = _file_setting("test", "test file, instead of the task's; none: without")


@dataclasses.dataclass(frozen=True)
class Labels(Settings):
    """The labels of a task, or the file with them; by default those of the training set."""

    names: tuple[str, ...] = setting((), "labels as in the files", listed=False)
    file: str = setting(
        "",
        "file next to the training file: one label per line, JSON lines, an array, or a map of "
        "names and numbers",
        listed=False,
    )
    field: str = setting("label", "field of those JSON lines with the label", listed=False)
    drop: tuple[str, ...] = setting((), "labels of examples to skip in train and dev", listed=False)
    descriptions: tuple[str, ...] = setting(
        (), "a description of each label, which predictions show, too", listed=False
    )

    def check_together(self) -> None:
        """Checks for duplicate labels, and for descriptions of other labels."""
        for name, count in Counter(self.names).items():
            if count > 1:
                raise UserError(f'duplicate label "{name}"')
        if self.descriptions and len(self.descriptions) != len(self.names):
            counts = f"{len(self.descriptions)} descriptions for {len(self.names)} labels"
            raise UserError(f"{counts}; give one for each, in the order of names")

    def in_words(self, name: str) -> str:
        """Returns a label for messages, with its description."""
        if not self.descriptions or name not in self.names:
            return f'"{name}"'
        return f'"{name}" ({self.descriptions[self.names.index(name)]})'


def _plain_labels(labels: Any, where: str) -> Any:
    """Returns labels as a mapping of the settings of `Labels`.

    They may be a list of names, the number of labels, a map of name to number, or a file's name.

    Raises:
      UserError: they are something else.
    """
    if isinstance(labels, str) and labels.lower().endswith(_LABEL_FILES):
        return {"file": labels}
    if type(labels) is int and labels > 0:
        return {"names": [str(number) for number in range(labels)]}
    if isinstance(labels, Mapping):
        if labels and all(type(number) is int for number in labels):
            return {"names": [str(labels[number]) for number in sorted(labels)]}
        if labels and all(type(number) is int for number in labels.values()):
            ordered = sorted(labels, key=lambda name: int(labels[name]))
            return {"names": [str(name) for name in ordered]}
        return labels
    if not isinstance(labels, Sequence) or isinstance(labels, str):
        raise UserError(
            f"{where}: labels must be a list of names, their number, or the name of their file "
            f"({', '.join(_LABEL_FILES)}); received {labels!r}"
        )
    # YAML reads a bare 0 or true as something else than text.
    names = [str(each).lower() if isinstance(each, bool) else str(each) for each in labels]
    return {"names": names}


@dataclasses.dataclass(frozen=True)
class LeaderboardFile(Settings):
    """The leaderboard's file of a task."""

    file: str = setting(meaning="name in the zip", listed=False)
    form: str = setting(
        "labels", "form of the file, one of the kind's `submission_forms`", listed=False
    )
    examples: int = setting(0, "predictions that the leaderboard expects", listed=False)


@dataclasses.dataclass(frozen=True)
class Training(Settings):
    """Settings of the training. 0 stands for the default of the model's size."""

    train_batch_size: int = setting(32, "examples per step", at_least=1, flags=("--batch-size",))
    num_train_epochs: float = setting(3.0, "epochs of the training set", above=0)
    learning_rate: float = setting(
        0.0, "peak rate; 0: 3e-4 up to width 400, 1e-4 up to 900, 5e-5 above", at_least=0
    )
    layerwise_lr_decay: float = setting(
        0.0,
        "rate of a layer as a multiple of the rate of the layer above; 0: 0.8, or 0.9 for models "
        "wider than 900; 1: off",
        at_least=0,
        at_most=1,
    )
    top_layer_decay: int = setting(
        2, "decay exponent of the top layer: 2 is the reference's, 1 the paper's", at_least=0
    )
    warmup_proportion: float = setting(
        0.1, "fraction of the steps with rising rate", at_least=0, at_most=1
    )
    weight_decay_rate: float = setting(0.01, "decoupled weight decay", at_least=0)
    dropout: float | None = setting(
        None,
        "rate of all dropout, attention probabilities included; by default the rates of "
        "pretraining, which may be 0",
        at_least=0,
        below=1,
    )
    lr_decay_power: float = setting(1.0, "power of the polynomial decay to 0", at_least=0)
    eval_batch_size: int = setting(64, "examples per step of evaluation", at_least=1)
    early_stopping: int = setting(
        0, "stop after this many epochs without a better dev score; 0: never", at_least=0
    )
    keep_best: bool = setting(
        True, "keep the weights of the best epoch by dev score; off: those of the last epoch"
    )
    max_train_examples: int = setting(
        0,
        "train on a random choice of this many, the same for every trial; 0: all",
        at_least=0,
    )
    bucket_by_length: bool = setting(
        True, "pad to the length of a batch's bucket; off: every batch to max_seq_length"
    )
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto",
        "compute type; auto: bfloat16 where the CPU has fast instructions for it, else float32; "
        "weights, losses and softmax are float32 in both",
    )
    seed: int = setting(
        0, "random seed of the first trial; the others count up from it", at_least=0, below=MAX_SEED
    )


@dataclasses.dataclass(frozen=True)
class SpanConfig(Settings):
    """Settings of span extraction."""

    doc_stride: int = setting(128, "tokens between the starts of two windows", at_least=1)
    max_query_length: int = setting(64, "maximum tokens of a question", at_least=1)
    max_answer_length: int = setting(50, "maximum tokens of an answer", at_least=1)
    n_best: int = setting(20, "answers to keep per question", at_least=1)
    joint_prediction: bool = setting(
        False, "the reference's end head, conditioned on the start, with a beam"
    )
    answerability: bool = setting(False, "a head that predicts whether there is an answer")
    answerable_weight: float = setting(0.5, "weight of that head in the loss")
    null_threshold: float = setting(
        0.0,
        "an answer is empty if its no-answer score exceeds the best span's by more than this",
    )


@dataclasses.dataclass(frozen=True)
class TaskConfig(Settings):
    """One data set: the settings below, and facts of its YAML file that have no flag.

    Attributes:
      name: by default that of the YAML file.
      folders: names of the folders that contain its files, below --data.
      files: the splits.
      fields: names of the reader's fields (text_a, label ...) in the file.
      labels: of classification and tagging (entity types).
      submission: for tasks with a leaderboard.
      published: model size to {model or paper: score in percent}, for the table.
      follows: the published setup of the settings.
    """

    name: str
    kind: str = setting(meaning="kind of task", choices=kind_names, listed=False)
    reader: str = setting(meaning="form of the files, such as table or columns", metavar="NAME")
    metric: str = setting(
        meaning="metric that chooses the best epoch and is shown in the table", metavar="NAME"
    )
    title: str = setting("", "title in tables", metavar="TEXT")
    folders: tuple[str, ...] = ()
    files: Files = Files()
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Labels = Labels()
    max_seq_length: int = setting(
        128, "maximum tokens of a sequence, [CLS] and [SEP] included", at_least=8, at_most=4096
    )
    double_unordered: bool = setting(False, "train on both orders of a pair")
    head: Literal["huggingface", "reference"] = setting(
        "huggingface", "huggingface: dense, GELU, projection; reference: one dense layer"
    )
    training: Training = Training()
    reading: SpanConfig = SpanConfig()
    submission: LeaderboardFile | None = None
    published: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    follows: str = ""

    def check_together(self) -> None:
        """Checks that the name can be that of a folder."""
        if self.name in ("", ".", "..") or "/" in self.name:
            raise UserError(f'name is "{self.name}"; it names a folder and may not contain "/"')

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as nested plain values, for `from_dict`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, where: str) -> TaskConfig:
        """Builds a task from nested plain values."""
        return cls.resolve(values, where=where).settings

    @classmethod
    def resolve(
        cls, values: Mapping[str, Any], *overrides: Mapping[str, Any], where: str
    ) -> Resolved[TaskConfig]:
        """Resolves the plain values of a task and overrides of the command line into settings.

        Raises:
          UserError: an unknown key, a wrong type, or values that contradict each other.
        """
        if values.get("labels") is not None:
            values = {**values, "labels": _plain_labels(values["labels"], where)}
        layers = [Layer(where, values), *(Layer(COMMAND_LINE, each) for each in overrides)]
        return resolve(cls, layers, where=where)
