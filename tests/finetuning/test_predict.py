"""New data through a fine-tuned model: one line per line, in every form."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning.predict import LineWriter, predict
from electra_zh.finetuning.request import PredictionRequest
from support.converting import make_fine_tuned

LABELS = {"names": ["0", "1"], "descriptions": ["财经", "体育"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tuned") / "model"
    task = {"name": "t", "kind": "classification", "fields": {"text_a": "text"}, "labels": LABELS}
    make_fine_tuned(folder, task)
    return folder


def run(
    model: Path, folder: Path, content: str, *, name: str = "new.txt", **changes: Any
) -> tuple[list[str], list[str]]:
    """Returns the lines of the output, and those for the user without the path of the input."""
    path, output = folder / name, folder / changes.pop("output", "out.jsonl")
    path.write_bytes(content.encode())
    summary = predict(PredictionRequest(str(model), str(path), str(output), **changes))
    lines = output.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    return lines, [line.replace(f"{path}: ", "") for line in summary.lines]


def test_one_line_of_output_for_each_line_of_input(model: Path, tmp_path: Path) -> None:
    lines, notes = run(model, tmp_path, "天地\n\n \u3000\u200b\n玄黄\n\n")
    found = [json.loads(line) for line in lines]
    assert [each["id"] for each in found] == [0, 1, 2, 3, 4]
    assert [each["label"] is None for each in found] == [False, True, True, False, True]
    assert found[1] == {"id": 1, "label": None, "probability": None}
    assert notes == [
        "read as plain lines, an example per line",
        "3 empty lines have no prediction (null)",
    ]


def test_texts_names_and_probabilities(model: Path, tmp_path: Path) -> None:
    (line,), _ = run(model, tmp_path, "天地\n", with_text=True, probabilities=True)
    found = json.loads(line)
    assert list(found) == ["id", "text", "label", "label_name", "probability", "probabilities"]
    assert found["text"] == "天地"
    assert found["label_name"] == {"0": "财经", "1": "体育"}[found["label"]]
    assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert found["probabilities"][found["label"]] == found["probability"]


@pytest.mark.parametrize("changes", [{"output": "out.tsv"}, {"format": "tsv"}])
def test_a_table(model: Path, tmp_path: Path, changes: dict[str, str]) -> None:
    lines, _ = run(model, tmp_path, "天地\n\n", with_text=True, probabilities=True, **changes)
    header = ["id", "text", "label", "label_name", "probability", "p(0)", "p(1)"]
    first, *rows = [line.split("\t") for line in lines]
    assert first == header
    assert [(row[0], row[1]) for row in rows] == [("0", "天地"), ("1", "")]


def test_the_format_overrules_the_name(model: Path, tmp_path: Path) -> None:
    lines, _ = run(model, tmp_path, "天地\n", output="out.tsv", format="jsonl")
    assert json.loads(lines[0])["id"] == 0


@pytest.mark.parametrize("name", ["new.txt", "new.json", "new", "new.tsv"])
@pytest.mark.parametrize(
    "content",
    [
        '{"text": "天地"}\n{"text": "玄黄"}\n',
        '[{"text": "天地"}, {"text": "玄黄"}]',
        "天地\n玄黄\n",
        "text\n天地\n玄黄\n",
        "text\tlabel\n天地\t0\n玄黄\t-1\n",
    ],
)
def test_the_content_decides_what_is_read(
    model: Path, tmp_path: Path, name: str, content: str
) -> None:
    lines, _ = run(model, tmp_path, content, name=name, with_text=True)
    assert [json.loads(line)["text"] for line in lines] == ["天地", "玄黄"]


def test_a_first_line_without_the_names_of_the_task_is_reported(
    model: Path, tmp_path: Path
) -> None:
    lines, notes = run(model, tmp_path, "评论\n天地\n", name="new.csv")
    assert len(lines) == 2
    assert "no header with names of the task: line 1 is an example" in notes
    _, notes = run(model, tmp_path, "text\n天地\n", name="named.csv", overwrite=True)
    assert not any("header" in note for note in notes)
    with pytest.raises(
        UserError, match=r'is named "text" .*: 评论, 地. Name the column of the text'
    ):
        run(model, tmp_path, "评论,地\n天地,玄\n", name="two.csv", overwrite=True)


def test_json_syntax_is_never_labelled(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'line 1: no field "text": the fields are title'):
        run(model, tmp_path, '{"title": "天地"}\n')
    assert not (tmp_path / "out.jsonl").exists()


def test_markup_is_never_labelled(model: Path, tmp_path: Path) -> None:
    content = '<doc id="1" url="x" title="天">\n天地\n</doc>\n'
    with pytest.raises(UserError, match="is WikiExtractor: extract its text first, or give"):
        run(model, tmp_path, content)
    lines, _ = run(model, tmp_path, content, reader="plain_texts")
    assert len(lines) == 3


def test_placeholders_are_not_gold(model: Path, tmp_path: Path) -> None:
    labelled = [f'{{"text": "天地", "label": {label}}}' for label in ("-1", "1", "0.0")]
    lines, notes = run(model, tmp_path, "\n".join(labelled))
    assert [json.loads(line).get("gold") for line in lines] == [None, "1", "0"]
    assert 'labels that end in ".0" are read without it' in notes
    assert "labels of the input that the task does not have are not in the output" in notes


def test_texts_that_are_cut_are_counted(model: Path, tmp_path: Path) -> None:
    _, notes = run(model, tmp_path, f"天地\n{'玄黄' * 500}\n")
    assert re.fullmatch(r"1 text cut to \d+ tokens, the max_seq_length", notes[-1])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("11", "not scored: the only label in the input is 1"),
        ("--", ""),
        ("01", r"accuracy 50\.00, macro_f1 33\.33, mcc 0\.00, f1 [\d.]+ \(2 labelled\)"),
        ("0-1", r"accuracy 50\.00, .* \(2 of 3 labelled\)"),
    ],
)
def test_labels_of_the_input_are_scored(
    model: Path, tmp_path: Path, labels: str, expected: str
) -> None:
    lines = [f"天\t{label}\n" for label in labels]
    (tmp_path / "new.tsv").write_text("".join(["text\tlabel\n", *lines]), encoding="utf-8")
    request = PredictionRequest(str(model), str(tmp_path / "new.tsv"), str(tmp_path / "out"))
    assert re.fullmatch(expected, predict(request).scores)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,label\n", "no example could be read"),
        ("", "is empty"),
        ('{"text": "天"}\n{"t": 1}\n{"t": 1}\n', "2 of 3 examples are bad"),
    ],
)
def test_no_predictions_are_an_error(
    model: Path, tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(model, tmp_path, content, name="new.csv", skip_bad=True)
    assert not (tmp_path / "out.jsonl").exists()


def test_sentences_with_entities(tmp_path: Path) -> None:
    labels = {"names": ["PER", "LOC"]}
    task = {"name": "t", "kind": "tagging", "reader": "columns", "labels": labels}
    make_fine_tuned(tmp_path / "model", task)
    lines, _ = run(tmp_path / "model", tmp_path, "天地\n\n玄黄\n")
    found = [json.loads(line) for line in lines]
    assert [(each["id"], each["text"]) for each in found] == [(0, "天地"), (1, ""), (2, "玄黄")]
    assert found[1]["entities"] == []
    # No sentence has a token.
    (line,), _ = run(tmp_path / "model", tmp_path, "\u200b\n", overwrite=True)
    assert json.loads(line)["entities"] == []
    (line,), _ = run(
        tmp_path / "model", tmp_path, '{"text": "天地", "label": [[0, 1, "PER"]]}', overwrite=True
    )
    assert json.loads(line)["gold"] == [{"type": "PER", "start": 0, "end": 1, "mention": "天"}]
    with pytest.raises(UsageError, match="--probabilities is for labels; tagging has none"):
        run(tmp_path / "model", tmp_path, "天\n", overwrite=True, probabilities=True)


def test_sentences_with_entities_of_one_type_are_scored(tmp_path: Path) -> None:
    task = {"name": "t", "kind": "tagging", "reader": "spans", "labels": {"names": ["PER"]}}
    make_fine_tuned(tmp_path / "model", task)
    lines = ['{"text": "天地", "label": [[0, 1, "PER"]]}', '{"text": "玄黄", "label": []}']
    (tmp_path / "new.json").write_text("\n".join(lines), encoding="utf-8")
    source = str(tmp_path / "new.json")
    request = PredictionRequest(str(tmp_path / "model"), source, str(tmp_path / "out"))
    assert re.fullmatch(r"f1 .* \(2 labelled\)", predict(request).scores)


def test_a_name_of_another_table_is_refused(tmp_path: Path) -> None:
    output = str(tmp_path / "labels.CSV")
    with pytest.raises(UsageError, match=r"labels.CSV: a table of predictions is TSV"):
        PredictionRequest("model", "-", output).check_together()
    PredictionRequest("model", "-", output, format="tsv").check_together()


def test_a_table_has_a_header_and_a_cell_for_everything() -> None:
    writer = LineWriter(table=True)
    lines = [
        {"id": 0, "text": "a\tb\nc", "label": None, "probabilities": None},
        {"id": 1, "text": "", "label": "x", "probabilities": {"x": 0.5, "y": 0.5}, "list": ["甲"]},
    ]
    assert writer.text(lines).decode() == (
        'id\ttext\tlabel\tp(x)\tp(y)\tlist\n0\ta b c\t\t\t\t\n1\t\tx\t0.5\t0.5\t["甲"]\n'
    )
    assert writer.text([{"id": 2, "text": "d"}]).decode() == "2\td\t\t\t\t\n"
    assert not list(writer.lines())
    assert writer.text([{"id": 3, "gold": "y"}]).decode() == "3\t\t\t\t\t\n"
    assert next(writer.lines()).startswith("the table has no column gold, as the first 4,096")
