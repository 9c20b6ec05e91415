"""The demo ends with a model that has visibly learnt; run by `make endings` (minutes)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from electra_zh import demo, files
from support.runner import done, electra


def _mean(folder: Path) -> float:
    return float(files.read_json(str(folder / "results.json"))["tasks"]["topics"]["dev"]["mean"])


@pytest.mark.slow
def test_the_endings(tmp_path: Path) -> None:
    printed = done(electra("demo", "--output", "demo", cwd=tmp_path, fork=False))
    assert printed.startswith("About ")
    folder = tmp_path / "demo"

    fills = json.loads(
        _first(electra("fill-mask", "demo/run", "--json", demo._FILL[0], cwd=tmp_path))
    )
    assert "上" in [fill["token"] for fill in fills["fills"][0]][:5]
    asked = electra("detect", "demo/run", "--json", demo._DETECT[1], cwd=tmp_path)
    detected = json.loads(_first(asked))
    probabilities = dict(zip(detected["tokens"], detected["probabilities"], strict=True))
    assert probabilities["茶"] == max(probabilities.values()) > 0.5

    summary = printed.partition("== Summary")[2]
    assert re.search(r"filled .*上 is guess [1-5]", summary)
    assert re.search(rf"found .*茶 is replaced with probability {probabilities['茶']:.2f}", summary)
    tuned, untrained = _mean(folder / "tuned"), _mean(folder / "untrained")
    assert tuned > untrained + 5
    assert f"{tuned:.1f} % of the topics are right, {untrained:.1f} % without" in summary
    assert f"{tuned - untrained:+.1f} points" in summary
    assert (folder / "huggingface" / "discriminator" / "model.safetensors").exists()
    assert "<svg" in (folder / "report.html").read_text("utf-8")
    commands = re.findall(r"^  electra-zh (\S+)", summary, re.MULTILINE)
    assert commands == ["clean", "fill-mask", "estimate"]


def _first(result: subprocess.CompletedProcess[str]) -> str:
    return done(result).splitlines()[0]
