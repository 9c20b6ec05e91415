"""ONNX files compute in onnxruntime what the networks compute, for any batch and length."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.forms import onnx
from electra_zh.convert.source import open_source
from electra_zh.finetuning.kinds.base import Hidden
from support.converting import make_fine_tuned, make_run, make_vocabulary, open_fine_tuned

pytestmark = pytest.mark.interop


def _fed(*shape: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(shape[-1])
    mask = np.arange(shape[-1]) < generator.integers(1, shape[-1] + 1, [*shape[:-1], 1])
    arrays = {
        "input_ids": generator.integers(5, make_vocabulary().size, shape),
        "attention_mask": mask,
        "token_type_ids": mask & (np.arange(shape[-1]) > shape[-1] // 2),
    }
    return {name: value.astype(np.int64) for name, value in arrays.items()}


def _flat(fed: dict[str, np.ndarray]) -> list[tf.Tensor]:
    rows = (value.reshape([-1, value.shape[-1]]) for value in fed.values())
    return [tf.constant(value, tf.int32) for value in rows]


def _session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path))


def _close(found: np.ndarray, expected: Any) -> None:
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=0, atol=1e-5)


def test_the_discriminator_of_a_run(tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run")
    lines = onnx.write(open_source(run.folder), str(tmp_path / "onnx"))
    assert lines[0] == f"{tmp_path}/onnx/discriminator: ElectraForPreTraining"
    names = {path.name for path in (tmp_path / "onnx" / "generator").iterdir()}
    assert {"model.onnx", "config.json", "vocab.txt"} <= names
    assert "model.safetensors" not in names
    session = _session(tmp_path / "onnx" / "discriminator" / "model.onnx")
    for shape in ((1, 1), (3, 17), (2, 32)):
        fed = _fed(*shape)
        sequence = state.objective.encoder(*_flat(fed))
        _close(session.run(["logits"], fed)[0], state.objective.rtd_head(sequence))


@pytest.mark.parametrize(("width", "folder"), [(8, "onnx/generator"), (16, "onnx")])
def test_a_masked_lm_alone(width: int, folder: str, tmp_path: Path) -> None:
    """With embeddings as wide as the layers it is a BERT."""
    run, state = make_run(tmp_path / "run", objective="masked_lm", model={"embedding_size": width})
    onnx.write(open_source(run.folder), str(tmp_path / "onnx"))
    session = _session(tmp_path / folder / "model.onnx")
    names = ("input_ids", "input_mask", "segment_ids")
    for shape in ((1, 1), (3, 17)):
        fed = _fed(*shape)
        batch = dict(zip(names, _flat(fed), strict=True))
        positions = tf.tile(tf.range(shape[1])[None], [shape[0], 1])
        expected = state.objective.generator_logits(batch, positions)
        _close(session.run(["logits"], fed)[0], expected)


def test_multiple_choice(tmp_path: Path) -> None:
    tuned = make_fine_tuned(tmp_path / "model", {"name": "tests", "kind": "choice"})
    onnx.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "onnx"))
    session = _session(tmp_path / "onnx" / "model.onnx")
    for shape in ((1, 4, 9), (3, 2, 64)):
        fed = _fed(*shape)
        sequence = tuned.model.encoder(*_flat(fed))
        hidden = Hidden(sequence, shape[0] * shape[1], shape[2], None)
        expected = tuned.model.heads["tests"](hidden, tf.ones(shape[:2]))
        _close(session.run(["logits"], fed)[0], expected)
