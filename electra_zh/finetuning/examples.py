"""Examples: one dataclass per kind of data, and the count of bad examples.

Every example has an `id`, that of the file with its JSON type or else its number from 0, and a
`place` (file and line, or file and question), so that a mistake found later can still be located.
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from electra_zh.errors import UserError, counted

SKIP_HINT = "--skip-bad skips such examples"


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """Base of the examples.

    Attributes:
      label_field: the field that holds the label, None in an example without one.
      label_noun: the word for the label in messages.
      without_labels: the words for a labelled example that has none of the task's labels; "" for
        examples that have one.
    """

    label_field: ClassVar[str] = "label"
    label_noun: ClassVar[str] = "label"
    without_labels: ClassVar[str] = ""

    @property
    def has_label(self) -> bool:
        """True if the label is known."""
        return getattr(self, self.label_field) is not None

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of a task's label list that the example has, for tasks with such a list."""
        return ()

    @property
    def is_blank(self) -> bool:
        """True if it has no text to predict from, as an empty line of new data."""
        return False

    @property
    def inputs(self) -> dict[str, Any]:
        """The texts by their names, for files of predictions."""
        return {}

    def unlabelled(self) -> Self:
        """Returns the example without its label."""
        return dataclasses.replace(self, **{self.label_field: None})


@dataclasses.dataclass(frozen=True, slots=True)
class TextExample(Example):
    """One text or a pair of texts, for classification and regression.

    The label is as the file writes it, a number as text for regression.
    """

    id: Any
    text_a: str
    text_b: str | None
    label: str | None
    place: str

    @property
    def label_names(self) -> tuple[str, ...]:
        """The label, if known."""
        return () if self.label is None else (self.label,)

    @property
    def is_blank(self) -> bool:
        """True if both texts have only white space and characters that are not visible."""
        text = f"{self.text_a}{self.text_b or ''}".strip()
        return all(unicodedata.category(char) in ("Cc", "Cf", "Zs") for char in text)

    @property
    def inputs(self) -> dict[str, Any]:
        """The text, or the two texts of a pair."""
        if self.text_b is None:
            return {"text": self.text_a}
        return {"text_a": self.text_a, "text_b": self.text_b}


@dataclasses.dataclass(frozen=True, slots=True)
class LabelsExample(TextExample):
    """One text or a pair of texts with any number of labels; `label` is a JSON array of them."""

    label_noun: ClassVar[str] = "labels"
    without_labels: ClassVar[str] = "empty"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, none if they are not known."""
        return () if self.label is None else tuple(json.loads(self.label))


@dataclasses.dataclass(frozen=True, slots=True)
class Entity:
    """A labelled span of a text: characters start to end (exclusive)."""

    type: str
    start: int
    end: int


@dataclasses.dataclass(frozen=True, slots=True)
class TaggedExample(Example):
    """One sentence with entities.

    Attributes:
      text: for files of columns, the words joined by a space unless one of the two neighbours is
        Chinese.
      words: start and end (exclusive) of each word in the text if the file gives words; None if
        an entity may begin at any character.
      entities: ordered by start; None without labels.
    """

    id: Any
    text: str
    words: tuple[tuple[int, int], ...] | None
    entities: tuple[Entity, ...] | None
    place: str
    label_field: ClassVar[str] = "entities"
    without_labels: ClassVar[str] = "no entity"

    @property
    def label_names(self) -> tuple[str, ...]:
        """The types of the entities."""
        return tuple(entity.type for entity in self.entities or ())

    @property
    def inputs(self) -> dict[str, Any]:
        """The text."""
        return {"text": self.text}


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a question: its text and the character of the context where it begins."""

    text: str
    start: int


@dataclasses.dataclass(frozen=True, slots=True)
class QuestionExample(Example):
    """One question about a context, answered by a span of it.

    Attributes:
      answers: every accepted answer, the first one being the training target; empty for an
        unanswerable question and for one answered by yes or no; None without labels.
      answer_type: `YES` or `NO` for such an answer, `NONE` for an unanswerable question, else "".
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None
    answer_type: str
    place: str
    label_field: ClassVar[str] = "answers"
    label_noun: ClassVar[str] = "answers"

    @property
    def inputs(self) -> dict[str, Any]:
        """The question and its context."""
        return {"question": self.question, "context": self.context}

    def gold_answers(self) -> list[str]:
        """Returns the texts that score as correct; empty for an unanswerable question."""
        if self.answers:
            return [answer.text for answer in self.answers]
        return [self.answer_type] if self.answer_type in ("YES", "NO") else []


@dataclasses.dataclass(frozen=True, slots=True)
class ChoiceExample(Example):
    """One question about a context, with two or more choices; `answer` is the index of one."""

    id: Any
    context: str
    question: str
    choices: tuple[str, ...]
    answer: int | None
    place: str
    label_field: ClassVar[str] = "answer"

    @property
    def inputs(self) -> dict[str, Any]:
        """The question, its context and the choices."""
        return {"question": self.question, "context": self.context, "choices": list(self.choices)}


@dataclasses.dataclass(frozen=True, slots=True)
class Blank:
    """One blank of a cloze text.

    Attributes:
      id: its mark, `#idiom000123#`, at the characters start to end (exclusive) of a text.
      text: index of that text.
      answer: index of the correct candidate; None without labels.
    """

    id: str
    text: int
    start: int
    end: int
    answer: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ClozeExample(Example):
    """Texts with the marks of blanks, and candidates for all blanks, each used at most once."""

    id: Any
    texts: tuple[str, ...]
    blanks: tuple[Blank, ...]
    candidates: tuple[str, ...]
    place: str

    @property
    def inputs(self) -> dict[str, Any]:
        """The texts and the candidates of their blanks."""
        return {"texts": list(self.texts), "candidates": list(self.candidates)}

    @property
    def has_label(self) -> bool:
        """True if the answer of every blank is known."""
        return all(blank.answer is not None for blank in self.blanks)

    def unlabelled(self) -> Self:
        """Returns the example without its answers."""
        blanks = tuple(dataclasses.replace(blank, answer=None) for blank in self.blanks)
        return dataclasses.replace(self, blanks=blanks)


class BadExampleError(Exception):
    """One example that cannot be used; raised by readers, counted by the loop that calls them.

    Attributes:
      reason: what is wrong; equal reasons are counted together.
      detail: the value, and what is allowed.
      place: file and line, if more precise than that of the record.
    """

    def __init__(self, reason: str, detail: str = "", *, place: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.place = reason, detail, place


class BadExamples:
    """The bad examples of a split: counted with `skip`, otherwise the first stops the command.

    Attributes:
      counts: reason to number of skipped examples.
      first: reason to the first place.
      dropped: label to number of examples skipped because the task drops that label.
      others: reason to number of rows that belong to another task or language.
      notes: further lines on the files, each once: what was recognized or assumed.
    """

    def __init__(self, *, skip: bool, hint: str = SKIP_HINT) -> None:
        self._skip, self._hint = skip, hint
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.dropped: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        """Adds a note, unless there is the same one."""
        if line not in self.notes:
            self.notes.append(line)

    def add(self, error: BadExampleError, place: str) -> None:
        """Adds a bad example; `place` is that of its record.

        Raises:
          UserError: bad examples are not skipped.
        """
        place = error.place or place
        if not self._skip:
            said = f"{place}: {error}".removesuffix(".")
            end = "" if said.endswith("?") else "."
            raise UserError(f"{said}{end} ({self._hint})" if self._hint else said)
        self.counts[error.reason] += 1
        self.first.setdefault(error.reason, place)

    def check_few(self, good: int) -> None:
        """Checks that bad examples are the exception.

        Raises:
          UserError: most examples are bad, so the file is of another form than expected.
        """
        bad = self.counts.total()
        if bad > good:
            (reason, _), *_ = self.counts.most_common(1)
            raise UserError(
                f"{bad:,} of {bad + good:,} examples are bad, most of them: {reason}, first "
                f"{self.first[reason]}. Correct the file or the settings of the task"
            )

    def lines(self) -> list[str]:
        """Returns the notes, and one line of text per reason."""
        bad = [
            f"skipped {counted(count, 'bad example')}: {reason}, first {self.first[reason]}"
            for reason, count in self.counts.items()
        ]
        dropped = [
            f'skipped {counted(count, "example")} labelled "{label}", as the published setups do'
            for label, count in self.dropped.items()
        ]
        others = [f"skipped {counted(n, 'row')}: {reason}" for reason, n in self.others.items()]
        return [*self.notes, *bad, *dropped, *others]

    def to_dict(self) -> Mapping[str, Any]:
        """Returns counts and first places for results.json."""
        return {
            reason: {"count": count, "first": self.first[reason]}
            for reason, count in self.counts.items()
        }
