"""Counts of equal predictions: a model that answers alike everywhere is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from electra_zh.finetuning.kinds.base import TaskKind

# From this many predictions on, a fraction of equal ones above this one is reported.
_LEAST, _MOST_EQUAL = 10, 0.99


class AnswerCounts:
    """Counts predictions, and those that are alike."""

    def __init__(self, kind: TaskKind[Any, Any], predictions: Iterable[Any] = ()) -> None:
        """Counts the predictions of a kind of task."""
        self._kind, self.total, self._blank = kind, 0, 0
        self._answers: Counter[str] = Counter()
        self.add(predictions)

    def add(self, predictions: Iterable[Any]) -> None:
        """Counts predictions; None is that of an empty line."""
        for prediction in predictions:
            self.total += 1
            if prediction is None:
                self._blank += 1
            elif answer := self._kind.one_answer(prediction):
                self._answers[answer] += 1

    def lines(self) -> Iterator[str]:
        """Yields the lines on empty lines and equal predictions, for the user."""
        if self._blank:
            lines = "line has" if self._blank == 1 else "lines have"
            yield f"{self._blank:,} empty {lines} no prediction (null)"
        for answer, count in self._answers.most_common(1):
            yield from same_answer(answer, count, self.total - self._blank)


def same_answer(answer: str, count: int, total: int) -> list[str]:
    """Returns the line for predictions that are all, or nearly all, the same; else no line."""
    if total < _LEAST or count <= _MOST_EQUAL * total:
        return []
    how_many = f"all {total:,}" if count == total else f"{100 * count / total:.2f}% of {total:,}"
    return [f"{how_many} predictions are {answer}: the model may have learnt nothing"]
