"""The hub's own library reads the front matter of our model cards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.convert.forms import huggingface
from support.converting import make_fine_tuned, open_fine_tuned

pytestmark = pytest.mark.interop


def test_the_hub_reads_the_card(tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    task = {"name": "t", "kind": "classification", "labels": ["a", "b"]}
    make_fine_tuned(tmp_path / "results" / "t" / "model", task)
    trial = {"folder": "t/trial-0", "dev": {"accuracy": 51.5}, "test": {"accuracy": 50.5}}
    each = {"task": "t", "best_trial": "t/trial-0", "trials": [trial]}
    saved = json.dumps({"tasks": {"t": each}})
    (tmp_path / "results" / "results.json").write_text(saved, encoding="utf-8")
    weights = open_fine_tuned(tmp_path / "results" / "t" / "model")
    huggingface.write(weights, str(tmp_path / "hf"))
    card = ModelCard.load(tmp_path / "hf" / "README.md")
    assert (card.data.language, card.data.pipeline_tag) == ("zh", "text-classification")
    scores = {each.dataset_split: each.metric_value for each in card.data.eval_results}
    assert scores == {"validation": 51.5, "test": 50.5}
