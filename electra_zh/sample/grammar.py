"""Text from the sample's grammar: as much as the demo's model needs to learn from."""

from __future__ import annotations

import importlib.resources
import random
import re
from collections.abc import Mapping, Sequence

import yaml

_SLOT = re.compile(r"\{(\w+)\}")
_DAILY = 0.15  # probability that a sentence is of no topic
_PARAGRAPHS, _SENTENCES = (1, 3), (2, 6)


def make_text(characters: int, *, seed: int, without: Sequence[str] = ()) -> str:
    """Returns documents of the grammar: a paragraph per line, an empty line after each document.

    Args:
      characters: length from which no further document is added.
      seed: of the random choices.
      without: strings that no sentence contains, such as those that a model is asked about.
    """
    with importlib.resources.files(__package__).joinpath("grammar.yaml").open("rb") as file:
        grammar = yaml.safe_load(file)
    draw = random.Random(seed)
    documents: list[str] = []
    length = 0
    while length < characters:
        document = _document(grammar, draw, without)
        documents.append(document)
        length += len(document)
    return "\n".join(documents)


def _document(
    grammar: Mapping[str, Sequence[str]], draw: random.Random, without: Sequence[str]
) -> str:
    topic = draw.choice(grammar["topics"])
    lines = []
    for _ in range(draw.randint(*_PARAGRAPHS)):
        sentences: list[str] = []
        for _ in range(draw.randint(*_SENTENCES)):
            name = "daily" if draw.random() < _DAILY else topic
            sentence = _expand("{" + name + "}", grammar, draw)
            if not any(text in sentence for text in without):
                sentences.append(sentence)
        lines.append("".join(sentences) + "\n")
    return "".join(lines)


def _expand(text: str, grammar: Mapping[str, Sequence[str]], draw: random.Random) -> str:
    """Returns the text with a random line in the place of each name, again and again."""
    return _SLOT.sub(lambda slot: _expand(draw.choice(grammar[slot[1]]), grammar, draw), text)
