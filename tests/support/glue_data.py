"""Made GLUE data, English, in the folders and column layouts of the public download.

None of GLUE's files quotes its fields: some sentences hold a lone quotation mark.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.made_text import (
    ENGLISH_KEYWORDS,
    Pair,
    Sizes,
    balanced,
    english,
    english_pairs,
    generator,
    write_columns,
)

_MNLI_LABELS = ("contradiction", "entailment", "neutral")
_BYTE_ORDER_MARK = "\ufeff"
_STSB_SCORES = tuple("012345")
_STSB_SOURCE = ("main-news", "headlines", "2012test")


def _labelled(seed: int, name: str, size: int) -> list[tuple[str, str]]:
    """Sentences of two classes; every seventh sentence has a lone quotation mark."""
    rng = generator(name, seed)
    return [
        (english(rng, ENGLISH_KEYWORDS[int(label)]) + ' "' * (index % 7 == 0), label)
        for index, label in enumerate(balanced(rng, ("0", "1"), size))
    ]


def write_cola(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CoLA: train.tsv, dev.tsv without a header (source, label, mark, sentence), test.tsv with."""
    for split, size in sizes.splits():
        rows = _labelled(seed, f"cola {split}", size)
        made: list[tuple[object, ...]] = [
            ("gj04", label, "" if label == "1" else "*", text) for text, label in rows
        ]
        if split == "test":
            made = [("index", "sentence"), *((i, row[0]) for i, row in enumerate(rows))]
        write_columns(folder / f"{split}.tsv", made)


def write_sst2(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """SST-2: train.tsv, dev.tsv (sentence, label), test.tsv (index, sentence)."""
    for split, size in sizes.splits():
        rows = _labelled(seed, f"sst2 {split}", size)
        made: list[tuple[object, ...]] = [("sentence", "label"), *rows]
        if split == "test":
            made = [("index", "sentence"), *((i, row[0]) for i, row in enumerate(rows))]
        write_columns(folder / f"{split}.tsv", made)


def _mrpc_rows(rows: list[Pair]) -> list[tuple[object, ...]]:
    """Quality, two ids and two sentences; every fifth second sentence opens a quotation."""
    return [
        (label, 2 * i, 2 * i + 1, first, '"' * (i % 5 == 0) + second)
        for i, (first, second, label) in enumerate(rows)
    ]


def write_mrpc(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """MRPC: msr_paraphrase_{train,test}.txt with labels, and train.tsv, dev.tsv, test.tsv.

    The public msr_paraphrase_train.txt is train.tsv and dev.tsv together. All but test.tsv start
    with a byte order mark.
    """
    rng = generator("mrpc", seed)
    header = (_BYTE_ORDER_MARK + "Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
    rows = [_mrpc_rows(english_pairs(rng, ("0", "1"), size)) for size in sizes]
    write_columns(folder / "train.tsv", [header, *rows[0]])
    write_columns(folder / "dev.tsv", [header, *rows[1]])
    write_columns(folder / "msr_paraphrase_train.txt", [header, *rows[0], *rows[1]])
    write_columns(folder / "msr_paraphrase_test.txt", [header, *rows[2]])
    unlabelled = [(i, *row[1:]) for i, row in enumerate(rows[2])]
    write_columns(folder / "test.tsv", [("index", *header[1:]), *unlabelled])


def write_stsb(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """STS-B: train.tsv, dev.tsv of ten columns, the last a score of 0 to 5; test.tsv without it."""
    rng = generator("stsb", seed)
    header = (
        *("index", "genre", "filename", "year", "old_index", "source1", "source2"),
        *("sentence1", "sentence2", "score"),
    )
    for split, size in sizes.splits():
        rows: list[tuple[object, ...]] = [
            (i, *_STSB_SOURCE, f"{i:04d}", "none", "none", first, second, f"{float(score):.3f}")
            for i, (first, second, score) in enumerate(english_pairs(rng, _STSB_SCORES, size))
        ]
        kept = slice(-1 if split == "test" else None)
        write_columns(folder / f"{split}.tsv", [header[kept], *(row[kept] for row in rows)])


def write_qqp(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """QQP: train.tsv, dev.tsv (id, qid1, qid2, questions, is_duplicate), test.tsv (id, questions).

    As in the public files, a few rows of train.tsv break off before their label.
    """
    rng = generator("qqp", seed)
    header = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    for split, size in sizes.splits():
        rows: list[tuple[object, ...]] = [header]
        for i, (first, second, label) in enumerate(english_pairs(rng, ("0", "1"), size)):
            rows.append((i, 2 * i, 2 * i + 1, first, second, label))
        if split == "train":
            rows.insert(size // 2, (size, 2 * size, 2 * size + 1, english(rng)))
        if split == "test":
            rows = [(row[0], *row[3:5]) for row in rows]
        write_columns(folder / f"{split}.tsv", rows)


def write_mnli(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """MNLI: train.tsv, {dev,test}_matched.tsv, {dev,test}_mismatched.tsv.

    Both sentences are columns 8 and 9; the gold label is the last column, after one annotator's
    label in training and five in development.
    """
    rng = generator("mnli", seed)
    header = (
        *("index", "promptID", "pairID", "genre", "sentence1_binary_parse"),
        *("sentence2_binary_parse", "sentence1_parse", "sentence2_parse"),
        *("sentence1", "sentence2"),
    )
    matched = (("dev_matched", sizes.dev), ("dev_mismatched", sizes.dev))
    hidden = (("test_matched", sizes.test), ("test_mismatched", sizes.test))
    for name, size in (("train", sizes.train), *matched, *hidden):
        votes = 0 if name.startswith("test") else 1 if name == "train" else 5
        labels = (*(f"label{number + 1}" for number in range(votes)), "gold_label")
        rows: list[tuple[object, ...]] = [header + labels * (votes > 0)]
        for i, (first, second, label) in enumerate(english_pairs(rng, _MNLI_LABELS, size)):
            known = (label,) * (votes + (votes > 0))
            parses = ("( x )", "( x )", "(ROOT x)", "(ROOT x)")
            rows.append((i, i, f"{i}{label[0]}", "news", *parses, first, second, *known))
        write_columns(folder / f"{name}.tsv", rows)


def _write_indexed(folder: Path, columns: tuple[str, str], *, sizes: Sizes, seed: int) -> None:
    """QNLI's and RTE's form: index, two sentences and a label that test.tsv lacks."""
    rng = generator(" ".join(columns), seed)
    for split, size in sizes.splits():
        rows: list[tuple[object, ...]] = [
            (i, *pair)
            for i, pair in enumerate(english_pairs(rng, ("entailment", "not_entailment"), size))
        ]
        kept = slice(-1 if split == "test" else None)
        header = ("index", *columns, "label")
        write_columns(folder / f"{split}.tsv", [header[kept], *(row[kept] for row in rows)])


def write_qnli(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """QNLI: train.tsv, dev.tsv (index, question, sentence, label), test.tsv without label."""
    _write_indexed(folder, ("question", "sentence"), sizes=sizes, seed=seed)


def write_rte(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """RTE: train.tsv, dev.tsv (index, sentence1, sentence2, label), test.tsv without label."""
    _write_indexed(folder, ("sentence1", "sentence2"), sizes=sizes, seed=seed)


GLUE_WRITERS: dict[str, Callable[..., None]] = {
    "CoLA": write_cola,
    "SST-2": write_sst2,
    "MRPC": write_mrpc,
    "STS-B": write_stsb,
    "QQP": write_qqp,
    "MNLI": write_mnli,
    "QNLI": write_qnli,
    "RTE": write_rte,
}


def write_glue(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """Writes every data set of `GLUE_WRITERS` into a folder of its public name."""
    for name, write in GLUE_WRITERS.items():
        write(folder / name, sizes=sizes, seed=seed)
