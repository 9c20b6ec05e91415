"""Small made data sets in the forms of CLUE's public files, which a tiny model can learn.

`write_clue` writes them all. Labels hang on keywords, answers on the words that announce them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.clue_reading import (
    write_c3,
    write_c3_original,
    write_chid,
    write_chid_fewclue,
    write_cmrc2018,
    write_drcd,
)
from support.made_text import (
    KEYWORDS,
    Sizes,
    balanced,
    generator,
    pairs,
    sentence,
    sentence_with,
    write_json_lines,
    write_lines,
)

NLI_LABELS = ("contradiction", "entailment", "neutral")
TNEWS_LABELS = tuple(str(i) for i in (*range(100, 105), *range(106, 111), *range(112, 117)))
# All 119 names stand in labels.json; the rows use the first few, so that they can be learnt.
IFLYTEK_LABELS = tuple(str(i) for i in range(119))
IFLYTEK_USED = 8
CLUENER_MENTIONS = {
    "address": ("长安路", "和平桥"),
    "book": ("红楼梦", "西游记"),
    "company": ("蓝天旅行社",),
    "game": ("篮球赛",),
    "government": ("交通局", "气象台"),
    "movie": ("最后一班渡船",),
    "name": ("周建国", "李雪", "马丽"),
    "organization": ("海湾队", "金山队"),
    "position": ("记者", "馆长", "校长"),
    "scene": ("人工湖公园", "天柱峰"),
}
_PEOPLE = ("张强", "王师傅", "李奶奶")
_THINGS = ("石头", "椅子", "手表")


def without_labels(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a test file: a running id in place of the label."""
    hidden = {"label", "label_desc", "label_des", "idx"}
    return [
        {"id": index, **{key: value for key, value in row.items() if key not in hidden}}
        for index, row in enumerate(rows)
    ]


def write_afqmc(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """AFQMC: train.json, dev.json, test.json."""
    rng = generator("afqmc", seed)
    for split, size in sizes.splits():
        rows = [
            {"sentence1": pair.first, "sentence2": pair.second, "label": pair.label}
            for pair in pairs(rng, ("0", "1"), size)
        ]
        if split == "test":
            rows = without_labels(rows)
        write_json_lines(folder / f"{split}.json", rows)


def write_tnews(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """TNEWS: train.json, dev.json, test.json (1.1), test1.0.json, labels.json."""
    rng = generator("tnews", seed)
    words = dict(zip(TNEWS_LABELS, KEYWORDS, strict=True))
    for name, size in (*sizes.splits(), ("test1.0", sizes.test)):
        rows: list[dict[str, Any]] = [
            {
                "label": label,
                "label_desc": f"news_{label}",
                "sentence": sentence_with(rng, words[label]),
                "keywords": rng.choice(["", words[label]]),
            }
            for label in balanced(rng, TNEWS_LABELS, size)
        ]
        if name.startswith("test"):
            rows = without_labels(rows)
        write_json_lines(folder / f"{name}.json", rows, last_newline=name != "test")
    names = [{"label": label, "label_desc": f"news_{label}"} for label in TNEWS_LABELS]
    write_json_lines(folder / "labels.json", names, last_newline=False)


def write_iflytek(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """IFLYTEK: train.json, dev.json, test.json, labels.json; a line separator in every fifth text.

    The line separator is one that `str.splitlines` takes for a line's end and JSON does not.
    """
    rng = generator("iflytek", seed)
    for split, size in sizes.splits():
        rows: list[dict[str, Any]] = []
        for index, label in enumerate(balanced(rng, IFLYTEK_LABELS[:IFLYTEK_USED], size)):
            text = sentence_with(rng, KEYWORDS[int(label)]) + "。"
            text += ("\u2028" if index % 5 == 0 else "") + sentence(rng, shortest=30) + "。"
            rows.append({"label": label, "label_des": f"应用{label}", "sentence": text})
        if split == "test":
            rows = without_labels(rows)
        write_json_lines(folder / f"{split}.json", rows)
    names = [{"label": label, "label_des": f"应用{label}"} for label in IFLYTEK_LABELS]
    write_json_lines(folder / "labels.json", names, last_newline=False)


def undecided(size: int) -> int:
    """How many rows labelled "-" stand beside so many usable ones."""
    return max(1, size // 10)


def write_cmnli(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CMNLI: cmnli_public/ with train.json, dev.json (both with undecided rows), test.json."""
    rng = generator("cmnli", seed)
    for split, size in sizes.splits():
        rows: list[dict[str, Any]] = [
            {"sentence1": pair.first, "sentence2": pair.second, "label": pair.label}
            for pair in pairs(rng, NLI_LABELS, size)
        ]
        if split == "test":
            rows = without_labels(rows)
        else:
            rows += [
                {"sentence1": sentence(rng), "sentence2": sentence(rng), "label": "-"}
                for _ in range(undecided(size))
            ]
            rng.shuffle(rows)
        write_json_lines(folder / "cmnli_public" / f"{split}.json", rows)


def write_ocnli(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """OCNLI: train.50k.json, train.3k.json (its first third), dev.json, test.json."""
    rng = generator("ocnli", seed)
    for split, size in sizes.splits():
        rows: list[dict[str, Any]] = []
        pool = [*pairs(rng, NLI_LABELS, size), *(["-"] * undecided(size))]
        rng.shuffle(pool)
        for index, pair in enumerate(pool):
            first, second, label = (
                (sentence(rng), sentence(rng), "-") if isinstance(pair, str) else pair
            )
            votes = [label, *([None] * 4)] if split == "train" else [label] * 5
            row: dict[str, Any] = {"level": "easy", "sentence1": first, "sentence2": second}
            row |= {"label": label}
            row |= {f"label{number}": vote for number, vote in enumerate(votes)}
            rows.append(row | {"genre": "news", "prem_id": f"news_{index}", "id": index})
        if split == "test":
            keys = ("sentence1", "sentence2")
            rows = [{key: row[key] for key in keys} for row in rows if row["label"] != "-"]
            rows = [row | {"id": index} for index, row in enumerate(rows)]
        lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
        name = "train.50k" if split == "train" else split
        write_lines(folder / f"{name}.json", lines, last_newline=False)
        if split == "train":
            write_lines(folder / "train.3k.json", lines[: len(lines) // 3], last_newline=False)


def write_cluewsc2020(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CLUEWSC2020: train.json, dev.json, test.json (1.1), test1.0.json.

    True where span 1 names a person. Either span may come first, and the pronoun often stands
    elsewhere in the text too, so that only the index tells which one is meant.
    """
    rng = generator("cluewsc2020", seed)
    for name, size in (*sizes.splits(), ("test1.0", sizes.test)):
        rows: list[dict[str, Any]] = []
        for index, label in enumerate(balanced(rng, ("true", "false"), size)):
            noun = rng.choice(_PEOPLE if label == "true" else _THINGS)
            spans = [(1, noun), (2, "他"), (0, "他")][: rng.randint(2, 3)]
            rng.shuffle(spans)
            text = sentence(rng)
            target: dict[str, Any] = {}
            for number, span in spans:
                if number:
                    target |= {f"span{number}_text": span, f"span{number}_index": len(text)}
                text += span + sentence(rng, shortest=3) + "，"
            rows.append({"target": target, "idx": index, "label": label, "text": text})
        if name.startswith("test"):
            rows = without_labels(rows)
        write_json_lines(folder / f"{name}.json", rows)


def write_csl(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CSL: train.json, dev.json, test.json; ids in no order.

    A false row has one keyword that is not in the abstract, of two words that never are.
    """
    rng = generator("csl", seed)
    for split, size in sizes.splits():
        ids = rng.sample(range(10 * size), size)
        rows: list[dict[str, Any]] = []
        for number, label in zip(ids, balanced(rng, ("0", "1"), size), strict=True):
            words = rng.sample(KEYWORDS[2:], 3)
            abstract = "，".join(sentence_with(rng, word) for word in words) + "。"
            if label == "0":
                words[rng.randrange(3)] = rng.choice(KEYWORDS[:2])
            row = {"id": number, "abst": abstract, "keyword": words}
            rows.append(row if split == "test" else row | {"label": label})
        write_json_lines(folder / f"{split}.json", rows)


def write_cluener(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CLUENER2020: train.json, dev.json, test.json; ends inclusive; some mentions stand twice."""
    rng = generator("cluener", seed)
    for split, size in sizes.splits():
        rows: list[dict[str, Any]] = []
        for index in range(size):
            types = rng.sample(sorted(CLUENER_MENTIONS), rng.randint(0, 3))
            chosen = [(kind, rng.choice(CLUENER_MENTIONS[kind])) for kind in types]
            chosen += chosen[: index % 4 == 0]
            text = sentence(rng, shortest=3)
            label: dict[str, dict[str, list[list[int]]]] = {}
            for kind, mention in chosen:
                places = label.setdefault(kind, {}).setdefault(mention, [])
                places.append([len(text), len(text) + len(mention) - 1])
                text += mention + sentence(rng, shortest=3)
            hidden = {"id": index, "text": text}
            rows.append(hidden if split == "test" else {"text": text, "label": label})
        write_json_lines(folder / f"{split}.json", rows)


def write_clue_diagnostics(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """The diagnostics: diagnostics_test.json alone, as many rows as a test split."""
    rng = generator("clue_diagnostics", seed)
    rows = [
        {"index": index, "premise": pair.first, "hypothesis": pair.second}
        for index, pair in enumerate(pairs(rng, NLI_LABELS, sizes.test))
    ]
    write_json_lines(folder / "diagnostics_test.json", rows)


CLUE_WRITERS: dict[str, Callable[..., None]] = {
    "afqmc": write_afqmc,
    "tnews": write_tnews,
    "iflytek": write_iflytek,
    "cmnli": write_cmnli,
    "ocnli": write_ocnli,
    "cluewsc2020": write_cluewsc2020,
    "csl": write_csl,
    "cmrc2018": write_cmrc2018,
    "drcd": write_drcd,
    "chid": write_chid,
    "chid_fewclue": write_chid_fewclue,
    "c3": write_c3,
    "c3_original": write_c3_original,
    "cluener": write_cluener,
    "clue_diagnostics": write_clue_diagnostics,
}


def write_clue(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """Writes every data set of `CLUE_WRITERS` into a folder of its name."""
    for name, write in CLUE_WRITERS.items():
        write(folder / name, sizes=sizes, seed=seed)
