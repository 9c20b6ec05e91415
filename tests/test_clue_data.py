"""The made data sets keep the promises that tests of readers, scorers and runs rest on."""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import json
from pathlib import Path
from typing import Any

from support.clue_data import CLUE_WRITERS, CLUENER_MENTIONS, IFLYTEK_LABELS, undecided, write_clue
from support.clue_reading import IDIOMS, count_off
from support.made_text import (
    ANSWER_LETTERS,
    FILLER,
    KEYWORDS,
    TRADITIONAL_ANSWER_LETTERS,
    TRADITIONAL_FILLER,
    Sizes,
)
from support.other_data import OTHER_WRITERS, write_other

SIZES = Sizes(train=45, dev=16, test=11)


def make(folder: Path, name: str, *, seed: int = 3) -> Path:
    """One data set in a folder of its name."""
    write = (CLUE_WRITERS | OTHER_WRITERS)[name]
    write(folder / name, sizes=SIZES, seed=seed)
    return folder / name


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON lines file, with or without a last newline."""
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    return [json.loads(line) for line in lines]


def columns_of(path: Path) -> list[list[str]]:
    """The columns of a TSV file without quoting."""
    lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    return [line.split("\t") for line in lines]


def questions_of(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Context and question of each question of a SQuAD-shaped file."""
    return [
        (paragraph["context"], question)
        for article in json.loads(path.read_text("utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def stands_there(context: str, answer: dict[str, Any]) -> bool:
    """Whether an answer is at its offset."""
    return context.startswith(answer["text"], answer["answer_start"])


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("first", 1), ("again", 1), ("other", 2)):
        write_clue(tmp_path / folder, sizes=SIZES, seed=seed)
        write_other(tmp_path / folder, sizes=SIZES, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    same = {name for name in first if first[name] == other[name]}
    lists = {"labels.json", "class.txt", "idiomList.txt"}
    assert {Path(name).name for name in same} == lists


def test_the_letters_tell_filler_words_and_answers_apart() -> None:
    groups = [set(FILLER), set("".join(KEYWORDS)), *map(set, ANSWER_LETTERS)]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert len("".join(KEYWORDS)) == 2 * len(KEYWORDS)
    traditional = [set(TRADITIONAL_FILLER), *map(set, TRADITIONAL_ANSWER_LETTERS)]
    assert len(set.union(*traditional)) == sum(map(len, traditional))


def test_every_letter_occurs_in_the_sample_corpus() -> None:
    corpus = importlib.resources.files("electra_zh.sample").joinpath("corpus.txt")
    mentions = [mention for group in CLUENER_MENTIONS.values() for mention in group]
    letters = "".join([FILLER, *KEYWORDS, *ANSWER_LETTERS, *IDIOMS, *mentions])
    letters += "".join([TRADITIONAL_FILLER, *TRADITIONAL_ANSWER_LETTERS])
    assert set(letters) <= set(corpus.read_text("utf-8"))


def test_test_files_hide_their_labels(tmp_path: Path) -> None:
    for name in ("afqmc", "tnews", "iflytek", "cmnli", "ocnli", "cluewsc2020", "csl", "cluener"):
        folder = make(tmp_path, name)
        for path in folder.rglob("test*.json"):
            rows = rows_of(path)
            assert len(rows) == SIZES.test
            assert all("id" in row and not set(row) & {"label", "label_desc"} for row in rows)


def test_undecided_rows_stand_beside_the_usable_ones(tmp_path: Path) -> None:
    cmnli = make(tmp_path, "cmnli") / "cmnli_public"
    ocnli = make(tmp_path, "ocnli")
    for path in (cmnli / "train.json", ocnli / "train.50k.json"):
        labels = [row["label"] for row in rows_of(path)]
        assert labels.count("-") == undecided(SIZES.train)
        assert len(labels) - labels.count("-") == SIZES.train
    assert "-" in [row["label"] for row in rows_of(ocnli / "dev.json")]


def test_iflytek_has_line_separators_inside_its_rows(tmp_path: Path) -> None:
    folder = make(tmp_path, "iflytek")
    text = (folder / "train.json").read_text("utf-8")
    assert text.count("\u2028") == SIZES.train // 5
    assert len(rows_of(folder / "train.json")) == SIZES.train
    assert [row["label"] for row in rows_of(folder / "labels.json")] == list(IFLYTEK_LABELS)


def test_wsc_spans_stand_at_their_indexes_in_both_orders(tmp_path: Path) -> None:
    rows = rows_of(make(tmp_path, "cluewsc2020") / "train.json")
    for row in rows:
        target = row["target"]
        for number in (1, 2):
            assert row["text"].startswith(
                target[f"span{number}_text"], target[f"span{number}_index"]
            )
    orders = {row["target"]["span1_index"] < row["target"]["span2_index"] for row in rows}
    assert orders == {True, False}
    # The index is needed: the pronoun's first occurrence is not always the one that is meant.
    targets = [(row["text"], row["target"]) for row in rows]
    assert any(text.find("他") != target["span2_index"] for text, target in targets)


def test_cluener_ends_are_inclusive_and_some_mentions_stand_twice(tmp_path: Path) -> None:
    places = [
        (row["text"], mention, spans)
        for row in rows_of(make(tmp_path, "cluener") / "train.json")
        for mentions in row["label"].values()
        for mention, spans in mentions.items()
    ]
    for text, mention, spans in places:
        assert [text[start : end + 1] for start, end in spans] == [mention] * len(spans)
        assert text.count(mention) == len(spans)
    assert any(len(spans) == 2 for _, _, spans in places)


def test_cmrc_answers_are_at_their_offsets_except_the_counted_ones(tmp_path: Path) -> None:
    folder = make(tmp_path, "cmrc2018")
    train = questions_of(folder / "train.json")
    assert len(train) == SIZES.train
    wrong = [(c, q["answers"][0]) for c, q in train if not stands_there(c, q["answers"][0])]
    assert len(wrong) == count_off(SIZES.train) > 0
    for context, answer in wrong:
        assert 1 <= abs(context.index(answer["text"]) - answer["answer_start"]) <= 3
    for name in ("dev", "trial"):
        questions = questions_of(folder / f"{name}.json")
        assert len(questions) == SIZES.dev
        assert all(stands_there(c, answer) for c, q in questions for answer in q["answers"])
    hidden = [answer for _, q in questions_of(folder / "test.json") for answer in q["answers"]]
    assert {answer["answer_start"] for answer in hidden} == {-1}


def test_drcd_answers_are_at_their_offsets_and_ids_are_unique(tmp_path: Path) -> None:
    for split, size in SIZES.splits():
        questions = questions_of(make(tmp_path, "drcd") / f"{split}.json")
        assert all(stands_there(c, answer) for c, q in questions for answer in q["answers"])
        assert len({question["id"] for _, question in questions}) == size


def test_chid_answers_are_one_to_one_within_an_item(tmp_path: Path) -> None:
    folder = make(tmp_path, "chid")
    items = rows_of(folder / "train.json")
    answers = json.loads((folder / "train_answer.json").read_text("utf-8"))
    seen = []
    for item in items:
        blanks = [part[:12] for text in item["content"] for part in text.split("#idiom")[1:]]
        marks = [f"#idiom{blank[:6]}#" for blank in blanks]
        chosen = [answers[mark] for mark in marks]
        assert len(item["candidates"]) == 10
        assert len(set(chosen)) == len(chosen)
        seen += marks
    assert sorted(seen) == sorted(answers)
    assert len(items) == SIZES.train
    fewclue = rows_of(make(tmp_path, "chid_fewclue") / "dev_few_all.json")
    assert all(row["content"].count("#idiom#") == 1 for row in fewclue)


def test_c3_answers_are_choices_and_test_questions_have_ids(tmp_path: Path) -> None:
    folder = make(tmp_path, "c3")
    mixed, dialogue, test = (
        [
            question
            for item in json.loads((folder / f"{name}.json").read_text("utf-8"))
            for question in item[1]
        ]
        for name in ("m-train", "d-train", "test")
    )
    assert len(mixed + dialogue) == SIZES.train
    assert all(question["choice"].count(question["answer"]) == 1 for question in mixed + dialogue)
    assert {len(question["choice"]) for question in mixed + dialogue} == {2, 3, 4}
    assert [question["id"] for question in test] == list(range(SIZES.test))
    assert not any("answer" in question for question in test)


def test_cjrc_has_spans_verdicts_and_questions_without_answer(tmp_path: Path) -> None:
    questions = questions_of(make(tmp_path, "cjrc") / "dev_ground_truth.json")
    assert len(questions) == SIZES.dev
    kinds = set()
    for context, question in questions:
        for answer in question["answers"]:
            inside = answer["answer_start"] >= 0
            assert not inside or stands_there(context, answer)
            kinds.add("span" if inside else answer["text"])
        empty = all(answer["text"] == "" for answer in question["answers"])
        assert question["is_impossible"] == ("true" if empty else "false")
    assert kinds == {"span", "YES", "NO", ""}


def test_squad2_marks_what_has_no_answer(tmp_path: Path) -> None:
    questions = questions_of(make(tmp_path, "squad2") / "train-v2.0.json")
    for context, question in questions:
        assert question["is_impossible"] == (not question["answers"])
        assert all(stands_there(context, answer) for answer in question["answers"])
    assert {question["is_impossible"] for _, question in questions} == {True, False}


def test_mrqa_spans_are_inclusive_by_character_and_token(tmp_path: Path) -> None:
    path = make(tmp_path, "mrqa") / "dev" / "SQuAD.jsonl.gz"
    header, *rows = map(json.loads, gzip.decompress(path.read_bytes()).decode()[:-1].split("\n"))
    assert header == {"header": {"dataset": "SQuAD", "mrqa_split": "dev"}}
    for row in rows:
        tokens = [token for token, _ in row["context_tokens"]]
        (found,) = row["qas"][0]["detected_answers"]
        for start, end in found["char_spans"]:
            assert row["context"][start : end + 1] == found["text"]
        for start, end in found["token_spans"]:
            assert " ".join(tokens[start : end + 1]) == found["text"]


def test_tag_columns_follow_their_schemes(tmp_path: Path) -> None:
    plan = {
        "msra_ner/train.txt": ("\t", "BIO"),
        "peopledaily_ner/train.txt": (" ", "BIO"),
        "weibo_ner/weiboNER.conll.train": ("\t", "BIO"),
        "resume_ner/train.char.bmes": (" ", "BMEO"),
        "bioes_ner/train.txt": ("\t", "BIOES"),
    }
    for name, (separator, letters) in plan.items():
        folder, _, file = name.partition("/")
        text = (make(tmp_path, folder) / file).read_text("utf-8")
        sentences = text.rstrip("\n").split("\n\n")
        tags = [line.split(separator)[1] for part in sentences for line in part.split("\n")]
        assert len(sentences) == SIZES.train
        assert {tag[0] for tag in tags} == set(letters)


def test_bq_is_a_csv_file_with_quoted_fields(tmp_path: Path) -> None:
    with (make(tmp_path, "bq") / "train.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["sentence1", "sentence2", "label"]
    assert len(rows) == SIZES.train
    assert any('"' in row[0] and "," in row[0] for row in rows)


def test_glue_files_have_their_public_widths(tmp_path: Path) -> None:
    glue = make(tmp_path, "glue")
    widths = {
        "CoLA/train.tsv": {4},
        "CoLA/test.tsv": {2},
        "SST-2/train.tsv": {2},
        "MRPC/msr_paraphrase_train.txt": {5},
        "MRPC/test.tsv": {5},
        "STS-B/train.tsv": {10},
        "STS-B/test.tsv": {9},
        "QQP/train.tsv": {6, 4},
        "QQP/test.tsv": {3},
        "MNLI/train.tsv": {12},
        "MNLI/dev_mismatched.tsv": {16},
        "MNLI/test_matched.tsv": {10},
        "QNLI/dev.tsv": {4},
        "RTE/test.tsv": {3},
    }
    assert {name: {len(row) for row in columns_of(glue / name)} for name in widths} == widths
    assert columns_of(glue / "MRPC/train.tsv")[0][0] == "\ufeffQuality"
