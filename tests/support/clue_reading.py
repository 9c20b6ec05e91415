"""Made reading data in the forms of CLUE's public files: spans, idioms, choices."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from support.made_text import (
    ANSWER_LETTERS,
    FILLER,
    KEYWORDS,
    TRADITIONAL_ANSWER_LETTERS,
    TRADITIONAL_FILLER,
    Passage,
    Sizes,
    generator,
    passage,
    sentence,
    write_json,
    write_json_lines,
)

# Of CMRC2018's training questions, every so manyth has an answer_start that is off.
OFF_EVERY = 10
# Every so manyth context is too long for a window of 256.
LONG_EVERY = 8
IDIOMS = (
    *("一心一意", "四面八方", "五颜六色", "七上八下", "十全十美", "千方百计", "有头有尾"),
    *("自言自语", "小题大做", "东张西望", "不三不四", "天长地久", "人山人海", "半信半疑"),
)


def off_by(index: int) -> int:
    """By how many characters training question `index` (from 0) of CMRC2018 is off: 0 or 1 to 3."""
    return 1 + index // OFF_EVERY % 3 if index % OFF_EVERY == OFF_EVERY - 1 else 0


def count_off(size: int) -> int:
    """How many of so many training questions of CMRC2018 are off."""
    return sum(off_by(index) > 0 for index in range(size))


def _span_answers(found: Passage, split: str, index: int) -> list[dict[str, Any]]:
    right = {"text": found.answer, "answer_start": found.start}
    if split == "train":
        return [right | {"answer_start": found.start + off_by(index)}]
    if split == "test":
        return [{"text": f"FAKE_ANSWER_{number}", "answer_start": -1} for number in (1, 2, 3)]
    longer = {"text": "是" + found.answer, "answer_start": found.start - 1}
    return [right, right, longer]


def write_cmrc2018(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CMRC2018: train.json, dev.json, trial.json (as large as dev), test.json with fake answers.

    Two questions a context, the last may have one. See `off_by` for the wrong offsets.
    """
    rng = generator("cmrc2018", seed)
    for split, size in (*sizes.splits(), ("trial", sizes.dev)):
        articles: list[dict[str, Any]] = []
        for first in range(0, size, 2):
            name = f"{split.upper()}_{first // 2}"
            found = passage(rng, shortest=160 if first // 2 % LONG_EVERY == 7 else 20)
            questions = [
                {
                    "question": rng.choice(["什么", "哪个"]) + sentence(rng, shortest=2) + "？",
                    "id": f"{name}_QUERY_{index - first}",
                    "answers": _span_answers(found, split, index),
                }
                for index in range(first, min(first + 2, size))
            ]
            paragraph = {"id": name, "context": found.context, "qas": questions}
            articles.append({"title": f"题目{first}", "paragraphs": [paragraph], "id": name})
        content = {"version": "v1.0", "data": articles}
        write_json(folder / f"{split}.json", content, indent=1 if split == "train" else 2)


def write_drcd(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """DRCD, traditional characters: train.json, dev.json, test.json, all with answers.

    Two paragraphs an article and one or two questions a paragraph, each with an id of its own.
    """
    rng = generator("drcd", seed)
    for split, size in sizes.splits():
        articles: list[dict[str, Any]] = []
        for index in range(size):
            if index % 4 == 0:
                name = f"{1000 + index}"
                articles.append({"title": f"題目{index}", "id": name, "paragraphs": []})
            paragraphs = articles[-1]["paragraphs"]
            if index % 2 == 0:
                found = passage(rng, filler=TRADITIONAL_FILLER, answers=TRADITIONAL_ANSWER_LETTERS)
                part = f"{name}-{len(paragraphs) + 1}"
                paragraphs.append({"context": found.context, "id": part, "qas": []})
            questions = paragraphs[-1]["qas"]
            answer = {"text": found.answer, "answer_start": found.start}
            voters = ("1",) if split == "train" else ("1", "2")
            questions.append(
                {
                    "id": f"{part}-{len(questions) + 1}",
                    "question": "什麼" + sentence(rng, letters=TRADITIONAL_FILLER) + "？",
                    "answers": [{"id": voter, **answer} for voter in voters],
                }
            )
        write_json(folder / f"{split}.json", {"version": "1.3", "data": articles})


def _blanked(rng: random.Random, mark: str, idiom: str) -> str:
    """A text whose blank follows the first half of its idiom."""
    return f"{sentence(rng)}，{idiom[:2]}，{mark}，{sentence(rng)}。"


def write_chid(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """ChID in CLUE's form: {train,dev}.json, {train,dev}_answer.json, test.json, test1.1.json.

    Sizes count items; an item has one to three blanks, two of them may share a text, and no idiom
    is right twice in an item.
    """
    rng = generator("chid", seed)
    number = 0
    for name, size in (*sizes.splits(), ("test1.1", sizes.test)):
        items: list[dict[str, Any]] = []
        answers: dict[str, int] = {}
        for _ in range(size):
            candidates = rng.sample(IDIOMS, 10)
            texts = []
            for place in rng.sample(range(10), rng.randint(1, 3)):
                number += 1
                mark = f"#idiom{number:06d}#"
                answers[mark] = place
                texts.append(_blanked(rng, mark, candidates[place]))
            if len(texts) == 3:
                texts[:2] = ["".join(texts[:2])]
            items.append({"content": texts, "candidates": candidates})
        write_json_lines(folder / f"{name}.json", items)
        if not name.startswith("test"):
            write_json(folder / f"{name}_answer.json", answers)


def write_chid_fewclue(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """ChID in FewCLUE's form: one blank a row, seven candidates.

    Files: train_few_all.json, dev_few_all.json, test_public.json (with answers), test.json and
    unlabeled.json (without), idiomList.txt.
    """
    rng = generator("chid_fewclue", seed)
    plan = {
        "train_few_all": sizes.train,
        "dev_few_all": sizes.dev,
        "test_public": sizes.test,
        "test": sizes.test,
        "unlabeled": sizes.test,
    }
    number = 0
    for name, size in plan.items():
        rows: list[dict[str, Any]] = []
        for _ in range(size):
            candidates, answer = rng.sample(IDIOMS, 7), rng.randrange(7)
            text = _blanked(rng, "#idiom#", candidates[answer])
            row = {"id": number, "candidates": candidates, "content": text}
            number += 1
            hidden = name in ("test", "unlabeled")
            rows.append(row if hidden else row | {"answer": answer})
        write_json_lines(folder / f"{name}.json", rows)
    write_json(folder / "idiomList.txt", list(IDIOMS))


def _c3_items(rng: random.Random, count: int, *, dialogue: bool, first: int) -> list[list[Any]]:
    """Items of one or two questions; the right choice is the answer that stands in the context."""
    items: list[list[Any]] = []
    while count > 0:
        found = passage(rng, filler=FILLER, answers=ANSWER_LETTERS)
        context = [found.context]
        if dialogue:
            context = [f"男：{sentence(rng)}？", f"女：{found.context}"]
        questions = []
        for _ in range(min(count, rng.randint(1, 2))):
            wrong = rng.sample(KEYWORDS, rng.randint(1, 3))
            choices = [found.answer, *wrong]
            rng.shuffle(choices)
            asked = f"什么{sentence(rng, shortest=2)}？"
            questions.append({"question": asked, "choice": choices, "answer": found.answer})
        items.append([context, questions, f"{'d' if dialogue else 'm'}{first}-{len(items)}"])
        count -= len(questions)
    return items


def write_c3(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """C3 as in CLUE's zip: {m,d}-{train,dev}.json; test.json, test1.1.json with question ids.

    Sizes count questions, half of them (the larger half) of mixed text, half of dialogue.
    """
    rng = generator("c3", seed)
    number = 0
    for name, size in (*sizes.splits(), ("test1.1", sizes.test)):
        mixed = _c3_items(rng, size - size // 2, dialogue=False, first=len(name))
        dialogue = _c3_items(rng, size // 2, dialogue=True, first=len(name))
        if not name.startswith("test"):
            write_json(folder / f"m-{name}.json", mixed, indent=1)
            write_json(folder / f"d-{name}.json", dialogue, indent=1)
            continue
        for item in mixed + dialogue:
            for question in item[1]:
                del question["answer"]
                question["id"] = number
                number += 1
        write_json(folder / f"{name}.json", mixed + dialogue)


def write_c3_original(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """C3 as its authors give it: c3-{m,d}-{train,dev,test}.json, all with answers, no ids."""
    rng = generator("c3_original", seed)
    for split, size in sizes.splits():
        for kind, share in (("m", size - size // 2), ("d", size // 2)):
            items = _c3_items(rng, share, dialogue=kind == "d", first=len(split))
            write_json(folder / f"c3-{kind}-{split}.json", items, indent=1)
