"""Small made classification and matching data in public forms other than CLUE's.

`write_other` writes everything of this module, `other_reading`, `other_tags` and `glue_data`.
Unlike CLUE's, the test files of these sets hold their labels, as the public ones do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from support.glue_data import write_glue
from support.made_text import (
    KEYWORDS,
    Pair,
    Sizes,
    balanced,
    generator,
    pairs,
    sentence,
    sentence_with,
    write_columns,
    write_lines,
)
from support.other_reading import write_cjrc, write_mrqa, write_squad2
from support.other_tags import (
    write_bioes_ner,
    write_conll2000,
    write_msra_ner,
    write_peopledaily_ner,
    write_resume_ner,
    write_weibo_ner,
)

NLI_LABELS = ("contradiction", "entailment", "neutral")
# In the order of their numbers, where a file gives numbers.
NEWS_LABELS = ("体育", "科技", "财经", "教育")
# The words that stand for a similarity of 0 to 5.
SCORE_WORDS = KEYWORDS[:6]


def write_xnli(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """XNLI in its short form: {train,dev,test}.tsv with the header text_a, text_b, label."""
    rng = generator("xnli", seed)
    for split, size in sizes.splits():
        rows = pairs(rng, NLI_LABELS, size)
        write_columns(folder / f"{split}.tsv", [("text_a", "text_b", "label"), *rows])


def write_xnli_original(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """XNLI as its authors give it, nineteen columns and several languages in a file.

    Files: multinli.train.zh.tsv (premise, hypo, label, which says "contradictory"), xnli.dev.tsv,
    xnli.test.tsv. Sizes count the Chinese rows.
    """
    rng = generator("xnli_original", seed)
    train = [
        (pair.first, pair.second, pair.label.replace("contradiction", "contradictory"))
        for pair in pairs(rng, NLI_LABELS, sizes.train)
    ]
    write_columns(folder / "multinli.train.zh.tsv", [("premise", "hypo", "label"), *train])
    header = (
        *("language", "gold_label", "sentence1_binary_parse", "sentence2_binary_parse"),
        *("sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "promptID", "pairID"),
        *("genre", "label1", "label2", "label3", "label4", "label5"),
        *("sentence1_tokenized", "sentence2_tokenized", "match"),
    )
    for split, size in sizes.splits()[1:]:
        rows: list[tuple[object, ...]] = [header]
        for index, pair in enumerate(pairs(rng, NLI_LABELS, size)):
            first, second, label = pair
            for language in ("en", "zh"):
                votes = [label] * 5
                known = (first, second, index, index, "news", *votes, first, second, "True")
                rows.append((language, label, "", "", "", "", *known))
        write_columns(folder / f"xnli.{split}.tsv", rows)


def write_chnsenticorp(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """ChnSentiCorp: {train,dev,test}.tsv with the header label, text_a; some lone quotes."""
    rng = generator("chnsenticorp", seed)
    for split, size in sizes.splits():
        rows = [("label", "text_a")]
        for index, label in enumerate(balanced(rng, ("0", "1"), size)):
            text = sentence_with(rng, KEYWORDS[int(label)])
            rows.append((label, '"' * (index % 6 == 0) + text))
        write_columns(folder / f"{split}.tsv", rows)


def write_lcqmc(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """LCQMC with the header text_a, text_b, label: {train,dev,test}.tsv."""
    rng = generator("lcqmc", seed)
    for split, size in sizes.splits():
        rows = pairs(rng, ("0", "1"), size)
        write_columns(folder / f"{split}.tsv", [("text_a", "text_b", "label"), *rows])


def write_lcqmc_plain(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """LCQMC without a header: {train,dev,test}.txt, the same columns."""
    rng = generator("lcqmc_plain", seed)
    for split, size in sizes.splits():
        write_columns(folder / f"{split}.txt", pairs(rng, ("0", "1"), size))


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def write_bq(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """BQ Corpus: {train,dev,test}.csv with the header sentence1, sentence2, label.

    Every fourth first sentence holds a comma and a doubled quote, and is quoted.
    """
    rng = generator("bq", seed)
    for split, size in sizes.splits():
        lines = ["sentence1,sentence2,label"]
        for index, (first, second, label) in enumerate(pairs(rng, ("0", "1"), size)):
            if index % 4 == 0:
                first = _quoted(f'{first},说"{sentence(rng)}"')
            lines.append(f"{first},{second},{label}")
        write_lines(folder / f"{split}.csv", lines)


def _news(rng: random.Random, size: int) -> list[tuple[int, str]]:
    numbers = [str(number) for number in range(len(NEWS_LABELS))]
    return [
        (int(label), sentence_with(rng, KEYWORDS[int(label)]))
        for label in balanced(rng, numbers, size)
    ]


def write_thucnews(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """THUCNews, label TAB text without a header: cnews.{train,val,test}.txt."""
    rng = generator("thucnews", seed)
    for split, size in sizes.splits():
        name = "val" if split == "dev" else split
        rows = [(NEWS_LABELS[label], text) for label, text in _news(rng, size)]
        write_columns(folder / f"cnews.{name}.txt", rows)


def write_thucnews_titles(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """THUCNews titles: {train,dev,test}.txt with the header text, label (a number); class.txt.

    A label is a line number, from 0, of class.txt, which ends without a newline.
    """
    rng = generator("thucnews_titles", seed)
    for split, size in sizes.splits():
        rows = [(text, label) for label, text in _news(rng, size)]
        write_columns(folder / f"{split}.txt", [("text", "label"), *rows])
    write_lines(folder / "class.txt", NEWS_LABELS, last_newline=False)


def _scored(rng: random.Random, size: int) -> list[Pair]:
    """Pairs whose label is a score: the keyword's, more or less, in 0 to 5."""
    rows = []
    for label in balanced(rng, [str(score) for score in range(len(SCORE_WORDS))], size):
        score = min(5.0, max(0.0, int(label) + rng.uniform(-0.2, 0.2)))
        second = sentence_with(rng, SCORE_WORDS[int(label)])
        rows.append(Pair(sentence(rng), second, f"{score:.3f}"))
    return rows


def write_stsb_zh(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """Chinese STS-B: {train,dev,test}.tsv with the header sentence1, sentence2, score."""
    rng = generator("stsb_zh", seed)
    for split, size in sizes.splits():
        rows = _scored(rng, size)
        write_columns(folder / f"{split}.tsv", [("sentence1", "sentence2", "score"), *rows])


OTHER_WRITERS: dict[str, Callable[..., None]] = {
    "xnli": write_xnli,
    "xnli_original": write_xnli_original,
    "chnsenticorp": write_chnsenticorp,
    "lcqmc": write_lcqmc,
    "lcqmc_plain": write_lcqmc_plain,
    "bq": write_bq,
    "thucnews": write_thucnews,
    "thucnews_titles": write_thucnews_titles,
    "stsb_zh": write_stsb_zh,
    "cjrc": write_cjrc,
    "squad2": write_squad2,
    "mrqa": write_mrqa,
    "msra_ner": write_msra_ner,
    "peopledaily_ner": write_peopledaily_ner,
    "weibo_ner": write_weibo_ner,
    "resume_ner": write_resume_ner,
    "bioes_ner": write_bioes_ner,
    "conll2000": write_conll2000,
    "glue": write_glue,
}


def write_other(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """Writes every data set of `OTHER_WRITERS` into a folder of its name."""
    for name, write in OTHER_WRITERS.items():
        write(folder / name, sizes=sizes, seed=seed)
