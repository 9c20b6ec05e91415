"""Made tagging data in columns: Chinese entities by character, English chunks by word."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from support.made_text import Sizes, generator, sentence, write_lines

NEWS_ENTITIES = {"PER": ("周建国", "李雪"), "LOC": ("长安路", "云岭"), "ORG": ("交通局", "海湾队")}
WEIBO_ENTITIES = {
    "PER.NAM": ("周建国",),
    "PER.NOM": ("老板", "妈"),
    "LOC.NAM": ("长安路",),
    "GPE.NAM": ("四川",),
    "ORG.NAM": ("海湾队",),
}
RESUME_ENTITIES = {
    "NAME": ("李雪", "周建国"),
    "CONT": ("中国",),
    "EDU": ("研究员",),
    "ORG": ("交通局", "银行"),
    "TITLE": ("经理", "工程师"),
}
# One letter too: the schemes with single tags must show them.
BIOES_ENTITIES = {"PER": ("周建国", "马"), "LOC": ("长安路", "江")}
# Words of each chunk type with their part of speech, and the type they make up.
CHUNKS = {
    "NP": (("the", "DT"), ("green", "JJ"), ("river", "NN")),
    "VP": (("will", "MD"), ("go", "VB")),
    "PP": (("by", "IN"),),
    "ADVP": (("soon", "RB"),),
}


class Scheme(NamedTuple):
    """The tags' letters: the first, inner and last character of an entity, and a lone one."""

    first: str
    inner: str
    last: str
    single: str


BIO = Scheme("B", "I", "I", "B")
BMES = Scheme("B", "M", "E", "S")
BIOES = Scheme("B", "I", "E", "S")


def _tag(length: int, kind: str, scheme: Scheme) -> list[str]:
    """The tags of an entity of so many characters."""
    if length == 1:
        return [f"{scheme.single}-{kind}"]
    letters = [scheme.first, *[scheme.inner] * (length - 2), scheme.last]
    return [f"{letter}-{kind}" for letter in letters]


def _lines(
    rng: random.Random,
    entities: Mapping[str, tuple[str, ...]],
    *,
    count: int,
    scheme: Scheme,
    separator: str,
) -> list[str]:
    """Sentences of none to three entities: a character and its tag a line, then an empty line."""
    lines: list[str] = []
    for _ in range(count):
        characters: list[str] = []
        tags: list[str] = []
        for kind in ["", *rng.choices(sorted(entities), k=rng.randint(0, 3))]:
            mention = rng.choice(entities[kind]) if kind else ""
            between = sentence(rng, shortest=2)
            characters += [*mention, *between]
            tags += _tag(len(mention), kind, scheme) if kind else []
            tags += ["O"] * len(between)
        lines += [*map(separator.join, zip(characters, tags, strict=True)), ""]
    return lines


def write_msra_ner(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """MSRA: {train,dev,test}.txt, BIO, tab."""
    rng = generator("msra_ner", seed)
    for split, size in sizes.splits():
        lines = _lines(rng, NEWS_ENTITIES, count=size, scheme=BIO, separator="\t")
        write_lines(folder / f"{split}.txt", lines)


def write_peopledaily_ner(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """People's Daily: {train,dev,test}.txt, BIO, space; no empty line at the end."""
    rng = generator("peopledaily_ner", seed)
    for split, size in sizes.splits():
        lines = _lines(rng, NEWS_ENTITIES, count=size, scheme=BIO, separator=" ")
        write_lines(folder / f"{split}.txt", lines[:-1])


def write_weibo_ner(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """Weibo: weiboNER.conll.{train,dev,test}, BIO with types like PER.NAM, tab."""
    rng = generator("weibo_ner", seed)
    for split, size in sizes.splits():
        lines = _lines(rng, WEIBO_ENTITIES, count=size, scheme=BIO, separator="\t")
        write_lines(folder / f"weiboNER.conll.{split}", lines)


def write_resume_ner(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """Resume: {train,dev,test}.char.bmes, BMES, space."""
    rng = generator("resume_ner", seed)
    for split, size in sizes.splits():
        lines = _lines(rng, RESUME_ENTITIES, count=size, scheme=BMES, separator=" ")
        write_lines(folder / f"{split}.char.bmes", lines)


def write_bioes_ner(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """No public set's: {train,dev,test}.txt, BIOES, tab; entities of one character too."""
    rng = generator("bioes_ner", seed)
    for split, size in sizes.splits():
        lines = _lines(rng, BIOES_ENTITIES, count=size, scheme=BIOES, separator="\t")
        write_lines(folder / f"{split}.txt", lines)


def write_conll2000(folder: Path, *, sizes: Sizes, seed: int) -> None:
    """CoNLL-2000 chunks: train.txt, test.txt; word, part of speech, BIO tag, by spaces."""
    rng = generator("conll2000", seed)
    for split, size in (("train", sizes.train), ("test", sizes.test)):
        lines = []
        for _ in range(size):
            for kind in rng.choices(sorted(CHUNKS), k=rng.randint(2, 6)):
                words = CHUNKS[kind]
                if kind == "NP":
                    words = words[rng.randint(0, 2) :]
                tags = _tag(len(words), kind, BIO)
                lines += [
                    f"{word} {pos} {tag}" for (word, pos), tag in zip(words, tags, strict=True)
                ]
            lines += [". . O", ""]
        write_lines(folder / f"{split}.txt", lines)
