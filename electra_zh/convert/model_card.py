"""The model card of an exported folder: README.md with front matter that the hub reads.

It states what the files of the model record: sizes, settings, data, scores. The licence and all
else that only the author knows are marked for the author. This module does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from electra_zh import __version__, files
from electra_zh.convert.task_heads import TaskHead
from electra_zh.convert.weights import Weights
from electra_zh.errors import few
from electra_zh.models.config import ModelConfig
from electra_zh.text.characters import is_cjk

FILE = "README.md"
_LICENSE = "# license: TODO (that of your model and its data), such as apache-2.0\n"
# The hub's name of the task of a class.
_PIPELINES = {
    "SequenceClassification": "text-classification",
    "TokenClassification": "token-classification",
    "QuestionAnswering": "question-answering",
    "MultipleChoice": "multiple-choice",
    "MaskedLM": "fill-mask",
    "Model": "feature-extraction",
}
# Our names of scores -> those of the hub, where they differ.
_METRICS = {"em": "exact_match", "spearman": "spearmanr", "pearson": "pearsonr"}
_SPLITS = {"dev": "validation", "test": "test"}
# A model in the cache of the hub: its name is known.
_HUB = re.compile(r"models--([\w.-]+?)--([\w.-]+?)/snapshots/")
_ONNX = """import numpy as np
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
session = onnxruntime.InferenceSession("FOLDER/model.onnx")
inputs = tokenizer({text}, return_tensors="np", return_token_type_ids=True)
print(session.run(None, {{name: np.int64(value) for name, value in inputs.items()}})[0])"""
_TORCH = """from transformers import AutoTokenizer, {name}

tokenizer = AutoTokenizer.from_pretrained("FOLDER")
model = {name}.from_pretrained("FOLDER")
inputs = tokenizer({text}, return_tensors="pt")
{last}"""
# Class -> text, and the use of its outputs.
_USES = {
    "PreTraining": (
        '"天地玄黄，宇宙洪荒。"',
        "print(model(**inputs).logits.sigmoid())",
    ),
    "MaskedLM": (
        '"天地[MASK]黄"',
        "best = model(**inputs).logits.argmax(-1)[0]\nprint(tokenizer.convert_ids_to_tokens(best))",
    ),
    "TokenClassification": (
        '"天地玄黄，宇宙洪荒。"',
        "best = model(**inputs).logits.argmax(-1)[0]\n"
        "print([model.config.id2label[number] for number in best.tolist()])",
    ),
    "QuestionAnswering": (
        '"何为黄？", "天地玄黄，宇宙洪荒。"',
        "outputs = model(**inputs)\n"
        "start, end = outputs.start_logits.argmax(), outputs.end_logits.argmax()\n"
        'print(tokenizer.decode(inputs["input_ids"][0, start : end + 1]))',
    ),
    "MultipleChoice": (
        '["何为黄？"] * 2, ["天", "地"], padding=True',
        "outputs = model(**{name: value[None] for name, value in inputs.items()})\n"
        "print(outputs.logits.argmax(-1))",
    ),
}
_CLASSES = (
    '"天地玄黄，宇宙洪荒。"',
    "number = model(**inputs).logits.argmax(-1).item()\nprint(model.config.id2label[number])",
)
_LABELS = (
    "probabilities = model(**inputs).logits.sigmoid()[0].tolist()\n"
    "names = model.config.id2label.values()\n"
    "print([name for name, each in zip(names, probabilities) if each >= 0.5])"
)
_NUMBER = "print({0} + ({1} - {0}) * model(**inputs).logits.item())  # the output is in 0 to 1"
_STATES = (_CLASSES[0], "print(model(**inputs).last_hidden_state.shape)")


class Card(NamedTuple):
    """The subject of a model card."""

    class_name: str  # of transformers
    size: ModelConfig
    length: int  # tokens of the longest sequences that were trained
    task: TaskHead | None  # of a fine-tuned model
    onnx: bool  # the folder has an ONNX file instead of weights


def trained_length(weights: Weights, task: TaskHead | None) -> int:
    """Returns the length of the longest sequences that a model was trained with, if known.

    For a model of another tool it is the number of its positions.
    """
    positions = weights.model.max_position_embeddings
    if task is not None:
        return min(task.max_seq_length or positions, positions)
    return min(weights.trained.length, positions) if weights.trained else positions


def write(folder: str, weights: Weights, card: Card) -> None:
    """Writes the card of a model to its folder."""
    scores = _scores(weights, card.task)
    front = yaml.safe_dump(
        _front_matter(weights, card, scores), allow_unicode=True, sort_keys=False
    )
    name = card.task.name if card.task else card.class_name
    text = "\n\n".join(
        [
            f"---\n{front}{_LICENSE}---",
            f"# {name}",
            *_description(weights, card),
            f"## Use\n\n```python\n{_usage(card)}\n```",
            *_score_section(scores),
            *_table("Data", weights.record.get("data") or {}),
            *_table("Settings", _settings(weights, card)),
        ]
    )
    files.write_text(files.join(folder, FILE), f"{text}\n")


def _front_matter(
    weights: Weights, card: Card, scores: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    front: dict[str, Any] = {}
    if weights.vocabulary is not None:
        tokens = weights.vocabulary.tokens
        is_chinese = any(is_cjk(ord(char)) for token in tokens for char in token)
        front["language"] = "zh" if is_chinese else "en"
    front["library_name"] = "onnx" if card.onnx else "transformers"
    network = "bert" if card.class_name.startswith("Bert") else "electra"
    front["tags"] = [network, "electra-zh", *([card.task.kind] if card.task else [])]
    pipeline = next((p for end, p in _PIPELINES.items() if card.class_name.endswith(end)), None)
    if pipeline:
        front["pipeline_tag"] = pipeline
    hub = _HUB.search(str(weights.record.get("start", "")))
    if hub:
        front["base_model"] = f"{hub[1]}/{hub[2]}"
    if card.task and scores:
        front["model-index"] = [
            {
                "name": card.task.name,
                "results": [
                    _result(card.task, pipeline or "", split, values)
                    for split, values in scores.items()
                ],
            }
        ]
    return front


def _result(
    task: TaskHead, pipeline: str, split: str, values: Mapping[str, float]
) -> dict[str, Any]:
    """Returns the scores of a split in the form of a model index."""
    metrics = [
        {"type": _METRICS.get(name, name), "name": name, "value": value}
        for name, value in values.items()
    ]
    return {
        "task": {"type": pipeline},
        "dataset": {"type": task.name, "name": task.name, "split": _SPLITS[split]},
        "metrics": metrics,
    }


def _scores(weights: Weights, task: TaskHead | None) -> dict[str, dict[str, float]]:
    """Returns the scores of the trial that the model is of, by split, from its results.json."""
    unit, _, last = weights.path.rpartition("/")
    path = files.join(unit.rpartition("/")[0] or ".", "results.json")
    if task is None or last != "model" or not files.exists(path):
        return {}
    of_model = f"{unit.rpartition('/')[2]}/"
    with files.explained_damage(path, "Run finetune again"):
        for each in files.read_json_object(path).get("tasks", {}).values():
            best = str(each.get("best_trial"))
            if each.get("task") != task.name or not best.startswith(of_model):
                continue
            for trial in each.get("trials", ()):
                if trial.get("folder") == best:
                    return {split: dict(trial[split]) for split in _SPLITS if trial.get(split)}
    return {}


def _description(weights: Weights, card: Card) -> list[str]:
    size, record = card.size, weights.record
    lines = [
        f"`{card.class_name}`: {size.num_hidden_layers} layers of width {size.hidden_size}, "
        f"{size.num_attention_heads} attention heads, {size.vocab_size:,} tokens.",
        f"Exported by electra-zh {__version__} from a {weights.kind}"
        + (f" at step {weights.step:,}" if weights.step else "")
        + (f", which started from `{record['start']}`" if record.get("start") else "")
        + ".",
    ]
    if card.task or weights.trained:
        lines.append(
            f"It was trained with sequences of at most {card.length} tokens, which is the "
            f"tokenizer's `model_max_length`; it has {size.max_position_embeddings} positions."
        )
    if card.task and card.task.outputs and not card.task.form.is_number:
        pairs = zip(card.task.outputs, card.task.readable_outputs, strict=True)
        shown = [label if label == name else f"{label} ({name})" for label, name in pairs]
        lines.append(f"Labels: {few(shown, 200)}")
    return [*lines, *(f"Note: {note}." for note in weights.notes)]


def _usage(card: Card) -> str:
    ends = (use for end, use in _USES.items() if card.class_name.endswith(end))
    text, last = next(ends, _STATES if card.class_name.endswith("Model") else _CLASSES)
    if card.task and card.task.form.is_number:
        text, last = _CLASSES[0], _NUMBER.format(*card.task.outputs)
    elif card.task and card.task.form.activation == "sigmoid":
        text, last = _CLASSES[0], _LABELS
    form = _ONNX if card.onnx else _TORCH
    return form.format(name=card.class_name, text=text, last=last)


def _score_section(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    rows = [
        f"| {split} | {name} | {value:.2f} |"
        for split, values in scores.items()
        for name, value in values.items()
    ]
    head = ["## Scores", "", "| split | metric | score |", "|---|---|---|"]
    return ["\n".join([*head, *rows])] if rows else []


def _settings(weights: Weights, card: Card) -> dict[str, Any]:
    values = dict(weights.record.get("settings") or {})
    if card.task:
        values = values.get(card.task.name, {})
    return {**dataclasses.asdict(card.size), **values}


def _table(title: str, values: Mapping[str, Any]) -> list[str]:
    """Returns a section with a table of plain values."""
    rows = [
        f"| {name} | {value} |"
        for name, value in values.items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return ["\n".join([f"## {title}", "", "| | |", "|---|---|", *rows])] if rows else []
