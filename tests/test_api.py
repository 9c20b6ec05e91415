"""The Python interface and `electra-zh embed`."""

from __future__ import annotations

import functools
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import electra_zh
from electra_zh.commands.command import Call
from electra_zh.commands.embedding import Embed, embed, write_npy
from electra_zh.errors import UserError
from electra_zh.text.tokenizer import make_tokenizer, pad
from support.converting import SENTENCES, make_fine_tuned, make_run, make_vocabulary
from support.reports import write_results

TASK = {
    "name": "t",
    "kind": "classification",
    "fields": {"text_a": "text"},
    "labels": {"names": ["0", "1"], "descriptions": ["财经", "体育"]},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two layers and a fine-tuned model."""
    folder = tmp_path_factory.mktemp("models")
    make_run(folder / "run", model={"num_hidden_layers": 2})
    make_fine_tuned(folder / "tuned", TASK)
    return folder


def test_the_import_does_not_load_tensorflow() -> None:
    code = (
        "import sys, electra_zh\n"
        "assert not {'tensorflow', 'numpy'} & {*sys.modules}\n"
        "names = [electra_zh.load_tokenizer, electra_zh.load_encoder, electra_zh.predict,\n"
        "         electra_zh.evaluate, electra_zh.read_results]\n"
        "assert 'tensorflow' not in sys.modules\n"
        "assert {each.__name__ for each in names} < {*dir(electra_zh)}"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        electra_zh.train  # noqa: B018


def test_the_tokenizer_of_a_run_and_of_a_file(place: Path) -> None:
    expected = make_tokenizer(make_vocabulary()).encode(SENTENCES[0])
    assert electra_zh.load_tokenizer(str(place / "run")).encode(SENTENCES[0]) == expected
    file = place / "run" / "vocab.txt"
    assert electra_zh.load_tokenizer(str(file)).encode(SENTENCES[0]) == expected


def test_vectors_do_not_depend_on_the_batch(place: Path) -> None:
    encoder = electra_zh.load_encoder(str(place / "run"), batch_size=2)
    together = encoder.pooled(SENTENCES)
    alone = np.concatenate([encoder.pooled([each]) for each in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    hidden = encoder(SENTENCES)
    states, mask = hidden.states, hidden.mask[:, :, None]
    np.testing.assert_allclose(together, (states * mask).sum(1) / mask.sum(1), atol=1e-5)
    np.testing.assert_allclose(encoder.pooled(SENTENCES, pool="cls"), states[:, 0], atol=1e-5)
    assert [len(tokens) for tokens in hidden.tokens] == hidden.mask.sum(1).tolist()
    assert hidden.tokens[0][:2] == ["[CLS]", "天"]


def test_hidden_states_are_those_of_the_run(place: Path) -> None:
    from electra_zh.pretraining import folder
    from electra_zh.pretraining.state import restore_objective

    encoder = electra_zh.load_encoder(str(place / "run"))
    rows = encoder._rows([SENTENCES[0]])
    ids, mask = pad(rows, encoder.max_seq_length, multiple=1)
    objective = restore_objective(folder.load(str(place / "run")))
    import tensorflow as tf

    expected = objective.encoder(*map(tf.constant, (ids, mask, np.zeros_like(ids)))).numpy()
    found = encoder([SENTENCES[0]]).states
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)
    assert encoder([]).states.shape[0] == len(encoder([]).tokens) == 0


def test_layers(place: Path) -> None:
    path = str(place / "run")
    last = electra_zh.load_encoder(path).pooled(SENTENCES)
    np.testing.assert_array_equal(electra_zh.load_encoder(path, layer=2).pooled(SENTENCES), last)
    first = electra_zh.load_encoder(path, layer=-2).pooled(SENTENCES)
    np.testing.assert_array_equal(electra_zh.load_encoder(path, layer=1).pooled(SENTENCES), first)
    assert not np.allclose(first, last)
    with pytest.raises(UserError, match="layer is 3; the model has the layers 1 to 2"):
        electra_zh.load_encoder(path, layer=3)


def test_one_text_is_not_a_list_of_characters(place: Path) -> None:
    encoder = electra_zh.load_encoder(str(place / "run"))
    predict = functools.partial(electra_zh.predict, "no model")
    calls: list[Callable[[str], object]] = [encoder, encoder.pooled, predict]
    for call in calls:
        with pytest.raises(UserError, match=r"^texts is one text, '天地'\. Give a list of texts$"):
            call("天地")


def test_long_texts_are_cut_and_counted(place: Path) -> None:
    encoder = electra_zh.load_encoder(str(place / "run"), max_seq_length=8)
    encoder.pooled([SENTENCES[1], "天地"])
    assert encoder.cut == 1
    assert encoder([SENTENCES[1]]).tokens[0][-1] == "[SEP]"
    assert len(encoder([SENTENCES[1]]).tokens[0]) == 8
    with pytest.raises(UserError, match="max_seq_length must be from 3 to the"):
        electra_zh.load_encoder(str(place / "run"), max_seq_length=10_000)


def test_predictions(place: Path) -> None:
    found = electra_zh.predict(str(place / "tuned"), ["天地", "玄黄"], probabilities=True)
    assert [each["id"] for each in found] == [0, 1]
    assert sum(found[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert electra_zh.predict(str(place / "tuned"), []) == []
    with pytest.raises(UserError, match="a text has several lines: '天\\\\n地'"):
        electra_zh.predict(str(place / "tuned"), ["天\n地"])


def test_a_predictor_is_loaded_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from electra_zh.finetuning import model

    label = electra_zh.load_predictor(str(place / "tuned"))
    monkeypatch.setattr(model, "load", None)
    (first,) = label(["天地"])
    again = label(["玄黄", "天地", ""], probabilities=True)
    assert again[1]["probability"] == pytest.approx(first["probability"], abs=1e-5)
    assert "probabilities" in again[0]
    assert "probabilities" not in first
    assert label([]) == []


def test_texts_that_end_a_line_are_one_text_each(place: Path) -> None:
    found = electra_zh.predict(str(place / "tuned"), ["天地\n", "\n", "玄黄\r\n"])
    assert [each["id"] for each in found] == [0, 1, 2]
    assert [each["label"] is None for each in found] == [False, True, False]


@pytest.mark.parametrize("value", [None, float("nan"), 1])
def test_values_that_are_not_texts_are_named(place: Path, value: object) -> None:
    message = f'a text is {value!r}, not a str. Give "" for a missing one'
    with pytest.raises(UserError, match=re.escape(message)):
        electra_zh.predict(str(place / "tuned"), ["天", value])  # type: ignore[list-item]
    with pytest.raises(UserError, match=re.escape(message)):
        electra_zh.load_encoder(str(place / "tuned")).pooled([value])  # type: ignore[list-item]


def test_texts_of_another_number_than_the_tasks_are_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"about single texts, not pairs; received \('天', '地'\)$"):
        electra_zh.predict(str(place / "tuned"), ["玄黄", ("天", "地")])
    fields = {"text_a": "a", "text_b": "b", "label": "label"}
    make_fine_tuned(tmp_path / "tuned", {**TASK, "fields": fields})
    with pytest.raises(UserError, match=r"about pairs of texts; received \('玄黄',\)$"):
        electra_zh.predict(str(tmp_path / "tuned"), [("天", "地"), "玄黄"])
    (found,) = electra_zh.predict(str(tmp_path / "tuned"), [("天\t玄", "地")])
    assert found["id"] == 0


def test_a_task_of_more_than_texts_is_refused(tmp_path: Path) -> None:
    task = {"name": "t", "kind": "span", "reader": "squad", "metric": "em", "labels": {}}
    make_fine_tuned(tmp_path / "tuned", task)
    with pytest.raises(UserError, match=r"task t \(span\) is not one of texts alone: write its"):
        electra_zh.predict(str(tmp_path / "tuned"), ["天"])


@pytest.mark.parametrize("first", ["text", '{"text": "地"}', "", "<html>", "天\t地"])
def test_a_text_is_never_part_of_a_form(place: Path, first: str) -> None:
    found = electra_zh.predict(str(place / "tuned"), [first, "玄黄"])
    assert [each["id"] for each in found] == [0, 1]
    if first:
        ((alone),) = electra_zh.predict(str(place / "tuned"), [first])
        assert found[0]["probability"] == pytest.approx(alone["probability"], abs=1e-5)


def test_results(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no results\.json"):
        electra_zh.read_results(str(tmp_path))
    write_results(tmp_path / "tuned", {"t": [80.0, 90.0]})
    found = electra_zh.read_results(str(tmp_path / "tuned"))
    assert (list(found), found["t"]["dev"]["mean"]) == (["t"], 85.0)


def _embed(place: Path, lines: str, **settings: Any) -> np.ndarray:
    (place / "texts").write_text(lines, encoding="utf-8")
    output = place / "x.npy"
    values = {"input": str(place / "texts"), "output": str(output), "overwrite": True, **settings}
    assert embed(Call(Embed(model=str(place / "run"), **values), {}, dry_run=False)) == 0
    found: np.ndarray = np.load(output, mmap_mode="r")
    return found


def test_a_vector_per_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _embed(place, "\n".join(["天地", "", *SENTENCES]) + "\n", pool="cls")
    encoder = electra_zh.load_encoder(str(place / "run"))
    expected = encoder.pooled(["天地", "", *SENTENCES], pool="cls")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert "x.npy: 5 vectors of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "gs://b/x.npy"}, "name a local file"),
        ({"input": "/no/file"}, "No such file: /no/file"),
        ({"overwrite": False}, "x.npy exists; --overwrite replaces it"),
    ],
)
def test_mistakes(place: Path, changes: dict[str, Any], message: str) -> None:
    (place / "x.npy").write_bytes(b"")
    with pytest.raises(UserError, match=message):
        _embed(place, "天地\n", **changes)


def test_a_line_that_is_not_utf8_is_named(place: Path) -> None:
    (place / "bad").write_bytes("天地\n".encode() + "玄黄\n".encode("gbk"))
    settings = Embed(str(place / "run"), str(place / "bad"), output=str(place / "y.npy"))
    with pytest.raises(UserError, match="bad"):
        embed(Call(settings, {}, dry_run=False))
    assert not (place / "y.npy").exists()


@pytest.mark.parametrize("rows", [0, 7, 123_456])
def test_the_header_has_room_for_any_number_of_rows(rows: int) -> None:
    file = io.BytesIO()
    blocks = [np.full((rows - rows // 2, 3), 1.5), np.full((rows // 2, 3), 2.5)]
    assert write_npy(file, iter(blocks), width=3) == rows
    file.seek(0)
    np.testing.assert_array_equal(np.load(file), np.concatenate(blocks).astype(np.float32))
