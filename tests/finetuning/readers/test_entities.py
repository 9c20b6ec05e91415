"""Readers of sentences with entities: CLUENER's lines, columns, plain text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from electra_zh.errors import UserError
from electra_zh.finetuning import readers
from electra_zh.finetuning.examples import BadExamples, Entity, TaggedExample
from electra_zh.finetuning.tasks import TaskConfig


def read(
    reader: str,
    folder: Path,
    content: str,
    *,
    split: str = "train",
    skip: BadExamples | None = None,
    **fields: object,
) -> list[TaggedExample]:
    path = folder / "data.txt"
    path.write_bytes(content.encode())
    task = TaskConfig(name="made", kind="tagging", reader=reader, metric="f1", fields=fields)
    bad = skip or BadExamples(skip=False)
    return list(readers.read(str(path), task, split=split, bad=bad))


def mentions(example: TaggedExample) -> list[tuple[str, str]]:
    assert example.entities is not None
    return [(each.type, example.text[each.start : each.end]) for each in example.entities]


def words(example: TaggedExample) -> list[str]:
    assert example.words is not None
    return [example.text[start:end] for start, end in example.words]


# --- Columns ---------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [" ", "\t", "   ", " \t "])
def test_spaces_or_tabs_separate_columns(tmp_path: Path, separator: str) -> None:
    lines = ["马 B-PER", "云 I-PER", "在 O", "杭 B-LOC", "州 I-LOC"]
    text = "\n".join(line.replace(" ", separator) for line in lines)
    (example,) = read("columns", tmp_path, text)
    assert example.text == "马云在杭州"
    assert example.words == ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))
    assert example.entities == (Entity("PER", 0, 2), Entity("LOC", 3, 5))


def test_sentences_end_at_blank_lines_and_know_their_lines(tmp_path: Path) -> None:
    text = "-DOCSTART- -X- O\n\n一 O\n二 O\n\n\n \t\n三 O\r\n"
    first, second = read("columns", tmp_path, text)
    assert (first.id, first.text, second.id, second.text) == (0, "一二", 1, "三")
    assert first.place.endswith("line 3")
    assert second.place.endswith("line 8")


@pytest.mark.parametrize(
    "tags",
    ["B-X I-X I-X O B-X O", "B-X I-X E-X O S-X O", "B-X M-X E-X O S-X O", "B_X I_X I_X O B_X O"],
)
def test_every_scheme_is_read(tmp_path: Path, tags: str) -> None:
    lines = [f"{char} {tag}" for char, tag in zip("甲乙丙丁戊己", tags.split(), strict=True)]
    (example,) = read("columns", tmp_path, "\n".join(lines))
    assert mentions(example) == [("X", "甲乙丙"), ("X", "戊")]


def test_malformed_tags_are_read_leniently(tmp_path: Path) -> None:
    lines = ["甲 I-X", "乙 I-Y", "丙 O", "丁 E-Y", "戊 B-Y", "己 B-Y"]
    (example,) = read("columns", tmp_path, "\n".join(lines))
    assert mentions(example) == [("X", "甲"), ("Y", "乙"), ("Y", "丁"), ("Y", "戊"), ("Y", "己")]


def test_a_type_may_have_dots_and_hyphens(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "老 B-PER.NOM\n板 I-PER.NOM\n甲 B-a-b\n")
    assert mentions(example) == [("PER.NOM", "老板"), ("a-b", "甲")]


def test_spaces_stand_between_latin_words_only(tmp_path: Path) -> None:
    given = ["在", "Face", "book", "上", "，", "2", "0", "—", "—", "ok", "."]
    (example,) = read("columns", tmp_path, "\n".join(f"{word} O" for word in given))
    assert example.text == "在Face book上，2 0 —— ok ."
    assert words(example) == given


def test_chosen_columns(tmp_path: Path) -> None:
    text = "1 He PRP B-NP _\n2 ran VBD B-VP _\n"
    (example,) = read("columns", tmp_path, text, word=2, tag=4)
    assert mentions(example) == [("NP", "He"), ("VP", "ran")]


def test_a_word_may_hold_spaces_between_tabs(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "New York\tB-LOC\nis\tO\n")
    assert words(example) == ["New York", "is"]


def test_places_in_words_are_dropped_from_characters(tmp_path: Path) -> None:
    text = "老0\tB-PER.NOM\n板1\tI-PER.NOM\n20\tO\n311\tO\n7\tO\n"
    (example,) = read("columns", tmp_path, text, suffix="digits")
    assert words(example) == ["老", "板", "2", "3", "7"]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_line_without_tag_is_named(tmp_path: Path, split: str) -> None:
    with pytest.raises(
        UserError, match=r'line 2: a line without a tag in a sentence with tags: the line is "乙"'
    ):
        read("columns", tmp_path, "甲 O\n乙\n", split=split)


@pytest.mark.parametrize("split", ["test", "new"])
def test_new_data_needs_no_tags(tmp_path: Path, split: str) -> None:
    bare, tagged = read("columns", tmp_path, "甲\n乙\n\n丙 B-X\n", split=split)
    assert (bare.text, bare.entities) == ("甲乙", None)
    assert mentions(tagged) == [("X", "丙")]


def test_tags_of_half_a_sentence_are_a_problem(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 1: a line without a tag in a sentence with tags"):
        read("columns", tmp_path, "甲\n乙 O\n", split="test")


def test_a_wrong_tag_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='line 2: not a tag: "NN"; it must be O, or B-'):
        read("columns", tmp_path, "甲 O\n乙 NN\n")


def test_a_missing_word_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='line 1: no word: there is no column 3 in "甲 O"'):
        read("columns", tmp_path, "甲 O\n", word=3)


def test_bad_sentences_are_skipped_and_counted(tmp_path: Path) -> None:
    problems = BadExamples(skip=True)
    found = read("columns", tmp_path, "甲 O\n乙\n\n丙 O\n\n丁 Q-X\n戊 O\n", skip=problems)
    assert [(example.id, example.text) for example in found] == [(1, "丙")]
    assert problems.counts == {"a line without a tag in a sentence with tags": 1, "not a tag": 1}


@pytest.mark.parametrize("value", ["0", "last", "-1"])
def test_column_numbers_are_checked(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"fields: tag must be (at least 1|a whole number)"):
        read("columns", tmp_path, "甲 O\n", tag=value)


def test_the_suffix_is_checked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'fields: suffix is "words"; allowed: digits'):
        read("columns", tmp_path, "甲 O\n", suffix="words")


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["北\tB-LOC", " \tI-LOC", "京\tI-LOC"], "北 京"),
        (["北 B-LOC", "  I-LOC", "京 I-LOC"], "北 京"),
        (["北\tB-LOC", "\tI-LOC", "京\tI-LOC"], "北 京"),
        (["北 B-LOC", " I-LOC", "京 I-LOC"], "北 京"),
        (["北\tB-LOC", "\t\tI-LOC", "京\tI-LOC"], "北\t京"),
        (["北 B-LOC", "\u3000 I-LOC", "京 I-LOC"], "北\u3000京"),
        (["北\tB-LOC", "\xa0\tI-LOC", "京\tI-LOC"], "北\xa0京"),
        (["New\tB-LOC", " \tI-LOC", "York\tI-LOC"], "New York"),
        (["北 NR B-LOC", "  SP I-LOC", "京 NR I-LOC"], "北 京"),
        (["北\tNR\tB-LOC", " \tSP\tI-LOC", "京\tNR\tI-LOC"], "北 京"),
        (["  B-LOC", "北 I-LOC"], " 北"),
    ],
)
def test_a_word_may_be_white_space(tmp_path: Path, lines: list[str], text: str) -> None:
    (example,) = read("columns", tmp_path, "\n".join(lines) + "\n")
    assert example.text == text
    assert example.entities == (Entity("LOC", 0, len(text)),)
    assert len(words(example)) == len(lines)


def test_blanks_before_a_word_are_not_a_word(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "北 B-LOC\n 京 I-LOC\n\t在\tO\n")
    assert words(example) == ["北", "京", "在"]


# --- Sentences of words and tags ---------------------------------------------------------------


@pytest.mark.parametrize("header", ["text_a\tlabel\n", "tokens\ttags\n", ""])
@pytest.mark.parametrize("separator", [" ", "\x02"])
@pytest.mark.parametrize("reader", ["columns", "cluener", "spans"])
def test_words_and_tags_in_two_cells(
    tmp_path: Path, header: str, separator: str, reader: str
) -> None:
    lines = ["海 钓 比\tB-LOC I-LOC O", "在 厦 门\tO B-LOC I-LOC"]
    content = header + "\n".join(lines).replace(" ", separator) + "\n"
    skip = BadExamples(skip=False)
    first, second = read(reader, tmp_path, content, skip=skip)
    assert (first.text, mentions(first)) == ("海钓比", [("LOC", "海钓")])
    assert (second.id, second.text, mentions(second)) == (1, "在厦门", [("LOC", "厦门")])
    assert "read as a sentence per line" in skip.notes[0]


def test_tags_may_be_the_first_cell(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "label\ttext_a\nB-LOC I-LOC\t海 钓\n")
    assert (example.text, mentions(example)) == ("海钓", [("LOC", "海钓")])


def test_a_space_among_the_words_of_a_sentence(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "text_a\tlabel\n北   京\tB-LOC I-LOC I-LOC\n")
    assert (example.text, mentions(example)) == ("北 京", [("LOC", "北 京")])


def test_sentences_without_tags_are_test_data(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "text_a\n海 钓\n", split="test")
    assert (example.text, example.entities) == ("海钓", None)


def test_other_numbers_of_words_and_tags_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: the numbers of words and tags .*: 2 words and 1"):
        read("columns", tmp_path, "text_a\tlabel\n海 钓\tO\n")


@pytest.mark.parametrize("names", [("tokens", "ner_tags"), ("words", "labels"), ("text", "label")])
def test_lists_of_words_and_tags(tmp_path: Path, names: tuple[str, str]) -> None:
    content = json.dumps({names[0]: ["海", "", "钓"], names[1]: ["B-LOC", "I-LOC", "I-LOC"]})
    (example,) = read("columns", tmp_path, content)
    assert (example.text, mentions(example)) == ("海 钓", [("LOC", "海 钓")])


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["O"], "the numbers of words and tags differ: 2 tokens and 1 tags"),
        ([0, 1], r'field "tags" is not a list of texts: received \[0, 1\]'),
        (["O", "X"], 'not a tag: "X"'),
    ],
)
def test_wrong_lists_are_named(tmp_path: Path, tags: object, message: str) -> None:
    with pytest.raises(UserError, match=f"line 1: {message}"):
        read("columns", tmp_path, json.dumps({"tokens": ["海", "钓"], "tags": tags}))


# --- Plain lines -----------------------------------------------------------------------------


def test_plain_lines_are_sentences(tmp_path: Path) -> None:
    first, blank, second = read(
        "plain_sentences", tmp_path, "马云在杭州。\n\n  二\u2028行 \n", split="new"
    )
    assert (blank.id, blank.text) == (1, "")
    assert (first.id, first.text, first.words, first.entities) == (0, "马云在杭州。", None, None)
    assert (second.id, second.text) == (2, "  二\u2028行 ")
    assert second.place.endswith("line 3")


# --- CLUENER ---------------------------------------------------------------------------------


def line(text: str, **labels: dict[str, list[list[int]]]) -> str:
    return json.dumps({"text": text, "label": labels}, ensure_ascii=False)


def test_cluener_ends_are_inclusive(tmp_path: Path) -> None:
    text = line("生生不息CSOL和CSOL", game={"CSOL": [[9, 12], [4, 7]]}, name={"生生": [[0, 1]]})
    (example,) = read("cluener", tmp_path, text)
    assert example.entities == (Entity("name", 0, 2), Entity("game", 4, 8), Entity("game", 9, 13))
    assert (example.id, example.words) == (0, None)


def test_cluener_test_lines_have_ids_and_no_labels(tmp_path: Path) -> None:
    (example,) = read("cluener", tmp_path, '{"id": 7, "text": "四川"}\n', split="test")
    assert (example.id, example.text, example.entities) == (7, "四川", None)


def test_a_sentence_without_entities_is_labelled(tmp_path: Path) -> None:
    (example,) = read("cluener", tmp_path, line("四川"))
    assert example.entities == ()


def test_a_test_file_for_training_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: no label: is this a test file\?"):
        read("cluener", tmp_path, f'{line("四川")}\n{{"id": 0, "text": "四川"}}\n')


@pytest.mark.parametrize("span", [[0, 4], [3, 4], [-1, 1], [2, 1]])
def test_a_span_outside_the_text_is_named(tmp_path: Path, span: list[int]) -> None:
    with pytest.raises(UserError, match=r'line 1: span outside the text: "四川" at .* of 4 char'):
        read("cluener", tmp_path, line("四川成都", address={"四川": [span]}))


def test_a_span_that_is_not_its_mention_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'span is not its mention: "四川" at \[1, 2\].*"川成"'):
        read("cluener", tmp_path, line("四川成都", address={"四川": [[1, 2]]}))


@pytest.mark.parametrize(
    "label", ['["address"]', '{"address": ["四川"]}', '{"address": {"四川": [0, 1]}}', '"四川"']
)
def test_a_malformed_label_is_named(tmp_path: Path, label: str) -> None:
    with pytest.raises(UserError, match=r"line 1: malformed label: .*it must be \{type"):
        read("cluener", tmp_path, f'{{"text": "四川", "label": {label}}}')


def test_a_line_without_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='line 1: no text in the field "sentence"'):
        read("cluener", tmp_path, line("四川"), text="sentence")


def test_bad_lines_are_counted_by_reason(tmp_path: Path) -> None:
    problems = BadExamples(skip=True)
    bad = [line("四川", x={"四川": [[0, 9]]}), line("四川", x={"四川": [[0, 0]]}), "{"]
    found = read("cluener", tmp_path, "\n".join([*bad, line("成都")]), skip=problems)
    assert [example.text for example in found] == ["成都"]
    assert set(problems.counts) == {
        "span outside the text",
        "span is not its mention",
        "not valid JSON",
    }


# --- Files of other programs -----------------------------------------------------------------


def test_running_numbers_in_front_are_not_words(tmp_path: Path) -> None:
    content = "0\t王\tB-PER\n1\t五\tI-PER\n2\t \tO\n\n0\t北\tB-LOC\n"
    bad = BadExamples(skip=False)
    first, second = read("columns", tmp_path, content, skip=bad)
    assert mentions(first) == [("PER", "王五")]
    assert mentions(second) == [("LOC", "北")]
    assert len(words(first)) == 3
    assert "the running numbers in the first column are not words" in bad.lines()[0]
    assert read("columns", tmp_path, content.replace(" ", "甲"), word=1)[1].text == "0"


@pytest.mark.parametrize("line", ["New York B-LOC", "王 五 在 ||| B-PER I-PER O"])
def test_a_line_with_other_columns_than_the_first_is_named(tmp_path: Path, line: str) -> None:
    message = r"line 2: another number of columns: \d in \"(New|王).*, 2 in the first line"
    with pytest.raises(UserError, match=message):
        read("columns", tmp_path, f"在 O\n{line}\n")


@pytest.mark.parametrize(
    "content",
    [
        "id\ttext_a\tlabel\n7\t王 五\tB-PER I-PER\n8\t在 北\tO B-LOC\n",
        "\tlabel\ttext_a\n0\tB-PER I-PER\t王 五\n1\tO B-LOC\t在 北\n",
        "text_a\tlabel\n王五\tB-PER I-PER\n在北\tO B-LOC\n",
        "王五\tB-PER I-PER\n在北\tO B-LOC\n",
    ],
)
def test_sentences_with_other_columns_or_without_spaces(tmp_path: Path, content: str) -> None:
    first, second = read("columns", tmp_path, content)
    assert (words(first), words(second)) == (["王", "五"], ["在", "北"])
    assert mentions(first) == [("PER", "王五")]
    assert mentions(second) == [("LOC", "北")]


def test_new_sentences_without_spaces_are_characters(tmp_path: Path) -> None:
    (example,) = read("columns", tmp_path, "text_a\n王五\n", split="test")
    assert words(example) == ["王", "五"]


def test_a_header_over_words_is_not_one_of_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='line 1: not a tag: "label"'):
        read("columns", tmp_path, "text\tlabel\n王\tB-PER\n五\tI-PER\n\n在\tO\n")
