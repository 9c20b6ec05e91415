"""Made reading data in the forms of CJRC, SQuAD 2.0 and MRQA."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

from support.made_text import (
    ENGLISH_KEYWORDS,
    Passage,
    Sizes,
    balanced,
    english,
    generator,
    passage,
    sentence,
    write_json,
)

# What a CJRC question can be answered with, and the question word that goes with it.
CJRC_KINDS = {"span": "什么", "YES": "是否", "NO": "是否", "unknown": "为何"}
# What the context says where the answer is yes or no.
CJRC_VERDICTS = {"YES": "同意", "NO": "反对"}
_CJRC_FILES = {
    "train": "big_train_data.json",
    "dev": "dev_ground_truth.json",
    "test": "test_ground_truth.json",
}


def _cjrc_answers(found: Passage, kind: str, *, train: bool) -> list[dict[str, Any]]:
    """One answer in training, else three; those not in the text stand at -1."""
    if kind == "span":
        right = {"answer_start": found.start, "text": found.answer}
        longer = {"answer_start": found.start - 1, "text": "是" + found.answer}
        return [right] if train else [right, longer, right]
    if kind == "unknown" and train:
        return []
    text = "" if kind == "unknown" else kind
    return [{"answer_start": -1, "text": text}] * (1 if train else 3)


def write_cjrc(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CJRC: big_train_data.json, dev_ground_truth.json, test_ground_truth.json.

    SQuAD's shape with "caseid", "domain" and "casename"; `is_impossible` is a string; YES and NO
    stand at -1. A case has up to three questions: one for a span, one for yes or no, one that has
    no answer.
    """
    rng = generator("cjrc", seed)
    for split, size in sizes.splits():
        cases: list[dict[str, Any]] = []
        kinds = ["span", "verdict", "unknown"]
        for first in range(0, size, len(kinds)):
            case, verdict = f"{first // len(kinds) + 1}", rng.choice(("YES", "NO"))
            start = f"原告{CJRC_VERDICTS[verdict]}，"
            found = passage(rng)
            found = Passage(start + found.context, found.answer, len(start) + found.start)
            questions = []
            for place, kind in enumerate(kinds[: size - first]):
                answer = verdict if kind == "verdict" else kind
                answers = _cjrc_answers(found, answer, train=split == "train")
                questions.append(
                    {
                        "question": CJRC_KINDS[answer] + sentence(rng, shortest=2) + "？",
                        "answers": answers,
                        "id": f"{case}_{place + 1}",
                        "is_impossible": "true" if kind == "unknown" else "false",
                    }
                )
            paragraph = {"context": found.context, "casename": "合同纠纷", "qas": questions}
            domain = rng.choice(("civil", "criminal"))
            cases.append({"paragraphs": [paragraph], "caseid": case, "domain": domain})
        write_json(folder / _CJRC_FILES[split], {"data": cases, "version": "1.0"})


def _english_passage(rng: random.Random) -> Passage:
    """An English context; the answer follows the words "the answer was"."""
    before = f"{english(rng)} the answer was "
    # Two words of two groups: the first and the last can each be learnt by itself.
    answer = f"{rng.choice(ENGLISH_KEYWORDS[:3])} {rng.choice(ENGLISH_KEYWORDS[3:])}"
    return Passage(f"{before}{answer} . {english(rng)}", answer, len(before))


def write_squad2(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """SQuAD 2.0, English: train-v2.0.json, dev-v2.0.json.

    Half of the questions ask "what"; the others ask "why" and have no answer, only a plausible one.
    """
    rng = generator("squad2", seed)
    for split, size in sizes.splits()[:2]:
        articles: list[dict[str, Any]] = []
        for index, word in enumerate(balanced(rng, ("what", "why"), size)):
            found = _english_passage(rng)
            answer = {"text": found.answer, "answer_start": found.start}
            answers = [answer] if split == "train" else [answer] * 3
            question: dict[str, Any] = {"question": f"{word} {english(rng)[:-2]}?"}
            question["id"] = f"{split}{index:08d}"
            if word == "why":
                question |= {"plausible_answers": [answer], "answers": []}
            else:
                question["answers"] = answers
            question["is_impossible"] = word == "why"
            paragraph = {"qas": [question], "context": found.context}
            articles.append({"title": f"Title {index}", "paragraphs": [paragraph]})
        write_json(folder / f"{split}-v2.0.json", {"version": "v2.0", "data": articles})


def _tokens(text: str) -> list[list[Any]]:
    """Each word and its character offset."""
    tokens: list[list[Any]] = []
    place = 0
    for word in text.split(" "):
        tokens.append([word, place])
        place += len(word) + 1
    return tokens


def _mrqa_line(rng: random.Random, name: str) -> dict[str, Any]:
    found = _english_passage(rng)
    context = found.context
    spans = [[found.start, found.start + len(found.answer) - 1]]
    if rng.random() < 0.3:
        start = len(context) + 1
        context += f" {found.answer}"
        spans.append([start, len(context) - 1])
    tokens = _tokens(context)
    starts = [offset for _, offset in tokens]
    ends = [offset + len(word) - 1 for word, offset in tokens]
    words = [[starts.index(start), ends.index(end)] for start, end in spans]
    detected = {"text": found.answer, "char_spans": spans, "token_spans": words}
    question = f"what {english(rng)[:-2]} ?"
    asked = {
        "qid": name,
        "question": question,
        "question_tokens": _tokens(question),
        "detected_answers": [detected],
        "answers": [found.answer],
    }
    return {"id": "", "context": context, "context_tokens": tokens, "qas": [asked]}


def write_mrqa(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """MRQA, English: {train,dev}/SQuAD.jsonl.gz; the first line is a header, spans are inclusive.

    Three answers in ten stand twice in their context, and both places are given.
    """
    rng = generator("mrqa", seed)
    for split, size in sizes.splits()[:2]:
        rows: list[dict[str, Any]] = [{"header": {"dataset": "SQuAD", "mrqa_split": split}}]
        rows += [_mrqa_line(rng, f"{split}{index:08x}") for index in range(size)]
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path = folder / split / "SQuAD.jsonl.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Without the time of writing, equal data is equal bytes.
        path.write_bytes(gzip.compress(data, mtime=0))
