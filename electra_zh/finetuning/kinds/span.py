"""Span extraction: the answer to a question is a stretch of a text.

A text too long for one row becomes windows "[CLS] question [SEP] tokens [SEP]" that overlap (BERT;
reference: finetune/qa/qa_tasks.py). Tokens know their characters, so an answer is a slice of the
text as it was given, and a text with many questions is tokenised once.

Shapes: G windows (a row each), Q questions, T tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, QuestionExample
from electra_zh.finetuning.kinds.base import Hidden, TaskKind
from electra_zh.finetuning.rows import EncodedSplit
from electra_zh.finetuning.sequences import build_pairs
from electra_zh.finetuning.span_decode import (
    SpanPrediction,
    gather_candidates,
    make_prediction,
    n_best,
    other_answers,
)
from electra_zh.finetuning.span_heads import SpanHead
from electra_zh.finetuning.span_scores import gold_answers, rules_of, score_answers
from electra_zh.finetuning.span_windows import (
    Targets,
    Texts,
    Windows,
    find_targets,
    make_windows,
    tokenize,
)
from electra_zh.finetuning.tasks import SpanConfig, TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.tokenizer import Tokenizer

_VERDICTS = ("YES", "NO", "NONE")


class Span(TaskKind[QuestionExample, SpanPrediction]):
    """The stretch of a text that answers a question; YES, NO or no answer where the task has them.

    `labels.names` of the task, some of YES, NO, NONE, adds a head that tells these from a span.
    With a metric of SQuAD 2.0, an answer is empty where its no-answer score is above the task's
    `null_threshold`.
    """

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        """Makes the kind.

        Raises:
          UserError: a metric, an answer in `labels.names` or a setting that there is not.
        """
        super().__init__(task, max_seq_length=max_seq_length)
        self._notes: list[str] = []
        self._rules = rules_of(task.metric, task.name)
        if not set(task.labels.names) <= set(_VERDICTS):
            raise UserError(
                f"task {task.name}: labels of span extraction are answers that are no span, some "
                f"of {', '.join(_VERDICTS)}; received {', '.join(task.labels.names)}"
            )
        if "NONE" in task.labels.names and self._rules in ("cmrc", "squad"):
            raise UserError(
                f"task {task.name}: metric {task.metric} has no unanswerable questions, which NONE "
                "in labels.names is for; allowed with NONE: cjrc_em, cjrc_f1, squad2_em, squad2_f1"
            )
        _check_settings(task.reading, task.name)

    def check(
        self, examples: Sequence[QuestionExample], problems: BadExamples
    ) -> list[QuestionExample]:
        """Returns the examples whose kind of answer the task has."""
        known = {"", *self.task.labels.names} | ({"NONE"} if self._rules == "squad2" else set())
        good = []
        for example in examples:
            if example.answers is None:
                problems.add(example.place, "no answers: is this a test file?")
            elif example.verdict not in known:
                what = "no answer" if example.verdict == "NONE" else example.verdict
                detail = f"add {example.verdict} to labels.names of task {self.task.name}"
                problems.add(
                    example.place, f"the answer is {what}, which is no span", detail=detail
                )
            else:
                good.append(example)
        return good

    def encode(
        self, examples: Sequence[QuestionExample], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns one row a window, one group each.

        Rows have `context_mask` int32 [T]. With `training`, `start`, `end` int32 [G] (positions in
        the row, 0 where the window does not hold the whole answer), `answerable` float32 [G] and,
        if the task has such answers, `verdict` int32 [G]; questions whose answer is not found have
        no rows. Otherwise `own` int32 [G, 2], as positions, and `char_starts`, `char_ends` int32
        [T], what each token of the context covers.
        """
        contexts = tokenize(tokenizer, [example.context for example in examples])
        queries = tokenize(tokenizer, [example.question for example in examples])
        limit = min(self.task.reading.max_query_length, (self.max_seq_length - 3) // 2)
        query_lengths = np.minimum(queries.lengths, limit)
        targets = find_targets(examples, contexts) if training else None
        used = np.arange(len(examples)) if targets is None else self._usable(examples, targets)
        room = self.max_seq_length - 3 - query_lengths
        windows = make_windows(contexts.lengths[used], room[used], self.task.reading.doc_stride)
        windows = windows._replace(question=used[windows.question])
        of = windows.question
        before = query_lengths[of] + 2  # the position of a window's first token
        pairs = build_pairs(
            queries.cut(of, np.zeros_like(of), query_lengths[of]),
            contexts.cut(of, windows.starts, windows.lengths),
            cls_id=tokenizer.vocabulary.cls_id,
            sep_id=tokenizer.vocabulary.sep_id,
            max_seq_length=self.max_seq_length,
        )
        mask = pairs.segments.copy()
        mask[pairs.ends - 1] = 0  # the last [SEP]
        per_token = {"context_mask": mask}
        if targets is not None:
            per_group = self._labels(examples, windows, targets, before)
        else:
            per_token |= _characters(contexts, windows, mask)
            own = windows.own - windows.starts[:, None] + before[:, None]
            per_group = {"own": own.astype(np.int32)}
        return EncodedSplit(*pairs, example=of, per_token=per_token, per_group=per_group)

    def _usable(self, examples: Sequence[QuestionExample], targets: Targets) -> np.ndarray:
        """Returns the numbers of the questions to train on, and writes the notes on the answers."""
        is_span = np.array([not example.verdict for example in examples], np.bool_)
        longest = self.task.reading.max_answer_length
        repaired = int((targets.repaired & is_span).sum())
        missing = int((~targets.found & is_span).sum())
        self._notes = []
        if repaired or missing:
            self._notes.append(
                f"{_count(repaired + missing, 'answer')} did not stand at their offset: "
                f"{repaired:,} repaired, {missing:,} not found and left out of training"
            )
        long = int((targets.last - targets.first >= longest)[is_span & targets.found].sum())
        if long:
            self._notes.append(
                f"{_count(long, 'answer')} to train on with more than the {longest} tokens "
                "that predictions have at most (max_answer_length)"
            )
        return np.flatnonzero(targets.found | ~is_span)

    def _labels(
        self,
        examples: Sequence[QuestionExample],
        windows: Windows,
        targets: Targets,
        before: np.ndarray,
    ) -> dict[str, np.ndarray]:
        of = windows.question
        names = [example.verdict for example in examples]
        verdicts = np.array([_VERDICTS.index(name) if name else -1 for name in names], np.int64)
        first, last = targets.first[of] - windows.starts, targets.last[of] - windows.starts
        inside = (first >= 0) & (last < windows.lengths) & (verdicts[of] < 0)
        labels = {
            "start": np.where(inside, first + before, 0).astype(np.int32),
            "end": np.where(inside, last + before, 0).astype(np.int32),
            "answerable": (verdicts[of] != _VERDICTS.index("NONE")).astype(np.float32),
        }
        if self.task.labels.names:
            labels["verdict"] = self._verdict_classes(verdicts[of], inside)
        return labels

    def _verdict_classes(self, verdicts: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Returns int32 [G]: 0 for a span that is in the window, else one of `labels.names`.

        A window without the answer counts as one that says nothing of it, where there is NONE.
        """
        names = self.task.labels.names
        # By number in _VERDICTS; the last, -1, is for spans.
        classes = np.array([1 + names.index(x) if x in names else 0 for x in _VERDICTS] + [0])
        elsewhere = classes[_VERDICTS.index("NONE")]
        found = np.where((verdicts < 0) & ~inside, elsewhere, classes[verdicts])
        return found.astype(np.int32)

    def notes(self) -> list[str]:
        """Returns how many answers of the training set were repaired, left out, or are too long."""
        return self._notes

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> SpanHead:
        """Returns the head."""
        names = self.task.labels.names
        verdicts = len(names) + 1 if names else 0
        return SpanHead(model, path, self.task.reading, verdicts=verdicts, seed=seed)

    def losses(
        self, head: SpanHead, hidden: Hidden, features: Mapping[str, tf.Tensor]
    ) -> tf.Tensor:
        """Returns the loss of each window, [G]."""
        return head.losses(hidden, features)

    def outputs(
        self, head: SpanHead, hidden: Hidden, features: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns `scores`, `starts`, `ends` [G, n_best] of the best spans, and `null` [G].

        With their heads also `unanswerable` [G] and `verdicts` [G, 1 + len(labels.names)].
        """
        found = head.outputs(hidden, features)
        named = {**found.pairs._asdict(), "null": found.null}
        if found.unanswerable is not None:
            named["unanswerable"] = found.unanswerable
        if found.verdicts is not None:
            named["verdicts"] = found.verdicts
        return named

    def predictions(
        self,
        outputs: Mapping[str, np.ndarray],
        rows: EncodedSplit,
        examples: Sequence[QuestionExample],
    ) -> list[SpanPrediction]:
        """Returns the best span of each question's windows, or another answer that is likelier."""
        candidates = gather_candidates(
            (outputs["scores"], outputs["starts"], outputs["ends"]),
            question=rows.example,
            row_starts=rows.starts,
            characters=(rows.per_token["char_starts"], rows.per_token["char_ends"]),
        )
        contexts = [example.context for example in examples]
        spans = n_best(candidates, contexts, self.task.reading.n_best)
        other = other_answers(
            outputs,
            rows.example,
            best_scores=[found[0].score if found else 0.0 for found in spans],
            names=self.task.labels.names,
            threshold=self.task.reading.null_threshold if self._rules == "squad2" else np.inf,
        )
        return [make_prediction(*each) for each in zip(spans, *other, strict=True)]

    def scores(
        self, examples: Sequence[QuestionExample], predictions: Sequence[SpanPrediction]
    ) -> dict[str, float]:
        """Returns exact match and F1 by the script that the task's metric names."""
        threshold = self.task.reading.null_threshold
        return score_answers(self._rules, examples, predictions, null_threshold=threshold)

    def to_json(self, example: QuestionExample, prediction: SpanPrediction) -> dict[str, Any]:
        """Returns id, answer, score, the best spans, and the gold answers if known."""
        line: dict[str, Any] = {
            "id": example.id,
            "answer": prediction.text,
            "score": round(prediction.score, 6),
        }
        if self._rules == "squad2" or "NONE" in self.task.labels.names:
            line["no_answer_score"] = round(prediction.no_answer_score, 6)
        line["nbest"] = [
            {"text": text, "probability": round(probability, 6)}
            for text, probability in prediction.nbest
        ]
        return line if example.answers is None else {**line, "gold": gold_answers(example)}


def _characters(contexts: Texts, windows: Windows, mask: np.ndarray) -> dict[str, np.ndarray]:
    """Returns `char_starts` and `char_ends`, int32 [T], 0 where the mask is."""
    found = {}
    for name, values in (
        ("char_starts", contexts.tokens.starts),
        ("char_ends", contexts.tokens.ends),
    ):
        of_context = contexts.cut_values(values, windows.question, windows.starts, windows.lengths)
        found[name] = np.zeros_like(mask)
        found[name][mask > 0] = of_context.ids
    return found


def _check_settings(reading: SpanConfig, name: str) -> None:
    for key in ("doc_stride", "max_query_length", "max_answer_length", "n_best"):
        value = getattr(reading, key)
        if value < 1:
            raise UserError(f"task {name}: {key} must be at least 1; received {value}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
