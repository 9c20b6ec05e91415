"""Span extraction: predictions, scores, lines of the file, and that it can be learnt."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.finetuning import registry
from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.heads.span_decode import Alternative, SpanPrediction
from electra_zh.finetuning.heads.spans import SpanHead
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.kinds.span import Span
from electra_zh.models.encoder import Encoder
from support.asking import (
    LETTERS,
    SMALL,
    TOKENIZER,
    ask,
    decode,
    make_features,
    make_span,
    random_hidden,
)


def run_head(
    kind: Span, head: SpanHead, rows: EncodedSplit, *, length: int = 32
) -> dict[str, np.ndarray]:
    features = make_features(rows, length)
    found = kind.outputs(head, random_hidden(rows.groups, length), features)
    return {name: value.numpy() for name, value in found.items()}


def point(
    rows: EncodedSplit, kind: Span, spans: Mapping[int, tuple[int, int, float]]
) -> dict[str, np.ndarray]:
    """Outputs with one span a window: window -> first position, last position, score."""
    shape = [rows.groups, kind.task.reading.n_best]
    scores, starts, ends = (
        np.full(shape, -2e9, np.float32),
        np.zeros(shape, int),
        np.zeros(shape, int),
    )
    for window, (first, last, score) in spans.items():
        scores[window, 0], starts[window, 0], ends[window, 0] = score, first, last
    return {"scores": scores, "starts": starts, "ends": ends, "null": np.zeros(rows.groups)}


def test_answers_are_slices_of_the_context() -> None:
    kind = make_span()
    examples = [ask("天地，New  YORK\u3000玄"), ask("Ａbc？é！")]
    rows = kind.encode(examples, TOKENIZER, training=False)
    outputs = point(rows, kind, {0: (6, 7, 1.5), 1: (3, 5, -1.0)})
    found = kind.predictions(outputs, rows, examples)
    assert [(each.text, each.start, each.end, each.score) for each in found] == [
        ("New  YORK", 3, 12, 1.5),
        ("Ａbc？é", 0, 5, -1.0),
    ]


def test_a_context_without_tokens_has_a_row_and_no_answer() -> None:
    kind = make_span()
    examples = [ask("\u200b"), ask("天")]
    rows = kind.encode(examples, TOKENIZER, training=False)
    assert [decode(rows, row) for row in (0, 1)] == [
        "[CLS] [UNK] [SEP]",
        "[CLS] [UNK] [SEP] 天 [SEP]",
    ]
    head = SpanHead(SMALL, "head", kind.task.reading, answer_types=0, seed=0)
    predictions = kind.predictions(run_head(kind, head, rows), rows, examples)
    assert [prediction.text for prediction in predictions] == ["", "天"]


def test_the_best_window_wins() -> None:
    kind = make_span(length=12, doc_stride=4)
    context = "天地玄黄宇宙洪荒日月盈昃"
    rows = kind.encode([ask(context)], TOKENIZER, training=False)
    assert rows.groups == 2
    outputs = point(rows, kind, {0: (3, 4, 2.0), 1: (9, 10, 3.0)})
    (found,) = kind.predictions(outputs, rows, [ask(context)])
    assert found.text == "盈昃"
    assert [each.text for each in found.nbest] == ["盈昃", "天地"]


def test_oracle_scores_give_the_gold_answers() -> None:
    generator = random.Random(3)
    kind = make_span(length=24, doc_stride=6)
    examples = []
    for number in range(40):
        context = "".join(generator.choices(LETTERS + "，。", k=generator.randint(5, 70)))
        start = generator.randrange(len(context) - 3)
        text = context[start : start + generator.randint(1, 3)]
        examples.append(ask(context, (text, start), name=str(number)))
    rows = kind.encode(examples, TOKENIZER, training=False)
    labels = kind.encode(examples, TOKENIZER, training=True).per_group
    is_best = (labels["start"] >= rows.per_group["max_context"][:, 0]) & (
        labels["start"] < rows.per_group["max_context"][:, 1]
    )
    spans = {
        int(i): (labels["start"][i], labels["end"][i], 1.0)
        for i in np.flatnonzero(is_best & (labels["start"] > 0))
    }
    predictions = kind.predictions(point(rows, kind, spans), rows, examples)
    assert [p.text for p in predictions] == [e.answers[0].text for e in examples if e.answers]
    assert kind.scores(examples, predictions)["em"] == 100.0


def predict(text: str, *, no_answer: float = 0.0, best: str = "") -> SpanPrediction:
    return SpanPrediction(text, 0, 1, 1.0, no_answer, (Alternative(best or text, 1.0),))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("em", {"em": 50.0, "f1": 50.0, "average": 50.0}),
        ("squad_f1", {"squad_em": 50.0, "squad_f1": 50.0}),
    ],
)
def test_metric_names_the_script(metric: str, expected: dict[str, float]) -> None:
    examples = [ask("天地", ("天", 0)), ask("天地", ("地", 1))]
    assert make_span(metric=metric).scores(examples, [predict("天"), predict("月")]) == expected


def test_questions_of_one_id_are_scored_each() -> None:
    examples = [ask("天地", ("天", 0)), ask("天地", ("地", 1))]
    assert make_span().scores(examples, [predict("天"), predict("地")])["em"] == 100.0


def test_cjrc_scores_answer_types() -> None:
    kind = make_span(metric="cjrc_f1", labels=("YES", "NO", "NONE"))
    examples = [ask("天", answer_type=name) for name in ("YES", "NONE", "NO")]
    found = kind.scores(examples, [predict("YES"), predict("", best="天"), predict("YES")])
    assert found["cjrc_em"] == pytest.approx(200 / 3)


def test_squad2_reports_the_best_threshold() -> None:
    kind = make_span(metric="squad2_f1", null_threshold=5.0)
    examples = [ask("天", ("天", 0)), ask("天", answer_type="NONE"), ask("地", ("地", 0))]
    predictions = [
        predict("天", no_answer=-2.0),
        predict("天", no_answer=1.0),
        predict("地", no_answer=-1.0),
    ]
    found = kind.scores(examples, predictions)
    assert found["squad2_f1"] == pytest.approx(200 / 3)
    assert found["best_squad2_f1"] == 100.0
    assert found["best_null_threshold"] == -1.0
    assert (found["has_answer_f1"], found["no_answer_f1"]) == (100.0, 0.0)


def test_squad2_scores_yes_and_no_as_answers() -> None:
    kind = make_span(metric="squad2_f1", labels=("YES", "NO", "NONE"))
    examples = [ask("天", answer_type="YES"), ask("天", answer_type="NO")]
    found = kind.scores(examples, [predict("YES", best="天"), predict("天")])
    assert found["squad2_em"] == 50.0


def test_null_threshold_empties_answers_of_squad2_only() -> None:
    for metric, expected in (("squad2_f1", ""), ("squad_f1", "天")):
        kind = make_span(metric=metric)
        rows = kind.encode([ask("天")], TOKENIZER, training=False)
        outputs = point(rows, kind, {0: (3, 3, -1.0)})
        (found,) = kind.predictions(outputs, rows, [ask("天")])
        assert (found.text, found.no_answer_score) == (expected, 1.0)
        assert found.nbest[0].text == "天"


def test_line_of_the_predictions_file() -> None:
    prediction = SpanPrediction(
        "天", 0, 1, 2.5, -1.0, (Alternative("天", 0.75), Alternative("地", 0.25))
    )
    nbest = [{"text": "天", "probability": 0.75}, {"text": "地", "probability": 0.25}]
    example = ask("天地", ("天", 0), ("天地", 0))
    line = {"id": "Q0", "answer": "天", "score": 2.5, "nbest": nbest}
    assert make_span().to_json(example, prediction) == {**line, "gold": ["天", "天地"]}
    assert make_span().to_json(dataclasses.replace(example, answers=None), prediction) == line
    shown = make_span(metric="squad2_f1").to_json(ask("天", answer_type="NONE"), prediction)
    assert (shown["no_answer_score"], shown["gold"]) == (-1.0, [])


def test_shipped_tasks_are_complete() -> None:
    names = ["cmrc2018", "drcd", "cjrc", "squad1", "squad2"]
    names += ["newsqa", "naturalqs", "triviaqa", "searchqa"]
    for task in registry.load(names):
        Span(task, max_seq_length=task.max_seq_length)
        assert task.files.train
        assert task.files.dev
        assert task.max_seq_length == 512


# --- Learning --------------------------------------------------------------------------------


def test_a_marked_answer_is_learnt() -> None:
    generator = random.Random(5)
    examples = []
    for number in range(96):
        text = generator.choices(LETTERS[2:], k=12)
        start = generator.randrange(12)
        text[start] = "天"
        examples.append(ask("".join(text), ("天", start), name=str(number)))
    kind = make_span(length=16)
    model = tf.Module()
    model.encoder = Encoder(SMALL, "encoder", seed=0)
    model.head = kind.make_head(SMALL, "heads/reading", seed=0)
    optimizer = tf.keras.optimizers.Adam(0.02)
    features = make_features(kind.encode(examples, TOKENIZER, training=True), 16)

    def hidden(features: Mapping[str, tf.Tensor]) -> Hidden:
        inputs = (features[name] for name in ("input_ids", "input_mask", "segment_ids"))
        return Hidden(model.encoder(*inputs), 96, 16, None)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(kind.losses(model.head, hidden(features), features))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(30):
        step()
    rows = kind.encode(examples, TOKENIZER, training=False)
    found = make_features(rows, 16)
    outputs = kind.outputs(model.head, hidden(found), found)
    predictions = kind.predictions({k: v.numpy() for k, v in outputs.items()}, rows, examples)
    assert kind.scores(examples, predictions)["em"] > 90.0
