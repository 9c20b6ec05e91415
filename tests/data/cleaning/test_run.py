"""A complete cleaning: the text it keeps, the counts, and the files it protects."""

from __future__ import annotations

import dataclasses
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from electra_zh.data.cleaning import run, units
from electra_zh.data.cleaning.report import CleaningReport
from electra_zh.data.cleaning.settings import CleanSettings
from electra_zh.errors import UserError
from support.building import contents

LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳"


def _line(generator: random.Random) -> str:
    return "".join(generator.choices(LETTERS, k=generator.randint(20, 40))) + "。"


def _documents(count: int, *, seed: int = 0) -> list[list[str]]:
    generator = random.Random(seed)
    return [[_line(generator) for _ in range(generator.randint(3, 6))] for _ in range(count)]


def _join(documents: list[list[str]]) -> str:
    return "\n\n".join("\n".join(lines) for lines in documents) + "\n"


def _settings(folder: Path, **changes: object) -> CleanSettings:
    base = CleanSettings((str(folder / "in"),), str(folder / "out"), num_processes=1)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def _write(folder: Path, *texts: str) -> None:
    (folder / "in").mkdir()
    for index, text in enumerate(texts):
        (folder / "in" / f"{index}.txt").write_text(text, encoding="utf-8")


def _cleaned(folder: Path, name: str = "out") -> list[list[str]]:
    texts = [path.read_text("utf-8") for path in sorted((folder / name).glob("cleaned-*"))]
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in texts)
    return [part.split("\n") for text in texts for part in text[:-1].split("\n\n")]


def _removed(report: CleaningReport) -> dict[str, tuple[int, int]]:
    return {
        each.rule: (each.amount.documents, each.amount.lines)
        for each in report.removed
        if each.amount.lines or each.amount.documents
    }


def test_good_text_is_kept_unchanged(tmp_path: Path) -> None:
    documents = _documents(20)
    _write(tmp_path, _join(documents[:12]), _join(documents[12:]))
    report = run.clean(_settings(tmp_path))
    assert _cleaned(tmp_path) == documents
    assert report.read == report.kept
    assert report.kept.documents == 20
    assert report.kept.lines == sum(map(len, documents))
    assert report.kept.characters == sum(len(line) for lines in documents for line in lines)
    assert not _removed(report)


def test_the_first_of_equal_documents_is_kept(tmp_path: Path) -> None:
    first, second, third = _documents(3)
    _write(tmp_path, _join([first, second, first]), _join([second, third]))
    report = run.clean(_settings(tmp_path))
    assert _cleaned(tmp_path) == [first, second, third]
    assert _removed(report) == {"document_duplicate": (2, len(first) + len(second))}
    again = run.clean(_settings(tmp_path, keep_duplicates=True, overwrite=True))
    assert again.kept.documents == 5


def test_samples_come_from_different_documents(tmp_path: Path) -> None:
    first, second, third = _documents(3)
    _write(tmp_path, _join([first, second, first, second, third]))
    (duplicates,) = [
        each for each in run.clean(_settings(tmp_path)).removed if each.rule == "document_duplicate"
    ]
    assert duplicates.samples == (first[0], second[0])


def test_all_copies_of_boilerplate_are_removed_and_the_rest_is_judged_again(tmp_path: Path) -> None:
    documents = _documents(6)
    footer = "版权所有，转载请注明出处。"
    short = [footer, "这里剩下的太少了。"]
    texts = [[*lines, footer] for lines in documents]
    _write(tmp_path, _join([*texts, short]))
    report = run.clean(_settings(tmp_path, boilerplate=6, min_document=20))
    assert _cleaned(tmp_path) == documents
    assert _removed(report) == {"line_boilerplate": (0, 7), "document_remains": (1, 1)}


def test_long_lines_that_occur_earlier_are_removed(tmp_path: Path) -> None:
    first, second, third = _documents(3)
    texts = [[*first, "他笑了笑。"], [*second, first[0], "他笑了笑。"], [*third, second[0]]]
    _write(tmp_path, *(_join([text]) for text in texts))
    report = run.clean(_settings(tmp_path, duplicate_lines=10))
    assert _cleaned(tmp_path) == [texts[0], [*second, "他笑了笑。"], third]
    assert _removed(report) == {"line_duplicate": (0, 2)}


def test_documents_with_evaluation_data_are_removed(tmp_path: Path) -> None:
    documents = _documents(5)
    _write(tmp_path, _join(documents))
    question = {"question": f"{documents[2][0]}？", "answers": [{"text": documents[4][-1][:15]}]}
    (tmp_path / "dev.json").write_text(json.dumps({"data": [question]}, ensure_ascii=False))
    report = run.clean(_settings(tmp_path, decontaminate=(str(tmp_path / "dev.json"),)))
    assert _cleaned(tmp_path) == [documents[0], documents[1], documents[3]]
    assert _removed(report)["document_contaminated"][0] == 2
    assert report.evaluation_files == ("dev.json",)


def _mixed(tmp_path: Path) -> None:
    """Writes a corpus that has text for every rule."""
    generator = random.Random(3)
    documents = _documents(200, seed=2)
    bad = [
        "短",
        "only English words here, nothing else",
        "哈" * 40,
        "\u200b",
        "坏\ufffd\ufffd字符号",
    ]
    for lines in documents:
        for _ in range(generator.randint(0, 2)):
            other = generator.choice(documents)
            line = generator.choice([*bad, lines[0], other[0], "版权所有，转载请注明出处。"])
            lines.insert(generator.randint(1, len(lines)), line)
    documents += [
        documents[0],
        [*documents[1], "只多了这一行，别的没有。"],
        documents[2][:1],
        ["短"],
    ]
    generator.shuffle(documents)
    _write(tmp_path, _join(documents[:30]), _join(documents[30:150]), _join(documents[150:]))
    (tmp_path / "dev.txt").write_text(documents[5][0] + "\n" + documents[100][0])


def _all_rules(tmp_path: Path, **changes: object) -> CleanSettings:
    return _settings(
        tmp_path,
        boilerplate=5,
        duplicate_lines=20,
        near_duplicates=0.7,
        max_document_repeats=0.25,
        decontaminate=(str(tmp_path / "dev.txt"),),
        **changes,
    )


def test_the_bytes_do_not_depend_on_the_processes(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    _mixed(tmp_path)
    one = _all_rules(tmp_path, unit_bytes=3000)
    run.clean(one)
    two = dataclasses.replace(one, output=str(tmp_path / "two"), num_processes=2)
    report = run.clean(two)
    assert len(report.output) > 5
    assert contents(tmp_path / "out") == contents(tmp_path / "two")


def test_the_text_and_the_sums_do_not_depend_on_the_units(tmp_path: Path) -> None:
    pytest.importorskip("rensa")
    _mixed(tmp_path)
    many = run.clean(_all_rules(tmp_path, unit_bytes=3000))
    one = run.clean(_all_rules(tmp_path, output=str(tmp_path / "one")))
    assert len(one.output) == 1 < len(many.output)
    assert _cleaned(tmp_path) == _cleaned(tmp_path, "one")
    assert one.removed == many.removed
    assert len(_removed(one)) > 10
    for name in ("documents", "lines", "characters"):
        removed = sum(getattr(each.amount, name) for each in one.removed)
        assert getattr(one.read, name) == getattr(one.kept, name) + removed
        assert getattr(one.kept, name) == sum(getattr(file.amount, name) for file in many.output)


def test_cleaned_text_is_clean(tmp_path: Path) -> None:
    _mixed(tmp_path)
    changes: dict[str, Any] = {"duplicate_lines": 20, "boilerplate": 0}
    run.clean(_settings(tmp_path, **changes))
    inputs = (str(tmp_path / "out"),)
    again = run.clean(_settings(tmp_path, inputs=inputs, output=str(tmp_path / "again"), **changes))
    assert not _removed(again)
    assert _cleaned(tmp_path) == _cleaned(tmp_path, "again")


@pytest.mark.parametrize(
    ("compress", "read"),
    [("gz", gzip.decompress), ("zst", lambda data: zstandard.decompress(data, 1 << 20))],
)
def test_compressed_text(tmp_path: Path, compress: str, read: Callable[[bytes], bytes]) -> None:
    documents = _documents(5)
    _write(tmp_path, _join(documents))
    run.clean(_settings(tmp_path, compress=compress))
    path = tmp_path / "out" / f"cleaned-00000-of-00001.txt.{compress}"
    assert read(path.read_bytes()).decode() == _join(documents)
    again = _settings(tmp_path, inputs=(str(tmp_path / "out"),), output=str(tmp_path / "again"))
    run.clean(again)
    assert _cleaned(tmp_path, "again") == documents


def test_the_report_and_its_summary(tmp_path: Path) -> None:
    documents = _documents(3)
    _write(tmp_path, _join([[*documents[0], "短"], *documents[1:]]))
    (tmp_path / "in" / "1.jsonl").write_text('{"text": 3}\n')
    report = run.clean(_settings(tmp_path))
    saved = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert saved["kind"] == "electra-zh clean"
    assert saved["settings"]["min_line"] == 5
    (short,) = [rule for rule in saved["removed"] if rule["rule"] == "line_short"]
    assert short["amount"] == {"documents": 0, "lines": 1, "characters": 1}
    assert short["samples"] == ["短"]
    assert saved["bad_lines"][0]["first"] == ["1.jsonl:1"]
    assert saved["output"][0]["amount"]["documents"] == report.kept.documents == 3
    assert str(tmp_path) not in json.dumps(saved)
    summary = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "lines under 5 characters" in summary
    assert 'skipped: 1 line, no text in field "text", first 1.jsonl:1' in summary


def test_without_text_to_keep_nothing_is_written(tmp_path: Path) -> None:
    _write(tmp_path, "short\n\nlines\n")
    message = "The rules remove all 2 documents and 2 lines; .* most: lines under 20% Chinese"
    with pytest.raises(UserError, match=message):
        run.clean(_settings(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_no_text_is_an_error(tmp_path: Path) -> None:
    _write(tmp_path, "\n \n")
    with pytest.raises(UserError, match="Nothing to clean: the input has no text"):
        run.clean(_settings(tmp_path))


def test_only_cleaned_folders_are_replaced_and_only_with_overwrite(tmp_path: Path) -> None:
    documents = _documents(3)
    _write(tmp_path, _join(documents))
    run.clean(_settings(tmp_path))
    before = contents(tmp_path / "out")
    with pytest.raises(UserError, match="holds cleaned text; choose another folder, or --over"):
        run.clean(_settings(tmp_path))
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"has files that clean did not write \(notes.txt\)"):
        run.clean(_settings(tmp_path, overwrite=True))
    (tmp_path / "out" / "notes.txt").unlink()
    assert contents(tmp_path / "out") == before
    run.clean(_settings(tmp_path, overwrite=True, compress="gz"))
    assert sorted(contents(tmp_path / "out")) == [
        "cleaned-00000-of-00001.txt.gz",
        "report.json",
        "report.md",
    ]


def test_an_unknown_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, _join(_documents(3)))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r"clean did not write \(report.json\)"):
        run.clean(_settings(tmp_path, overwrite=True))
    for name in ("report.json", "report.json/new"):
        with pytest.raises(UserError, match=r"report\.json is a file; --output names a folder"):
            run.clean(_settings(tmp_path, output=str(tmp_path / "out" / name)))
    with pytest.raises(UserError, match="--output is empty"):
        run.clean(_settings(tmp_path, output=""))


def test_neither_input_nor_output_may_be_inside_the_other(tmp_path: Path) -> None:
    _write(tmp_path, _join(_documents(3)))
    with pytest.raises(UserError, match="is inside the input"):
        run.clean(_settings(tmp_path, output=str(tmp_path / "in" / "clean")))
    run.clean(_settings(tmp_path))
    inside = (str(tmp_path / "out" / "cleaned-00000-of-00001.txt"),)
    with pytest.raises(UserError, match="is inside --output"):
        run.clean(_settings(tmp_path, inputs=inside, overwrite=True))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), r"^Interrupted\. Nothing was written; start it again\."),
        (OSError(28, "No space left on device"), r"^No space left on device\. Nothing was"),
    ],
)
def test_an_interrupted_run_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
) -> None:
    _write(tmp_path, _join(_documents(9)), _join(_documents(9, seed=1)))
    run.clean(_settings(tmp_path))
    before = contents(tmp_path)
    real = units.write_unit
    done: list[object] = []

    def write(*args: Any, **named: Any) -> object:
        if done:
            raise error
        done.append(args)
        return real(*args, **named)

    monkeypatch.setattr(run, "write_unit", write)
    with pytest.raises(UserError, match=message):
        run.clean(_settings(tmp_path, overwrite=True, unit_bytes=500))
    assert contents(tmp_path) == before
