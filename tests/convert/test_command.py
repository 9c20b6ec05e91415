"""`electra-zh convert` in a process of its own."""

from __future__ import annotations

from pathlib import Path

from support.converting import make_run
from support.runner import done, electra, refused


def test_there_and_back(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    words = ("convert", "run", "--to", "google", "--output", "tf1")
    printed = done(electra(*words, cwd=tmp_path, fork=False))
    assert "run: pretraining run, 2 layers of 16" in printed
    assert "tf1/model.ckpt-7: " in printed
    words = ("convert", "tf1", "--to", "huggingface", "--output", "hf")
    printed = done(electra(*words, cwd=tmp_path))
    assert "hf/discriminator: ElectraForPreTraining" in printed
    assert "hf/generator: ElectraForMaskedLM" in printed
    assert "hf exists" in refused(electra(*words, cwd=tmp_path))
