"""Material of the made data sets: a small alphabet, words that give a class away, and file writers.

Everything is a function of the random generator that it is given, so that a data set is a function
of its name, its sizes and a seed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Characters without a class: what the sentences are filled with.
FILLER = (
    "的一是在不了有这来上个到说时要就出会可也你对生能而那得着下自年过发后里用道所然种事成多经去如"
)
TRADITIONAL_FILLER = (
    "的一是在不了有這來上個到說時要就出會可也你對生能而那得著下自年過發後裡用道所然種們從還"
)
# Words whose characters occur nowhere else: a class is known by its word.
KEYWORDS = (
    *("足球", "电脑", "茶叶", "火车", "月亮", "钢琴", "银行", "飞机"),
    *("医院", "老鼠", "黄河", "丝绸", "冰川", "颜色", "骨头"),
)
ENGLISH_FILLER = (
    *("the", "a", "of", "to", "in", "it", "is", "we", "he", "on", "at"),
    *("as", "by", "or", "an", "be", "so", "my", "up", "no"),
)
ENGLISH_KEYWORDS = ("music", "river", "table", "green", "house", "paper")


class Sizes(NamedTuple):
    """Usable examples of each split."""

    train: int = 200
    dev: int = 40
    test: int = 20

    def splits(self) -> tuple[tuple[str, int], ...]:
        """Each split's name and size, test last."""
        return tuple(zip(self._fields, self, strict=True))


class Pair(NamedTuple):
    """Two sentences and what holds between them."""

    first: str
    second: str
    label: str


class Passage(NamedTuple):
    """A context with one answer in it."""

    context: str
    answer: str
    start: int


class AnswerLetters(NamedTuple):
    """The first, inner and last letters of answers, which nothing else is made of.

    No letter is in two of the three, so that an answer's ends can be learnt letter by letter.
    """

    first: str
    inner: str
    last: str


ANSWER_LETTERS = AnswerLetters("春夏秋冬", "雨雪", "红绿蓝白")
TRADITIONAL_ANSWER_LETTERS = AnswerLetters("東風鳥藍", "雨雪", "門燈貓書")


def generator(name: str, seed: int) -> random.Random:
    """A data set's own source of randomness."""
    return random.Random(f"{name} {seed}")


def sentence(rng: random.Random, *, letters: str = FILLER, shortest: int = 6) -> str:
    """Filler without meaning, of up to six characters more than the shortest."""
    return "".join(rng.choices(letters, k=rng.randint(shortest, shortest + 6)))


def sentence_with(rng: random.Random, word: str, *, letters: str = FILLER) -> str:
    """Filler with a word somewhere in it."""
    text = sentence(rng, letters=letters)
    place = rng.randint(0, len(text))
    return text[:place] + word + text[place:]


def english(rng: random.Random, word: str = "") -> str:
    """An English line of filler words with a word somewhere in it."""
    words = rng.choices(ENGLISH_FILLER, k=rng.randint(5, 9))
    if word:
        words.insert(rng.randint(0, len(words)), word)
    return " ".join(words) + " ."


def balanced(rng: random.Random, names: Sequence[str], count: int) -> list[str]:
    """So many names, each as often as the others, in random order."""
    chosen = [names[index % len(names)] for index in range(count)]
    rng.shuffle(chosen)
    return chosen


def pairs(rng: random.Random, labels: Sequence[str], count: int) -> list[Pair]:
    """Sentence pairs; the second sentence holds its label's keyword."""
    words = dict(zip(labels, KEYWORDS, strict=False))
    return [
        Pair(sentence(rng), sentence_with(rng, words[label]), label)
        for label in balanced(rng, labels, count)
    ]


def english_pairs(rng: random.Random, labels: Sequence[str], count: int) -> list[Pair]:
    """English sentence pairs; the second sentence holds its label's keyword."""
    words = dict(zip(labels, ENGLISH_KEYWORDS, strict=False))
    return [
        Pair(english(rng), english(rng, words[label]), label)
        for label in balanced(rng, labels, count)
    ]


def passage(
    rng: random.Random,
    *,
    filler: str = FILLER,
    answers: AnswerLetters = ANSWER_LETTERS,
    shortest: int = 20,
) -> Passage:
    """A context whose only answer letters are the answer, after the words that announce it."""
    before = sentence(rng, letters=filler, shortest=rng.randint(4, shortest)) + "，答案是"
    inner = "".join(rng.choices(answers.inner, k=rng.randint(0, 2)))
    answer = rng.choice(answers.first) + inner + rng.choice(answers.last)
    after = "。" + sentence(rng, letters=filler, shortest=shortest) + "。"
    return Passage(before + answer + after, answer, len(before))


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 as it is, in a folder that is made where missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def write_lines(path: Path, lines: Iterable[str], *, last_newline: bool = True) -> None:
    """Writes lines; some public files end without a newline."""
    write_text(path, "\n".join(lines) + "\n" * last_newline)


def write_json_lines(
    path: Path, rows: Iterable[Mapping[str, Any]], *, last_newline: bool = True
) -> None:
    """Writes one JSON object a line, characters unescaped."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_lines(path, lines, last_newline=last_newline)


def write_json(path: Path, value: Any, *, indent: int | None = None) -> None:
    """Writes one JSON value, characters unescaped."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent))


def write_columns(path: Path, rows: Iterable[Sequence[object]], *, separator: str = "\t") -> None:
    """Writes rows of columns without any quoting."""
    write_lines(path, (separator.join(map(str, row)) for row in rows))
