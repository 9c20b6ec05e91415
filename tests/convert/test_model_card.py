"""The README.md of exported folders: front matter that the hub reads, and what was trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from electra_zh.convert import model_card
from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.pretraining import folder as runs
from support.converting import make_fine_tuned, make_run, open_fine_tuned

LABELS = ["财经", "体育: 足球", "no"]


def _read(folder: Path) -> tuple[dict[str, Any], str]:
    """Returns the front matter of a card, and its text."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def _results(folder: Path) -> Path:
    """Writes the results of two trials on a task; returns the folder of the model."""
    task = {"name": "t", "kind": "classification", "labels": LABELS, "max_seq_length": 48}
    make_fine_tuned(folder / "t" / "model", task)
    trials = [
        {"folder": f"t/trial-{seed}", "dev": {"accuracy": 50.0 + seed, "f1": 49.5}, "test": None}
        for seed in range(2)
    ]
    each = {"task": "t", "best_trial": "t/trial-1", "trials": trials}
    (folder / "results.json").write_text(json.dumps({"tasks": {"t": each}}), encoding="utf-8")
    return folder / "t" / "model"


def test_a_fine_tuned_model(tmp_path: Path) -> None:
    huggingface.write(open_fine_tuned(_results(tmp_path / "results")), str(tmp_path / "hf"))
    front, body = _read(tmp_path / "hf")
    assert front["language"] == "zh"
    assert front["pipeline_tag"] == "text-classification"
    assert front["tags"] == ["electra", "electra-zh", "classification"]
    assert not {"license", "base_model"} & front.keys()
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert result["dataset"] == {"type": "t", "name": "t", "split": "validation"}
    assert result["metrics"] == [
        {"type": "accuracy", "name": "accuracy", "value": 51.0},
        {"type": "f1", "name": "f1", "value": 49.5},
    ]
    assert "| dev | accuracy | 51.00 |" in body
    assert "ElectraForSequenceClassification.from_pretrained" in body
    assert "at most 48 tokens" in body
    assert "from a fine-tuned model, which started from `made`" in body
    assert "| max_seq_length | 48 |" in body
    settings = json.loads((tmp_path / "hf" / "config.json").read_text(encoding="utf-8"))
    assert settings["id2label"] == {str(n): label for n, label in enumerate(LABELS)}
    assert settings["label2id"] == {label: n for n, label in enumerate(LABELS)}
    tokenizer = json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert tokenizer["model_max_length"] == 48


def test_damaged_results_are_named(tmp_path: Path) -> None:
    model = open_fine_tuned(_results(tmp_path))
    (tmp_path / "results.json").write_text('{"tasks": {"t": 1}}', encoding="utf-8")
    with pytest.raises(UserError, match=r"results\.json is damaged .*Run finetune again"):
        huggingface.write(model, str(tmp_path / "hf"))


def test_labels_with_descriptions_have_readable_names(tmp_path: Path) -> None:
    labels = {"names": ["100", "101"], "descriptions": ["news_story", "news_culture"]}
    make_fine_tuned(tmp_path / "m", {"name": "t", "kind": "classification", "labels": labels})
    huggingface.write(open_fine_tuned(tmp_path / "m"), str(tmp_path / "hf"))
    settings = json.loads((tmp_path / "hf" / "config.json").read_text(encoding="utf-8"))
    assert settings["label2id"] == {"news_story": 0, "news_culture": 1}
    assert "Labels: 100 (news_story), 101 (news_culture)" in _read(tmp_path / "hf")[1]


@pytest.mark.parametrize(
    ("kind", "name", "pipeline"),
    [
        ("tagging", "ElectraForTokenClassification", "token-classification"),
        ("span", "ElectraForQuestionAnswering", "question-answering"),
        ("choice", "ElectraForMultipleChoice", "multiple-choice"),
        ("regression", "ElectraForSequenceClassification", "text-classification"),
        ("multi_label", "ElectraForSequenceClassification", "text-classification"),
    ],
)
def test_the_class_and_the_use_of_each_kind(
    kind: str, name: str, pipeline: str, tmp_path: Path
) -> None:
    labels = {"regression": ["0", "5"], "tagging": ["LOC", "PER"], "multi_label": ["a", "b"]}
    make_fine_tuned(tmp_path / "model", {"name": "t", "kind": kind, "labels": labels.get(kind, [])})
    huggingface.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "hf"))
    front, body = _read(tmp_path / "hf")
    assert front["pipeline_tag"] == pipeline
    assert "model-index" not in front
    code = body.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert f"model = {name}.from_pretrained(" in code
    assert ("id2label" in code) == (kind in ("tagging", "multi_label"))
    assert (".sigmoid()" in code) == (kind == "multi_label")
    assert ("print(0 + (5 - 0) * model(" in code) == (kind == "regression")


def test_both_networks_of_a_run(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run", model={"max_position_embeddings": 512})
    dataclasses.replace(run, data={"documents": 12, "tokens": 3456, "words": "jieba"}).save()
    assert runs.load(run.folder).data["documents"] == 12
    huggingface.write(open_source(run.folder), str(tmp_path / "hf"))
    front, body = _read(tmp_path / "hf" / "discriminator")
    assert "pipeline_tag" not in front
    assert "| tokens | 3456 |" in body
    assert f"| mask_prob | {run.config.mask_prob} |" in body
    length = run.config.max_seq_length
    assert f"at most {length} tokens, which is the tokenizer's `model_max_length`" in body
    front, body = _read(tmp_path / "hf" / "generator")
    assert front["pipeline_tag"] == "fill-mask"
    tokenizer = (tmp_path / "hf/generator/tokenizer_config.json").read_text(encoding="utf-8")
    assert json.loads(tokenizer)["model_max_length"] == length < 512


def test_a_model_of_another_tool_has_no_made_up_facts(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    google.write(open_source(run.folder), str(tmp_path / "tf1"))
    huggingface.write(open_source(str(tmp_path / "tf1")), str(tmp_path / "hf"))
    front, body = _read(tmp_path / "hf" / "discriminator")
    assert not {"license", "base_model", "model-index"} & front.keys()
    assert "from a ELECTRA of Google's code (TF1) at step 7." in body
    assert "was trained with" not in body


def test_a_base_model_is_named_where_its_name_is_known(tmp_path: Path) -> None:
    weights = open_source(make_run(tmp_path / "run")[0].folder)
    start = "/home/me/.cache/huggingface/hub/models--hfl--rbt3/snapshots/0a1b"
    for path, named in ((start, "hfl/rbt3"), ("hfl/rbt3", None)):
        known = dataclasses.replace(weights, record={"start": path})
        output = tmp_path / str(named).replace("/", "-")
        huggingface.write(known, str(output))
        assert _read(output / "discriminator")[0].get("base_model") == named


def test_onnx_files_have_another_use(tmp_path: Path) -> None:
    weights = open_source(make_run(tmp_path / "run")[0].folder)
    card = model_card.Card("ElectraForPreTraining", weights.model, 16, None, onnx=True)
    model_card.write(str(tmp_path), weights, card)
    front, body = _read(tmp_path)
    assert front["library_name"] == "onnx"
    assert "onnxruntime.InferenceSession" in body
    assert "from_pretrained" not in body.replace("AutoTokenizer.from_pretrained", "")
