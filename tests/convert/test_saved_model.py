"""SavedModels loaded without electra_zh give the outputs of the networks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.forms import google, saved_model
from electra_zh.convert.source import open_source
from electra_zh.finetuning.examples import TextExample
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.models.encoder import Encoder
from support.converting import (
    SENTENCES,
    make_fine_tuned,
    make_run,
    make_vocabulary,
    open_fine_tuned,
)

# Each export takes seconds, so these run with the conversions to transformers.
pytestmark = pytest.mark.interop

TOLERANCE = 1e-5
IDS = ("input_ids", "input_mask", "segment_ids")
TASKS: tuple[dict[str, object], ...] = (
    {"name": "topics", "kind": "classification", "labels": ["甲", "乙", "丙"]},
    {"name": "plain", "kind": "classification", "labels": ["a", "b"], "head": "reference"},
    {"name": "likeness", "kind": "regression", "labels": ["0", "5"]},
    {"name": "names", "kind": "tagging", "labels": ["PER", "ORG"]},
    {"name": "reading", "kind": "span"},
    {"name": "tests", "kind": "choice"},
    {"name": "several", "kind": "multi_label", "labels": ["甲", "乙", "丙"]},
)
# The program of another process: no electra_zh, and tensorflow_text only on request.
_SERVE = """
import sys
sys.modules["electra_zh"] = None
import numpy as np, tensorflow as tf
if sys.argv[1] == "text":
    import tensorflow_text
loaded = {}
for number in range(int(sys.argv[2])):
    with np.load(f"in{number}.npz") as file:
        fed = {k: (v.astype("T") if v.dtype.kind == "U" else v) for k, v in file.items()}
    folder, name = (str(fed.pop(key)) for key in ("folder", "signature"))
    if folder not in loaded:
        loaded[folder] = tf.saved_model.load(folder)
    tensors = {k: tf.constant([s.encode() for s in v] if v.dtype.kind == "T" else v)
               for k, v in fed.items()}
    found = loaded[folder].signatures[name](**tensors)
    np.savez(f"out{number}.npz", **{k: v.numpy() for k, v in found.items()})
"""


def _serve(
    folder: Path, *calls: tuple[Path, str, Mapping[str, object]], text: bool
) -> list[dict[str, np.ndarray]]:
    """Asks signatures of saved models, in a new process."""
    folder.mkdir(exist_ok=True)
    for number, (model, signature, fed) in enumerate(calls):
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in fed.items()}
        np.savez(folder / f"in{number}.npz", folder=str(model), signature=signature, **arrays)
    words = ("text" if text else "ids", str(len(calls)))
    result = subprocess.run(
        [sys.executable, "-c", _SERVE, *words], cwd=folder, capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr.decode()[-2000:]
    found = []
    for number in range(len(calls)):
        with np.load(folder / f"out{number}.npz") as file:
            found.append(dict(file))
    return found


def _batch(rows: int, length: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(rows * 100 + length)
    mask = np.arange(length) < generator.integers(1, length + 1, [rows, 1])
    arrays = {
        "input_ids": generator.integers(5, make_vocabulary().size, [rows, length]) * mask,
        "input_mask": mask,
        "segment_ids": mask & (np.arange(length) > length // 2),
    }
    return {name: value.astype(np.int32) for name, value in arrays.items()}


BATCHES = (_batch(1, 1), _batch(3, 17), _batch(4, 64))


def _hidden(encoder: Encoder, batch: Mapping[str, np.ndarray]) -> Hidden:
    sequence = encoder(*(tf.constant(batch[name]) for name in IDS))
    batch_size, length = batch["input_ids"].shape
    return Hidden(sequence, batch_size, length, None)


def _close(found: np.ndarray, expected: object) -> None:
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_a_run(tmp_path: Path) -> None:
    # The tasks' encoder has a projection; this one has none.
    run, state = make_run(tmp_path / "run", model={"embedding_size": 16})
    lines = saved_model.write(open_source(run.folder), str(tmp_path / "served"))
    assert lines[0].endswith("SavedModel with the signatures ids, texts, text_pairs")
    served = tmp_path / "served"
    assert sorted(path.name for path in (served / "assets").iterdir()) == ["vocab.txt"]
    texts = {"texts": [*SENTENCES, ""]}
    batches = [_batch(1, 1), _batch(3, 17), _batch(4, 32)]
    calls: list[tuple[Path, str, Mapping[str, object]]] = [
        *((served, "ids", batch) for batch in batches),
        (served, "texts", texts),
    ]
    *found, from_texts = _serve(tmp_path / "asked", *calls, text=True)
    tokenizer = run.make_tokenizer()
    for row, mask, text in zip(
        from_texts["input_ids"], from_texts["input_mask"], texts["texts"], strict=True
    ):
        ids = list(tokenizer.encode(text))[:30]
        expected = [run.vocabulary.cls_id, *ids, run.vocabulary.sep_id]
        assert row[mask > 0].tolist() == expected
    encoder, head = state.objective.encoder, state.objective.rtd_head
    for batch, outputs in zip([*batches, from_texts], [*found, from_texts], strict=True):
        hidden = _hidden(encoder, batch)
        shape = batch["input_ids"].shape
        _close(outputs["hidden_states"], tf.reshape(hidden.sequence, [*shape, -1]))
        _close(outputs["pooled"], hidden.first())
        _close(outputs["replaced"], tf.sigmoid(tf.reshape(head(hidden.sequence), shape)))


def test_every_kind_of_task(tmp_path: Path) -> None:
    tuned = make_fine_tuned(tmp_path / "model", *TASKS)
    lines = saved_model.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "served"))
    without = [line for line in lines if "no signature takes text" in line]
    assert [line.partition("rows of ")[2][:4] for line in without] == ["span", "choi"]
    names = [str(task["name"]) for task in TASKS]
    for plain in (True, False):
        some = [name for name in names if (name in ("reading", "tests")) == plain]
        calls = [(tmp_path / "served" / name, "ids", b) for name in some for b in BATCHES]
        # Where no text is taken, tensorflow_text is not needed.
        found = _serve(tmp_path / f"asked{plain}", *calls, text=not plain)
        for (folder, _, batch), outputs in zip(calls, found, strict=True):
            hidden = _hidden(tuned.model.encoder, batch)
            expected = _expected(tuned.model.heads[folder.name], folder.name, hidden)
            assert set(outputs) == set(expected)
            for name, value in expected.items():
                _close(outputs[name], value)
    labels = (tmp_path / "served" / "names" / "assets" / "labels.txt").read_text().split("\n")
    assert labels[:6] == ["O", "B-PER", "I-PER", "E-PER", "S-PER", "B-ORG"]
    assert not (tmp_path / "served" / "tests" / "assets" / "labels.txt").exists()


def _expected(head: object, name: str, hidden: Hidden) -> dict[str, tf.Tensor]:
    """Returns the outputs of the heads that were trained."""
    shape = [hidden.rows, hidden.length]
    if name == "reading":
        scores = tf.reshape(head.output(hidden.sequence), [*shape, 2])  # type: ignore[attr-defined]
        return {"start_logits": scores[..., 0], "end_logits": scores[..., 1]}
    if name == "tests":
        return {"logits": head(hidden, tf.ones([1, hidden.rows]))[0]}  # type: ignore[operator]
    logits = head(hidden)  # type: ignore[operator]
    if name == "likeness":
        return {"value": logits[:, 0]}
    if name == "several":
        return {"probabilities": tf.sigmoid(logits)}
    key = "tag_probabilities" if name == "names" else "probabilities"
    return {key: tf.nn.softmax(logits)}


def test_pairs_of_texts_are_the_rows_of_the_task(tmp_path: Path) -> None:
    tuned = make_fine_tuned(tmp_path / "model", TASKS[0])
    saved_model.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "served"))
    first = [*SENTENCES, SENTENCES[0] * 5, "天", ""]
    second = [SENTENCES[1], "", "Σ天", SENTENCES[2] * 3, SENTENCES[0], "地"]
    fed = {"texts": first, "second_texts": second}
    (found,) = _serve(tmp_path / "asked", (tmp_path / "served", "text_pairs", fed), text=True)
    examples = [
        TextExample(number, a, b, None, "made")
        for number, (a, b) in enumerate(zip(first, second, strict=True))
    ]
    rows = tuned.kinds["topics"].encode(examples, tuned.pretrained.make_tokenizer(), training=False)
    real = found["input_mask"] > 0
    assert real.shape == (6, 32)
    np.testing.assert_array_equal(found["input_ids"][real], rows.ids)
    np.testing.assert_array_equal(found["segment_ids"][real], rows.segments)
    expected = tuned.model.heads["topics"](_hidden(tuned.model.encoder, found))
    _close(found["probabilities"], tf.nn.softmax(expected))


def test_a_head_that_is_not_served_is_refused(tmp_path: Path) -> None:
    reading = {"answerability": True}
    make_fine_tuned(tmp_path / "model", {**TASKS[4], "reading": reading})
    with pytest.raises(ValueError, match="task reading has answerability, which the served"):
        saved_model.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "served"))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_checkpoint_without_vocabulary_takes_ids_of_its_length(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    google.write(open_source(str(tmp_path / "run")), str(tmp_path / "tf1"))
    (tmp_path / "tf1" / "vocab.txt").unlink()
    lines = saved_model.write(open_source(str(tmp_path / "tf1")), str(tmp_path / "served"))
    assert "no signature takes text" in lines[1]
    assert "has no vocabulary" in lines[1]
    ids = tf.saved_model.load(str(tmp_path / "served")).signatures["ids"]
    batch = {name: tf.constant(value) for name, value in _batch(1, 33).items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match="longer than the 32 positions"):
        ids(**batch)
