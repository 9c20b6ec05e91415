"""Readers of texts and pairs: every public layout, and what is said of files that are wrong."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.errors import UsageError, UserError
from electra_zh.finetuning import readers, registry
from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.readers.base import READERS
from electra_zh.finetuning.readers.fields import Fields
from electra_zh.finetuning.readers.label_files import read_labels
from electra_zh.finetuning.readers.plain import is_plain
from electra_zh.finetuning.readers.streams import TaskFile
from electra_zh.finetuning.tasks import Labels, TaskConfig


def read(
    path: Path, task: TaskConfig | str, split: str = "train", *, problems: BadExamples | None = None
) -> list[TextExample]:
    if isinstance(task, str):
        task = registry.load([task])[0]
    return list(readers.read(str(path), task, split=split, bad=problems or BadExamples(skip=False)))


def short(examples: Sequence[TextExample]) -> list[tuple[Any, str, str | None, str | None]]:
    return [(each.id, each.text_a, each.text_b, each.label) for each in examples]


def write(folder: Path, name: str, *lines: str, end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def write_json(folder: Path, *rows: dict[str, Any]) -> Path:
    return write(folder, "rows.json", *(json.dumps(row, ensure_ascii=False) for row in rows))


def single(**changes: Any) -> TaskConfig:
    task = TaskConfig(
        "own",
        "classification",
        "table",
        "accuracy",
        fields={"text_a": "text", "columns": [["label", "text_a"]]},
    )
    return dataclasses.replace(task, **changes)


# JSON lines.


def test_pairs_of_json_with_a_number_each(tmp_path: Path) -> None:
    rows = [{"sentence1": "甲", "sentence2": "乙", "label": "0"}] * 2
    assert short(read(write_json(tmp_path, *rows), "afqmc")) == [
        (0, "甲", "乙", "0"),
        (1, "甲", "乙", "0"),
    ]


def test_ids_of_json_stay_what_they_are(tmp_path: Path) -> None:
    rows = [{"id": number, "sentence": "甲"} for number in (7, "a", 0)]
    assert [each.id for each in read(write_json(tmp_path, *rows), "tnews", "test")] == [7, "a", 0]


def test_test_files_have_no_labels(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"id": 3, "sentence": "甲", "keywords": ""})
    assert short(read(path, "tnews", "test")) == [(3, "甲", None, None)]


def test_labels_of_a_test_file_are_taken(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"sentence": "甲", "label": "101"})
    assert read(path, "tnews", "test")[0].label == "101"


def test_keywords_are_joined_by_what_the_task_says(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"id": 5, "abst": "摘要", "keyword": ["甲", "乙"], "label": "1"})
    assert short(read(path, "csl")) == [(5, "甲，乙", "摘要", "1")]
    (task,) = registry.load(["csl"])
    plain = dataclasses.replace(task, fields={"text_a": "keyword", "text_b": "abst"})
    assert short(read(path, plain)) == [(5, "甲 乙", "摘要", "1")]


@pytest.mark.parametrize(("label", "text"), [(True, "true"), (0, "0"), (2.5, "2.5"), (" x ", "x")])
def test_labels_of_any_type_become_text(tmp_path: Path, label: Any, text: str) -> None:
    path = write_json(tmp_path, {"sentence": "甲", "label": label})
    assert read(path, "iflytek")[0].label == text


def test_a_line_separator_inside_a_text_ends_no_line(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"sentence": "甲\u2028乙\x85丙", "label": "1"})
    assert [each.text_a for each in read(path, "iflytek")] == ["甲\u2028乙\x85丙"]


def test_the_diagnostics_are_new_data_of_inference(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"index": 4, "premise": "甲", "hypothesis": "乙"})
    assert short(read(path, "cmnli", "new")) == [(4, "甲", "乙", None)]


def test_undecided_pairs_are_skipped_in_train_and_dev(tmp_path: Path) -> None:
    rows = [{"sentence1": "甲", "sentence2": "乙", "label": label} for label in ("-", "neutral")]
    path = write_json(tmp_path, *rows)
    for split in ("train", "dev"):
        assert short(read(path, "ocnli", split)) == [(1, "甲", "乙", "neutral")]


def test_undecided_pairs_of_a_test_file_stay_without_a_label(tmp_path: Path) -> None:
    rows = [{"sentence1": "甲", "sentence2": "乙", "label": label} for label in ("-", "neutral")]
    found = read(write_json(tmp_path, *rows), "ocnli", "test")
    assert [each.label for each in found] == [None, "neutral"]


def test_a_missing_field_names_itself_and_what_there_is(tmp_path: Path) -> None:
    path = write_json(
        tmp_path,
        {"sentence1": "甲", "sentence2": "乙", "label": "0"},
        {"sentence1": "甲", "s2": "乙"},
    )
    with pytest.raises(
        UserError, match=r'rows.json, line 2: no field "sentence2": the fields are sentence1, s2'
    ):
        read(path, "afqmc")
    task = single(fields={"columns": [["text_a", "label"]]})
    with pytest.raises(UserError, match=r'line 1: no field "text_a": the fields are sentence1'):
        read(path, task, "new")


def test_a_field_that_is_not_text(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"sentence": {"a": 1}, "label": "100"})
    with pytest.raises(UserError, match=r'line 1: field "sentence" is not text: received {"a": 1}'):
        read(path, "tnews")


@pytest.mark.parametrize("label", [{}, {"label": ""}, {"label": None}])
def test_a_training_file_without_labels(tmp_path: Path, label: dict[str, Any]) -> None:
    path = write_json(tmp_path, {"id": 0, "sentence": "甲", **label})
    with pytest.raises(
        UserError, match=r"line 1: no label: is this a test file\?: found id, sentence"
    ):
        read(path, "tnews", "dev")


def test_bad_lines_are_counted_where_they_are_skipped(tmp_path: Path) -> None:
    good = json.dumps({"sentence": "甲", "label": "100"})
    path = write(tmp_path, "x.json", good, "{", "[]", '{"sentence": "甲"}', '{"label": "1"}', good)
    problems = BadExamples(skip=True)
    assert [each.place for each in read(path, "tnews", problems=problems)] == [
        f"{path}, line 1",
        f"{path}, line 6",
    ]
    assert sum(problems.counts.values()) == 4
    assert problems.first['no field "sentence"'] == f"{path}, line 5"


# Tables of the Chinese sets.


@pytest.mark.parametrize("header", [["label\ttext_a"], []])
def test_chnsenticorp(tmp_path: Path, header: list[str]) -> None:
    path = write(tmp_path, "train.tsv", *header, '1\t"很好', "0\t不好")
    assert short(read(path, "chnsenticorp")) == [(0, '"很好', None, "1"), (1, "不好", None, "0")]


@pytest.mark.parametrize("header", [["text_a\ttext_b\tlabel"], ["sentence1\tsentence2\tlabel"], []])
def test_lcqmc_with_and_without_a_header(tmp_path: Path, header: list[str]) -> None:
    path = write(tmp_path, "train.tsv", *header, "甲\t乙\t1")
    assert short(read(path, "lcqmc")) == [(0, "甲", "乙", "1")]


def test_two_columns_of_a_test_file_are_the_pair(tmp_path: Path) -> None:
    path = write(tmp_path, "test.tsv", "甲\t乙", "丙\t丁")
    assert short(read(path, "lcqmc", "test")) == [(0, "甲", "乙", None), (1, "丙", "丁", None)]


def test_bq_corpus_as_csv_with_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, "train.csv", "sentence1,sentence2,label", '"甲,""乙""",丙,1', "丁,戊,0")
    assert short(read(path, "bq_corpus")) == [(0, '甲,"乙"', "丙", "1"), (1, "丁", "戊", "0")]


def test_bq_corpus_as_tsv(tmp_path: Path) -> None:
    path = write(tmp_path, "train.tsv", "sentence1\tsentence2\tlabel", '"甲,乙\t丙\t1')
    assert short(read(path, "bq_corpus")) == [(0, '"甲,乙', "丙", "1")]


def test_a_quoted_field_of_csv_may_go_over_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "sentence1,sentence2,label", '"甲\n\n乙",丙,1', "丁,戊,0")
    assert [(each.text_a, each.place) for each in read(path, "bq_corpus")] == [
        ("甲\n\n乙", f"{path}, line 2"),
        ("丁", f"{path}, line 5"),
    ]


# A file of control characters is not text.
_CHARACTERS = st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n")


@given(st.lists(st.text(_CHARACTERS), min_size=1))
def test_csv_gives_back_what_was_written(tmp_path_factory: Any, texts: list[str]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("text", "label"), *((text, "1") for text in texts)])
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    path.write_bytes(buffer.getvalue().encode())
    assert [each.text_a for each in read(path, single())] == texts


@pytest.mark.parametrize("header", [["text\tlabel"], []])
def test_thucnews_text_then_label(tmp_path: Path, header: list[str]) -> None:
    path = write(tmp_path, "train.txt", *header, "词汇阅读是关键\t3", "中华女子学院\t3")
    assert [(each.text_a, each.label) for each in read(path, "thucnews")] == [
        ("词汇阅读是关键", "3"),
        ("中华女子学院", "3"),
    ]


def test_thucnews_label_then_text(tmp_path: Path) -> None:
    path = write(tmp_path, "cnews.train.txt", "体育\t马晓旭意外受伤", "财经\t股市\t上涨")
    assert [(each.text_a, each.label) for each in read(path, "thucnews")] == [
        ("马晓旭意外受伤", "体育"),
        ("股市\t上涨", "财经"),
    ]


def test_known_labels_tell_which_column_they_stand_in(tmp_path: Path) -> None:
    fields = {"columns": [["label", "text_a"], ["text_a", "label"]]}
    task = single(fields=fields, labels=Labels(names=("一个很长的标签的名字", "坏")))
    path = write(tmp_path, "a.tsv", "短\t一个很长的标签的名字", "文\t坏")
    assert [each.text_a for each in read(path, task)] == ["短", "文"]


def test_xnli_in_its_short_form(tmp_path: Path) -> None:
    path = write(tmp_path, "dev.tsv", "text_a\ttext_b\tlabel", "甲\t乙\tneutral")
    assert short(read(path, "xnli", "dev")) == [(0, "甲", "乙", "neutral")]


def test_the_training_set_of_xnli_says_contradictory(tmp_path: Path) -> None:
    path = write(tmp_path, "multinli.train.zh.tsv", "premise\thypo\tlabel", "甲\t乙\tcontradictory")
    assert short(read(path, "xnli")) == [(0, "甲", "乙", "contradiction")]


def test_of_the_official_xnli_only_chinese_is_read(tmp_path: Path) -> None:
    header = "language\tgold_label\tsentence1_parse\tsentence1\tsentence2\tpairID\tlabel1"
    path = write(
        tmp_path, "xnli.dev.tsv", header, "en\tneutral\t\ta\tb\t1\tx", "zh\tneutral\t\t甲\t乙\t2\tx"
    )
    assert short(read(path, "xnli", "dev")) == [(0, "甲", "乙", "neutral")]


@pytest.mark.parametrize(
    "line", ["1-main||甲||乙||3.8", "甲\t乙\t3.8"], ids=["between bars", "between TABs"]
)
def test_sts_b_in_chinese(tmp_path: Path, line: str) -> None:
    path = write(tmp_path, "train.txt", line, line)
    assert [(each.text_a, each.text_b, each.label) for each in read(path, "stsb_zh")] == [
        ("甲", "乙", "3.8")
    ] * 2


# GLUE.


def test_cola_has_no_header_but_in_test(tmp_path: Path) -> None:
    train = write(tmp_path, "train.tsv", "gj04\t1\t\tThey drank.", "gj04\t0\t*\tThey drank pub.")
    test = write(tmp_path, "test.tsv", "index\tsentence", "0\tBill ran.")
    assert short(read(train, "cola")) == [
        (0, "They drank.", None, "1"),
        (1, "They drank pub.", None, "0"),
    ]
    assert short(read(test, "cola", "test")) == [(0, "Bill ran.", None, None)]


def test_sst2(tmp_path: Path) -> None:
    train = write(tmp_path, "train.tsv", "sentence\tlabel", "so good \t1")
    test = write(tmp_path, "test.tsv", "index\tsentence", "9\tso bad")
    assert short(read(train, "sst2")) == [(0, "so good ", None, "1")]
    assert short(read(test, "sst2", "test")) == [(9, "so bad", None, None)]


@pytest.mark.parametrize("name", ["train.tsv", "msr_paraphrase_train.txt"])
def test_mrpc_with_a_byte_order_mark_and_lone_quotes(tmp_path: Path, name: str) -> None:
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String"
    path = write(tmp_path, name, header, '1\t70\t71\tHe said "no.\t"She said yes.', end="\r\n")
    assert short(read(path, "mrpc")) == [(0, 'He said "no.', '"She said yes.', "1")]


def test_sts_b(tmp_path: Path) -> None:
    header = (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    )
    path = write(
        tmp_path, "train.tsv", header, "5\tm\tf\t2012\t1\tn\tn\tA plane.\tAn air plane.\t5.0"
    )
    assert short(read(path, "stsb")) == [(5, "A plane.", "An air plane.", "5.0")]


def test_qqp_names_the_lines_that_break_off(tmp_path: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    path = write(tmp_path, "train.tsv", header, "8\t1\t2\tWhy?\tHow?\t0", "9\t3\t4\tWhat")
    with pytest.raises(
        UserError, match=r"train.tsv, line 3: too few columns: expected at least 6, found 4"
    ):
        read(path, "qqp")
    problems = BadExamples(skip=True)
    assert short(read(path, "qqp", problems=problems)) == [(8, "Why?", "How?", "0")]
    assert problems.counts == {"too few columns": 1}


def test_mnli(tmp_path: Path) -> None:
    header = "index\tpromptID\tsentence1_parse\tsentence1\tsentence2\tlabel1\tgold_label"
    path = write(tmp_path, "dev_matched.tsv", header, "2\t1\t(\tA\tB\tneutral\tentailment")
    assert short(read(path, "mnli", "dev")) == [(2, "A", "B", "entailment")]


@pytest.mark.parametrize(
    ("task", "names"), [("qnli", "question\tsentence"), ("rte", "sentence1\tsentence2")]
)
def test_qnli_and_rte(tmp_path: Path, task: str, names: str) -> None:
    path = write(tmp_path, "dev.tsv", f"index\t{names}\tlabel", "0\tA\tB\tnot_entailment")
    assert short(read(path, task, "dev")) == [(0, "A", "B", "not_entailment")]


# Tables in general.


def test_a_last_column_of_text_keeps_its_tabs(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "label\ttext", "1\t甲\t乙")
    assert read(path, single())[0].text_a == "甲\t乙"


def test_empty_lines_are_no_examples(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "", "label\ttext", "", "1\t甲", " ", "0\t乙", "")
    assert [(each.id, each.place[-6:]) for each in read(path, single())] == [
        (0, "line 4"),
        (1, "line 6"),
    ]


def test_a_table_may_be_json_lines(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"text": "甲", "label": 1})
    assert short(read(path, single())) == [(0, "甲", None, "1")]


def test_a_header_without_the_text(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "label\tcontents", "1\t甲")
    with pytest.raises(
        UserError, match=r'line 1: no column "text" \(text_a\); the columns are label, contents'
    ):
        read(path, single())


def test_a_header_where_the_texts_have_no_names(tmp_path: Path) -> None:
    task = single(fields={"columns": [["text_a", "label"]]})
    path = write(tmp_path, "dev.tsv", "text\tlabel", "天\t1")
    assert short(read(path, task)) == [(0, "天", None, "1")]
    path = write(tmp_path, "dev.tsv", "label\ttext", "1\t天")
    with pytest.raises(UserError, match=r"no column is named in the task file \(text_a\); the col"):
        read(path, task)


def test_columns_by_their_numbers(tmp_path: Path) -> None:
    task = single(fields={"text_a": 0, "label": 1})
    assert short(read(write(tmp_path, "a.tsv", "天\t1"), task)) == [(0, "天", None, "1")]


def test_a_header_without_the_label(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "index\tsentence", "1\tA")
    with pytest.raises(
        UserError, match=r'no column "label".*index, sentence. Is this a test file\?'
    ):
        read(path, "sst2", "dev")


def test_no_header_where_only_names_are_known(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "A\t1", "B\t0")
    with pytest.raises(
        UserError,
        match=r'line 1: none of the 2 columns is named "sentence" \(text_a\): A, 1. In the task',
    ):
        read(path, "sst2")


def test_a_first_line_that_breaks_off_is_the_only_bad_one(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "1", "0\t甲", "1\t乙")
    problems = BadExamples(skip=True)
    assert [each.text_a for each in read(path, single(), problems=problems)] == ["甲", "乙"]
    assert problems.first == {"too few columns": f"{path}, line 1"}


def test_an_empty_label_is_none(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "label\ttext", "\t甲")
    with pytest.raises(
        UserError, match=r"line 2: no label: is this a test file\?: found columns label, text"
    ):
        read(path, single())


def test_a_quote_of_csv_that_never_ends(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label", "甲,1", '"乙,0', "丙,1")
    message = "a.csv, line 3: not valid CSV, 2 lines in one record: unexpected end of data"
    with pytest.raises(UserError, match=message):
        read(path, single())
    problems = BadExamples(skip=True)
    assert len(read(path, single(), problems=problems)) == 1
    assert dict(problems.counts) == {"not valid CSV, 2 lines in one record": 1}


def test_fields_with_an_unknown_key(tmp_path: Path) -> None:
    task = single(fields={"text_a": "text", "lable": "y"})
    with pytest.raises(UsageError, match=r'unknown setting "lable". Did you mean "label"\?'):
        read(write(tmp_path, "a.tsv", "x"), task)


def test_fields_without_a_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="task own: fields: text_a is missing"):
        read(write(tmp_path, "a.tsv", "x"), single(fields={}))


def test_fields_as_words_between_bars_are_still_read() -> None:
    old = {"text_a": "text|1|0", "label": "y|0|1", "only": "lang=zh", "aliases": "a=b|c=d"}
    new = {
        "text_a": ["text"],
        "label": ["y"],
        "columns": [["label", "text_a"], ["text_a", "label"]],
        "only": {"lang": "zh"},
        "aliases": {"a": "b", "c": "d"},
    }
    assert Fields.of(single(fields=old)) == Fields.of(single(fields=new))


def test_a_separator_at_the_end_of_all_rows_is_no_column(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "id\ttext\n0\t天\t\n1\t地\t\n")
    found = read(path, single(fields={"text_a": "text"}), "test")
    assert [(each.id, each.text_a) for each in found] == [(0, "天"), (1, "地")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": [["text", "label"]]}, 'columns contains "text"; allowed: text_a, text_b'),
        ({"columns": [["label", "_"]]}, r"columns: \[label, _\] does not contain text_a"),
        ({"only": {"a": "x", "b": "y"}}, "only has 2 columns; give one"),
        ({"only": ["a"]}, "only must be a mapping"),
        ({"columns": ["label"]}, "columns must be a list"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"task own: fields: {message}"):
        Fields.of(single(fields={"text_a": "text", **fields}))


# Files of labels.


def test_label_names_from_json_lines(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"label": "100", "label_desc": "a"}, {"label": 101})
    assert read_labels(str(path), "label").names == ("100", "101")


def test_label_names_one_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, "class.txt", "体育", "", "财经 ")
    assert read_labels(str(path), "label").names == ("体育", "财经")


def test_a_duplicate_label_name(tmp_path: Path) -> None:
    path = write(tmp_path, "class.txt", "体育", "体育")
    with pytest.raises(UserError, match=r'class.txt, line 2: duplicate label "体育"'):
        read_labels(str(path), "label")


def test_a_line_of_labels_without_the_field(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"label": "1"}, {"name": "2"})
    with pytest.raises(UserError, match=r'line 2: no label in the field "label"'):
        read_labels(str(path), "label")


# CLUEWSC2020.


def wsc_row(
    text: str, first: tuple[str, int], second: tuple[str, int], **more: Any
) -> dict[str, Any]:
    target = {
        "span1_text": first[0],
        "span1_index": first[1],
        "span2_text": second[0],
        "span2_index": second[1],
    }
    return {"target": target, "text": text, **more}


@pytest.mark.parametrize(
    ("text", "first", "second", "marked"),
    [
        ("小明说他累。", ("小明", 0), ("他", 3), "_小明_说[他]累。"),
        ("他说小明累。", ("小明", 2), ("他", 0), "[他]说_小明_累。"),
        ("小明他累", ("小明", 0), ("他", 2), "_小明_[他]累"),
        ("他的书好", ("他的书", 0), ("他", 0), "[_他]的书_好"),
        ("我的他", ("我的他", 0), ("他", 2), "_我的[他]_"),
    ],
)
def test_both_spans_are_marked(
    tmp_path: Path, text: str, first: tuple[str, int], second: tuple[str, int], marked: str
) -> None:
    path = write_json(tmp_path, wsc_row(text, first, second, idx=9, label="true"))
    assert short(read(path, "cluewsc2020")) == [(9, marked, None, "true")]


def test_a_wsc_test_file(tmp_path: Path) -> None:
    path = write_json(tmp_path, wsc_row("小明说他累。", ("小明", 0), ("他", 3), id=4))
    assert short(read(path, "cluewsc2020", "test")) == [(4, "_小明_说[他]累。", None, None)]


def test_a_span_near_its_index_is_found(tmp_path: Path) -> None:
    path = write_json(tmp_path, wsc_row("小明说他累。", ("小明", 2), ("他", 1), label=True))
    assert short(read(path, "cluewsc2020")) == [(0, "_小明_说[他]累。", None, "true")]


@pytest.mark.parametrize("text", ["他说小明他累", "小明说小明累累累累他"], ids=["twice", "too far"])
def test_a_span_that_is_not_at_its_index(tmp_path: Path, text: str) -> None:
    path = write_json(tmp_path, wsc_row(text, ("小明", 2), ("他", 1), label="true"))
    with pytest.raises(
        UserError, match=r'line 1: span [12] is not at its index: "(他|小明)" at index'
    ):
        read(path, "cluewsc2020")


def test_a_line_without_spans(tmp_path: Path) -> None:
    path = write_json(tmp_path, {"text": "甲", "label": "true"})
    with pytest.raises(UserError, match=r'line 1: no span 1: "target" must have span1_text'):
        read(path, "cluewsc2020")


@given(st.data())
def test_marks_leave_the_text_and_hold_the_spans(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    text = data.draw(st.text("甲乙丙丁", min_size=2, max_size=12))
    cuts = [data.draw(st.integers(0, len(text) - 1)) for _ in range(2)]
    spans = [text[cut : data.draw(st.integers(cut + 1, len(text)))] for cut in cuts]
    row = wsc_row(text, (spans[0], cuts[0]), (spans[1], cuts[1]), label="true")
    marked = read(write_json(tmp_path_factory.mktemp("wsc"), row), "cluewsc2020")[0].text_a
    without = str.maketrans("", "", "_[]")
    assert marked.translate(without) == text
    assert marked.split("_")[1].translate(without) == spans[0]
    assert marked[marked.index("[") : marked.index("]")].translate(without) == spans[1]


# What is broken in ways that JSON and CSV have names for.


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"sentence": ' + "[" * 100_000, "not valid JSON"),
        (f'{{"id": {"1" * 5000}, "sentence": "甲"}}', "not valid JSON: Exceeds the limit"),
        (r'{"sentence": "甲\ud83d"}', "not valid JSON: half of a surrogate pair"),
    ],
)
def test_json_that_python_cannot_hold_is_bad(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path, "rows.json", line, '{"sentence": "甲\\ud83d\\ude00"}')
    with pytest.raises(UserError, match=f"line 1: {message}"):
        read(path, "tnews", "test")
    problems = BadExamples(skip=True)
    assert [each.text_a for each in read(path, "tnews", "test", problems=problems)] == ["甲😀"]
    assert problems.counts.total() == 1


def test_an_array_that_python_cannot_hold_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.json", "[" * 100_000, '{"sentence": "甲"}')
    with pytest.raises(UserError, match=r"rows\.json:1: JSON nested too deeply"):
        read(path, "tnews", "test")


def test_cells_of_csv_may_be_of_any_length(tmp_path: Path) -> None:
    path = write(tmp_path, "rows.csv", "label,text", "0," + "甲" * 200_000)
    assert len(read(path, single())[0].text_a) == 200_000


def test_a_label_does_not_take_the_rest_of_a_line(tmp_path: Path) -> None:
    task = single(fields={"text_a": "text", "columns": [["text_a", "label"]]})
    path = write(tmp_path, "rows.tsv", "甲\tx", "乙\t丙\ty")
    with pytest.raises(UserError, match="line 2: too many columns: expected 2, the last the label"):
        read(path, task)
    assert short(read(path, task, "new"))[1][1] == "乙"


# New data: plain lines, or the task's own form.


@pytest.mark.parametrize(
    ("task", "lines", "plain"),
    [
        ("thucnews", ["3\t股市大涨", "4\t球队夺冠"], False),
        ("thucnews", ["股市大涨", "球队夺冠"], True),
        ("thucnews", ["股市大涨", "4\t球队夺冠"], True),
        ("thucnews", ["text", "股市大涨"], False),
        ("peopledaily_ner", ["马 B-PER", "云 I-PER", "", "在 O", "  O"], False),
        ("peopledaily_ner", ["马云在杭州", "Hello world"], True),
        ("peopledaily_ner", ["马", "云", "", "在"], False),
        ("msra_ner", ["text_a\tlabel", "马 云\tB-PER I-PER"], False),
        ("msra_ner", ["马 云\tB-PER I-PER"], False),
        ("cluener2020", ["马云在杭州", "杭州"], True),
        ("cluener2020", ['{"text": "马云"}'], False),
        ("afqmc", ["甲\t乙\t0"], True),
        ("afqmc", ["甲\t乙", "丙\t丁"], True),
        ("afqmc", ["sentence1\tsentence2", "丙\t丁"], False),
        ("afqmc", ["sentence1,sentence2,label", "丙,丁,0"], False),
        ("afqmc", ['{"sentence1": "甲", "sentence2": "乙"}'], False),
        ("tnews", ['[{"sentence": "甲"}]'], False),
        ("tnews", ["[转] 今天", "{笑}"], True),
    ],
)
def test_plain_lines_are_told_from_other_forms(
    tmp_path: Path, task: str, lines: list[str], plain: bool
) -> None:
    for name in ("new.txt", "new"):
        path = write(tmp_path, name, *lines)
        assert is_plain(TaskFile(str(path)), registry.load([task])[0]) == plain


def test_words_without_tags_are_columns(tmp_path: Path) -> None:
    task = registry.load(["conll2000"])[0]
    path = write(tmp_path, "new.dat", "Confidence", "in", "the", "pound", "", "is")
    assert not is_plain(TaskFile(str(path)), task)
    path = write(tmp_path, "new.dat", "Confidence in the pound is low.", "Shares rose.")
    assert is_plain(TaskFile(str(path)), task)


def test_plain_pairs_have_two_texts(tmp_path: Path) -> None:
    path = write(tmp_path, "new.txt", "甲\t乙", "丙", "丁\t戊\t0")
    task = registry.load(["afqmc"])[0]
    problems = BadExamples(skip=True)
    found = list(READERS["plain_texts"](str(path), task, split="new").read(problems))
    assert [(each.text_a, each.text_b) for each in found] == [("甲", "乙")]
    assert dict(problems.counts) == {"no TAB between the two texts": 1, "more than two texts": 1}


@pytest.mark.parametrize("name", ["plain_texts", "plain_sentences"])
def test_every_plain_line_is_an_example_with_its_number(tmp_path: Path, name: str) -> None:
    task = registry.load(["afqmc" if name == "plain_texts" else "msra_ner"])[0]
    path = write(tmp_path, "new.txt", "甲\t乙", "", " \t", "丙\t丁", "")
    found = list(READERS[name](str(path), task, split="new").read(BadExamples(skip=False)))
    assert [each.id for each in found] == [0, 1, 2, 3, 4]
    if name == "plain_texts":
        assert [each.is_blank for each in found] == [False, True, True, False, True]
