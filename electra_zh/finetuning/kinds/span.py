"""Span extraction: the answer to a question is a stretch of a text.

A text too long for one row becomes overlapping windows "[CLS] question [SEP] tokens [SEP]" (BERT;
reference: finetune/qa/qa_tasks.py). Tokens know their characters, so an answer is a slice of the
original text, and a text with many questions is tokenised once.

Shapes: G windows (a row each), Q questions, T tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.convert.task_heads import HeadForm
from electra_zh.errors import UserError, counted
from electra_zh.finetuning.encoding.answers import (
    QuestionTexts,
    Targets,
    find_targets,
    tokenize_distinct,
)
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.encoding.sequences import build_pairs
from electra_zh.finetuning.encoding.windows import Windows, cut_windows
from electra_zh.finetuning.examples import BadExampleError, QuestionExample
from electra_zh.finetuning.heads.span_decode import (
    SpanPrediction,
    make_prediction,
    n_best,
    other_answers,
)
from electra_zh.finetuning.heads.spans import SpanHead
from electra_zh.finetuning.kinds.base import Features, Hidden, Outputs, TaskKind
from electra_zh.finetuning.scores.answer_scores import (
    METRICS,
    rules_of,
    score_answers,
    score_squad2,
)
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.tokenizer import Tokenizer

# Types of answers that are not a span; the labels of a task are some of these.
_ANSWER_TYPES = ("YES", "NO", "NONE")


class Span(TaskKind[QuestionExample, SpanPrediction]):
    """The stretch of a text that answers a question; YES, NO or no answer where the task has them.

    `labels.names` of the task, some of YES, NO, NONE, adds a head that distinguishes these from a
    span. With a metric of SQuAD 2.0, an answer is empty where its no-answer score is above the
    task's `null_threshold`.
    """

    example_type = QuestionExample
    metric_names = tuple(name for names in METRICS.values() for name in names)
    submission_forms = ("answers",)
    head_form = HeadForm(
        "ElectraForQuestionAnswering",
        {"output": "qa_outputs"},
        served=("start_logits", "end_logits"),
        per_token=True,
        variants={
            "start": "joint_prediction",
            "unanswerable": "answerability",
            "verdict": "answer_type",
        },
    )

    def __init__(self, task: TaskConfig, *, max_seq_length: int) -> None:
        """Makes the kind.

        Raises:
          UserError: the metric, a label or a setting is not allowed.
        """
        super().__init__(task, max_seq_length=max_seq_length)
        self._rules = rules_of(task.metric)
        if not set(task.labels.names) <= set(_ANSWER_TYPES):
            raise UserError(
                f"task {task.name}: labels of span extraction are {', '.join(_ANSWER_TYPES)} "
                f"(answers that are not a span); received {', '.join(task.labels.names)}"
            )
        if "NONE" in task.labels.names and self._rules in ("cmrc", "squad"):
            raise UserError(
                f"task {task.name}: metric {task.metric} does not score unanswerable questions. "
                "Remove NONE from labels.names, or use cjrc_em, cjrc_f1, squad2_em or squad2_f1"
            )

    def check_example(self, example: QuestionExample) -> None:
        """Checks for missing answers, and for answer types without a label."""
        if example.answers is None:
            raise BadExampleError("no answers: is this a test file?")
        known = {"", *self.task.labels.names} | ({"NONE"} if self._rules == "squad2" else set())
        if example.answer_type not in known:
            reason = f"the answer is {example.answer_type}, not a span"
            if example.answer_type == "NONE":
                reason = "unanswerable question"
            detail = f"add {example.answer_type} to labels.names of task {self.task.name}"
            raise BadExampleError(reason, detail)

    def encode(
        self, examples: Sequence[QuestionExample], tokenizer: Tokenizer, *, training: bool
    ) -> EncodedSplit:
        """Returns one row per window, one group each.

        Rows have `context_mask` int32 [T]. With `training`, `start`, `end` int32 [G] (positions in
        the row, 0 where the window does not contain the answer), `answerable` float32 [G] and, if
        the task has such answers, `answer_type` int32 [G]; questions whose answer is not found have
        no rows. Otherwise `max_context` int32 [G, 2], as positions, and `char_starts`, `char_ends`
        int32 [T], the characters of each context token.
        """
        contexts = tokenize_distinct(tokenizer, [example.context for example in examples])
        queries = tokenize_distinct(tokenizer, [example.question for example in examples])
        limit = min(self.task.reading.max_query_length, (self.max_seq_length - 3) // 2)
        query_lengths = np.minimum(queries.lengths, limit)
        used, targets = np.arange(len(examples)), None
        notes: tuple[str, ...] = ()
        if training:
            targets = find_targets(examples, contexts)
            is_span = np.array([not example.answer_type for example in examples], np.bool_)
            notes = self._notes(targets, is_span)
            used = np.flatnonzero(targets.found | ~is_span)
        room = self.max_seq_length - 3 - query_lengths[used]
        stride = self.task.reading.doc_stride
        windows = cut_windows(contexts.lengths[used], room, stride=stride)
        windows = windows._replace(texts=used[windows.texts])
        of = windows.texts
        offset = query_lengths[of] + 2  # the position of a window's first token
        pairs = build_pairs(
            queries.cut(queries.tokens.ids, of, np.zeros_like(of), query_lengths[of]),
            contexts.cut(contexts.tokens.ids, of, windows.starts, windows.lengths),
            cls_id=tokenizer.vocabulary.cls_id,
            sep_id=tokenizer.vocabulary.sep_id,
            max_seq_length=self.max_seq_length,
        )
        mask = pairs.segments.copy()
        mask[pairs.ends - 1] = 0  # the last [SEP]
        per_token = {"context_mask": mask}
        if targets is not None:
            per_group = self._labels(examples, windows, targets, offset)
        else:
            per_token |= _characters(contexts, windows, mask)
            max_context = windows.max_context - windows.starts[:, None] + offset[:, None]
            per_group = {"max_context": max_context.astype(np.int32)}
        return EncodedSplit(
            *pairs, example=of, per_token=per_token, per_group=per_group, notes=notes
        )

    def _notes(self, targets: Targets, is_span: np.ndarray) -> tuple[str, ...]:
        """Returns the counts of repaired, skipped and too long answers to train on."""
        repaired = int((targets.repaired & is_span).sum())
        missing = int((~targets.found & is_span).sum())
        longest = self.task.reading.max_answer_length
        long = int((targets.last - targets.first >= longest)[is_span & targets.found].sum())
        notes = []
        if repaired or missing:
            notes.append(
                f"{counted(repaired + missing, 'answer')} not found at the given offset: "
                f"{repaired:,} repaired, {missing:,} missing in the text and skipped"
            )
        if long:
            notes.append(
                f"{counted(long, 'answer')} longer than the {longest} tokens that a prediction may "
                "have (max_answer_length)"
            )
        return tuple(notes)

    def _labels(
        self,
        examples: Sequence[QuestionExample],
        windows: Windows,
        targets: Targets,
        offset: np.ndarray,
    ) -> dict[str, np.ndarray]:
        of = windows.texts
        names = [example.answer_type for example in examples]
        numbers = [_ANSWER_TYPES.index(name) if name else -1 for name in names]
        types = np.array(numbers, np.int64)[of]
        first, last = targets.first[of] - windows.starts, targets.last[of] - windows.starts
        inside = (first >= 0) & (last < windows.lengths) & (types < 0)
        labels = {
            "start": np.where(inside, first + offset, 0).astype(np.int32),
            "end": np.where(inside, last + offset, 0).astype(np.int32),
            "answerable": (types != _ANSWER_TYPES.index("NONE")).astype(np.float32),
        }
        if self.task.labels.names:
            labels["answer_type"] = self._answer_classes(types, inside)
        return labels

    def _answer_classes(self, types: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Returns int32 [G]: 0 for a span that is in the window, else 1 + index of the label.

        A window without the span counts as NONE, where the task has that label.
        """
        names = self.task.labels.names
        # By index in _ANSWER_TYPES; the last, -1, is for spans.
        classes = np.array([1 + names.index(x) if x in names else 0 for x in _ANSWER_TYPES] + [0])
        elsewhere = classes[_ANSWER_TYPES.index("NONE")]
        found: np.ndarray = np.where((types < 0) & ~inside, elsewhere, classes[types])
        return found.astype(np.int32)

    def make_head(self, model: ModelConfig, path: str, *, seed: int) -> SpanHead:
        """Returns the head."""
        names = self.task.labels.names
        types = len(names) + 1 if names else 0
        return SpanHead(model, path, self.task.reading, answer_types=types, seed=seed)

    def losses(self, head: SpanHead, hidden: Hidden, features: Features) -> tf.Tensor:
        """Returns the loss of each window, [G]."""
        return head.losses(hidden, features)

    def outputs(self, head: SpanHead, hidden: Hidden, features: Features) -> dict[str, tf.Tensor]:
        """Returns the best spans of each window, and the scores of other answers."""
        return head.outputs(hidden, features)

    def predictions(
        self, outputs: Outputs, rows: EncodedSplit, examples: Sequence[QuestionExample]
    ) -> list[SpanPrediction]:
        """Returns the best span of each question's windows, or a more probable other answer."""
        spans = n_best(
            (outputs["scores"], outputs["starts"], outputs["ends"]),
            question=rows.example,
            row_starts=rows.starts,
            characters=(rows.per_token["char_starts"], rows.per_token["char_ends"]),
            contexts=[example.context for example in examples],
            count=self.task.reading.n_best,
        )
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
        golds = [example.gold_answers() for example in examples]
        if self._rules != "squad2":
            return score_answers(self._rules, golds, [each.text for each in predictions])
        return score_squad2(
            golds,
            # The best spans of predictions that a threshold has emptied.
            [each.text or (each.nbest[0].text if each.nbest else "") for each in predictions],
            no_answer_scores=[each.no_answer_score for each in predictions],
            threshold=self.task.reading.null_threshold,
        )

    def one_answer(self, prediction: SpanPrediction) -> str:
        """Returns an answer that is not a span."""
        if prediction.text and prediction.start >= 0:
            return ""
        return prediction.text or "empty"

    def describe(self, example: QuestionExample, prediction: SpanPrediction) -> dict[str, Any]:
        """Returns the answer, its score, the best spans, and the gold answers."""
        line = {"answer": prediction.text, "score": round(prediction.score, 6)}
        if self._rules == "squad2" or "NONE" in self.task.labels.names:
            line["no_answer_score"] = round(prediction.no_answer_score, 6)
        nbest = [
            {"text": text, "probability": round(probability, 6)}
            for text, probability in prediction.nbest
        ]
        gold = None if example.answers is None else example.gold_answers()
        return {**line, "nbest": nbest, "gold": gold}


def _characters(
    contexts: QuestionTexts, windows: Windows, mask: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns `char_starts` and `char_ends`, int32 [T], 0 where the mask is 0."""
    found = {}
    for name, values in (
        ("char_starts", contexts.tokens.starts),
        ("char_ends", contexts.tokens.ends),
    ):
        of_context = contexts.cut(values, windows.texts, windows.starts, windows.lengths)
        found[name] = np.zeros_like(mask)
        found[name][mask > 0] = of_context.ids
    return found
