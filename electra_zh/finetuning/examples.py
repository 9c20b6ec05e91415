"""What readers make of files: one dataclass a kind of task.

Every example knows its place (file and line, or file and question), so that whatever is found wrong
with it later can still be named.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Any

from electra_zh.errors import UserError


@dataclasses.dataclass(frozen=True, slots=True)
class TextExample:
    """One text or a pair of them: classification and regression.

    Attributes:
      id: the file's own id, as JSON has it; the example's number (from 0) where there is none.
      text_a: the first text.
      text_b: the second text of a pair; None for single texts.
      label: the label as it stands in the file (for regression a number as text); None without.
      place: where it stands, for messages.
    """

    id: Any
    text_a: str
    text_b: str | None
    label: str | None
    place: str


@dataclasses.dataclass(frozen=True, slots=True)
class Entity:
    """One labelled stretch of a text: characters start to end (exclusive)."""

    type: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class TaggedExample:
    """One sentence for tagging.

    Attributes:
      id: the file's own id, or the example's number from 0.
      text: the sentence. For files of columns: its words, with a space between two where neither
        is Chinese.
      words: start and end (exclusive) of each word in the text where the file says what the words
        are; None where any character may begin an entity.
      entities: in the order of their starts; None without labels.
      place: where it stands, for messages.
    """

    id: Any
    text: str
    words: tuple[tuple[int, int], ...] | None
    entities: tuple[Entity, ...] | None
    place: str


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer to a question: its text and where it begins in the context."""

    text: str
    start: int


@dataclasses.dataclass(frozen=True, slots=True)
class QuestionExample:
    """One question about a context, answered by a span of it.

    Attributes:
      id: the question's id.
      question: the question.
      context: the text that holds the answer.
      answers: all that the file allows, the first one being trained on; empty where the question
        is unanswerable or answered by yes or no; None without labels.
      verdict: `YES` or `NO` for such an answer, `NONE` for an unanswerable question, "" otherwise.
      place: where it stands, for messages.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None
    verdict: str
    place: str


@dataclasses.dataclass(frozen=True, slots=True)
class ChoiceExample:
    """One question with several choices.

    Attributes:
      id: the question's own id, or its number from 0.
      context: what the question is about.
      question: the question.
      choices: two or more.
      answer: index of the right choice; None without labels.
      place: where it stands, for messages.
    """

    id: Any
    context: str
    question: str
    choices: tuple[str, ...]
    answer: int | None
    place: str


@dataclasses.dataclass(frozen=True, slots=True)
class Blank:
    """One blank of a cloze text.

    Attributes:
      id: as the answer file calls it, as `#idiom000123#`.
      text: which of the example's texts it stands in.
      start: where the blank's mark begins in that text.
      end: where the mark ends (exclusive).
      answer: index of the right candidate; None without labels.
    """

    id: str
    text: int
    start: int
    end: int
    answer: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ClozeExample:
    """Texts with blanks that share one list of candidates, each used at most once.

    Attributes:
      id: the item's own id, or its number from 0.
      texts: the texts, the marks of the blanks included.
      blanks: in the order of the texts.
      candidates: idioms to choose from.
      place: where it stands, for messages.
    """

    id: Any
    texts: tuple[str, ...]
    blanks: tuple[Blank, ...]
    candidates: tuple[str, ...]
    place: str


class BadExamples:
    """What becomes of bad examples: the first one stops the command, or they are counted.

    Attributes:
      counts: reason to number of examples that were left out.
      first: reason to the first place.
      dropped: label to number of examples left out because the task drops that label.
    """

    def __init__(self, *, skip: bool) -> None:
        """Makes the list; with `skip`, bad examples are counted and left out."""
        self._skip = skip
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.dropped: Counter[str] = Counter()

    def add(self, place: str, reason: str, *, detail: str = "") -> None:
        """Takes note of a bad example.

        Args:
          place: file and line, or file and question.
          reason: what is wrong; equal reasons are counted together.
          detail: what else the message should say, as the value and what is allowed.

        Raises:
          UserError: bad examples are not to be skipped.
        """
        if not self._skip:
            more = f": {detail}" if detail else ""
            said = f"{place}: {reason}{more}".removesuffix(".")
            raise UserError(f"{said}. (--skip-bad leaves such examples out)")
        self.counts[reason] += 1
        self.first.setdefault(reason, place)

    def lines(self) -> list[str]:
        """Returns one line of text for each reason."""
        return [
            *(
                f"left out: {count:,} examples, {reason}, first {self.first[reason]}"
                for reason, count in self.counts.items()
            ),
            *(
                f'{count:,} examples labelled "{label}" are not used, as in the published setups'
                for label, count in self.dropped.items()
            ),
        ]

    def to_dict(self) -> Mapping[str, Any]:
        """Returns counts and first places, as results.json keeps them."""
        return {
            reason: {"count": count, "first": self.first[reason]}
            for reason, count in self.counts.items()
        }
