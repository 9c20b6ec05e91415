"""Classification: rows, heads, predictions, scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.errors import UserError
from electra_zh.finetuning.examples import BadExamples, TextExample
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.kinds.classification import Classification, PooledHead
from support.tuning import LABELS, make_classification, make_start, make_task, make_texts

TOKENIZER = make_start().make_tokenizer()


def example(label: str | None, *, text_a: str = "天地", text_b: str | None = None) -> TextExample:
    return TextExample(7, text_a, text_b, label, "dev.json, line 3")


def decode(ids: Iterable[int]) -> str:
    return "".join(TOKENIZER.vocabulary.tokens[index] for index in ids)


def test_rows_are_cls_text_sep() -> None:
    rows = make_classification().encode([example("101")], TOKENIZER, training=True)
    assert decode(rows.ids) == "[CLS]天地[SEP]"
    assert rows.segments.tolist() == [0, 0, 0, 0]
    assert rows.per_group["label"].tolist() == [1]


def test_rows_of_pairs_have_segments() -> None:
    examples = [example("100", text_b="玄黄宇"), example("100", text_a="日", text_b="月")]
    rows = make_classification().encode(examples, TOKENIZER, training=False)
    assert decode(rows.ids[: rows.ends[0]]) == "[CLS]天地[SEP]玄黄宇[SEP]"
    assert rows.segments[: rows.ends[0]].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert decode(rows.ids[rows.ends[0] :]) == "[CLS]日[SEP]月[SEP]"
    assert not rows.per_group


def test_unordered_pairs_are_trained_on_in_both_orders() -> None:
    kind = make_classification(double_unordered=True)
    rows = kind.encode([example("101", text_b="玄")], TOKENIZER, training=True)
    assert decode(rows.ids) == "[CLS]天地[SEP]玄[SEP][CLS]玄[SEP]天地[SEP]"
    assert rows.example.tolist() == [0, 0]
    assert rows.per_group["label"].tolist() == [1, 1]
    assert kind.encode([example("101", text_b="玄")], TOKENIZER, training=False).groups == 1


def test_single_texts_are_not_doubled() -> None:
    kind = make_classification(double_unordered=True)
    rows = kind.encode([example("100"), example("101", text_b="玄")], TOKENIZER, training=True)
    assert rows.example.tolist() == [0, 1, 1]
    assert rows.per_group["label"].tolist() == [0, 1, 1]


def test_unknown_label_is_named_by_file_and_line() -> None:
    problems = BadExamples(skip=False)
    with pytest.raises(UserError, match=r'dev.json, line 3: label not in the list: "10"; allowed'):
        make_classification().check([example("10")], problems)


def test_unknown_labels_are_counted_when_skipped() -> None:
    problems = BadExamples(skip=True)
    kept = make_classification().check([example("10"), example("100"), example("x")], problems)
    assert [each.label for each in kept] == ["100"]
    assert problems.lines() == [
        "skipped 2 bad examples: label not in the list, first dev.json, line 3"
    ]


def hidden(rows: int = 3, length: int = 4, width: int = 16) -> Hidden:
    values = np.random.default_rng(0).normal(size=[rows * length, width])
    return Hidden(tf.constant(values, tf.float32), rows, length, None)


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + tf.math.erf(x / np.sqrt(2)).numpy())


def test_head_is_that_of_transformers() -> None:
    head = PooledHead(make_start().model, "heads/x", 2, seed=0, reference=False)
    first = hidden().sequence.numpy().reshape(3, 4, 16)[:, 0]
    assert head.dense is not None
    inner = gelu(first @ head.dense.kernel.numpy())
    expected = inner @ head.output.kernel.numpy()
    np.testing.assert_allclose(head(hidden()), expected, atol=1e-6)


def test_reference_head_is_one_layer() -> None:
    head = PooledHead(make_start().model, "heads/x", 2, seed=0, reference=True)
    first = hidden().sequence.numpy().reshape(3, 4, 16)[:, 0]
    np.testing.assert_allclose(head(hidden()), first @ head.output.kernel.numpy(), atol=1e-6)
    assert len(head.trainable_variables) == 2


def test_loss_is_the_cross_entropy() -> None:
    kind = make_classification()
    head = kind.make_head(make_start().model, "heads/texts", seed=0)
    logits = head(hidden()).numpy()
    labels = np.array([0, 1, 1])
    losses = kind.losses(head, hidden(), {"label": tf.constant(labels, tf.int32)})
    expected = np.log(np.exp(logits).sum(-1)) - logits[np.arange(3), labels]
    np.testing.assert_allclose(losses, expected, atol=1e-6)


def test_predictions_scores_and_confusion() -> None:
    kind = make_classification()
    examples = make_texts(4)
    gold = [int(each.label == LABELS[1]) for each in examples]
    wrong = [gold[0], gold[1], gold[2], 1 - gold[3]]
    probabilities = np.eye(2)[wrong] * 0.8 + 0.1
    rows = kind.encode(examples, TOKENIZER, training=False)
    predictions = kind.predictions({"probabilities": probabilities}, rows, examples)
    scores = kind.scores(examples, predictions)
    assert scores["accuracy"] == 75.0
    table = kind.table(examples, predictions)
    assert (table.name, list(table.header[1:])) == ("confusion", list(LABELS))
    counts = np.array([row[1:] for row in table.rows], np.int64)
    assert [row[0] for row in table.rows] == list(LABELS)
    assert (counts.sum(), counts.trace()) == (4, 3)
    line = kind.to_json(examples[0], predictions[0])
    assert line == {
        "id": 0,
        "label": examples[0].label,
        "probability": 0.9,
        "gold": examples[0].label,
    }


def test_long_pairs_are_cut_to_the_length() -> None:
    kind = Classification(dataclasses.replace(make_task(), max_seq_length=12), max_seq_length=12)
    pair = example("100", text_a="天" * 20, text_b="地" * 5)
    rows = kind.encode([pair], TOKENIZER, training=False)
    assert decode(rows.ids) == "[CLS]" + "天" * 5 + "[SEP]" + "地" * 4 + "[SEP]"
    fitting = [example("100", text_a="天" * each, text_b="地" * (9 - each)) for each in (4, 9)]
    single = [example("100", text_a="天" * each) for each in (10, 11)]
    for examples, cut in (([pair], 1), (fitting, 0), (single, 1)):
        assert kind.encode(examples, TOKENIZER, training=False).cut == cut
