"""Multiple choice: rows, head, predictions, scores."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.finetuning.encoding.batches import EncodedSplit
from electra_zh.finetuning.examples import ChoiceExample
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.kinds.choice import Choice, ChoiceHead
from electra_zh.finetuning.tasks import TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

CHARACTERS = "天地玄黄宇宙洪荒日月"
TOKENIZER = WordPieceTokenizer(Vocabulary([*SPECIAL_TOKENS, *CHARACTERS]))
SIZE = ModelConfig(len(SPECIAL_TOKENS) + len(CHARACTERS), 8, 6, 1, 2, 12)
TASK = TaskConfig(name="made", kind="choice", reader="c3", metric="accuracy")

texts = st.text(CHARACTERS, min_size=1, max_size=9)
examples = st.lists(
    st.builds(
        lambda context, question, choices: ChoiceExample(0, context, question, choices, 1, "here"),
        st.text(CHARACTERS, max_size=30),
        texts,
        st.lists(texts, min_size=2, max_size=4).map(tuple),
    ),
    max_size=4,
)


def example(*choices: str, context: str = "天地", answer: int | None = 0) -> ChoiceExample:
    return ChoiceExample(5, context, "玄黄", choices or ("宇", "宙"), answer, "dev.json, text 3")


def make_kind(max_seq_length: int = 24) -> Choice:
    return Choice(TASK, max_seq_length=max_seq_length)


def decode(rows: EncodedSplit) -> list[str]:
    starts = [0, *rows.ends[:-1]]
    return [
        "".join(TOKENIZER.vocabulary.tokens[index] for index in rows.ids[start:end])
        for start, end in zip(starts, rows.ends, strict=False)
    ]


def test_rows_are_context_question_choice() -> None:
    rows = make_kind().encode([example(answer=1)], TOKENIZER, training=True)
    assert decode(rows) == [
        "[CLS]天地[SEP]玄黄[SEP]宇[SEP]",
        "[CLS]天地[SEP]玄黄[SEP]宙[SEP]",
    ]
    assert rows.segments[:9].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert rows.group == 2
    assert rows.per_group["label"].tolist() == [1]
    assert rows.per_group["choice_mask"].tolist() == [[1, 1]]


def test_absent_choices_are_empty_rows_behind_the_others() -> None:
    both = [example("宇", "宙"), example("洪", "荒", "日", "月")]
    rows = make_kind().encode(both, TOKENIZER, training=False)
    assert rows.group == 4
    assert decode(rows)[2:4] == ["[CLS][SEP]", "[CLS][SEP]"]
    assert rows.per_group["choice_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert rows.per_group["choice_mask"].dtype == np.float32
    assert list(rows.per_group) == ["choice_mask"]


@given(examples, st.integers(24, 40))
def test_question_and_choice_are_whole_and_contexts_cut_at_their_end(
    examples: list[ChoiceExample], limit: int
) -> None:
    rows = make_kind(limit).encode(examples, TOKENIZER, training=False)
    lines = iter(decode(rows))
    for each in examples:
        for choice in each.choices:
            end = f"[SEP]{each.question}[SEP]{choice}[SEP]"
            room = limit - 4 - len(each.question) - len(choice)
            assert next(lines) == f"[CLS]{each.context[:room]}{end}"
        assert [next(lines) for _ in range(rows.group - len(each.choices))] == ["[CLS][SEP]"] * (
            rows.group - len(each.choices)
        )
    assert rows.example.tolist() == list(range(len(examples)))


def test_question_gives_way_where_it_does_not_fit_with_the_choice() -> None:
    rows = make_kind(8).encode([example("宇宙洪", "荒")], TOKENIZER, training=False)
    assert decode(rows) == ["[CLS][SEP]玄[SEP]宇宙洪[SEP]", "[CLS]天[SEP]玄黄[SEP]荒[SEP]"]


def random_hidden(rows: int, length: int = 3) -> Hidden:
    values = np.random.default_rng(0).normal(size=[rows * length, 6]).astype(np.float32)
    return Hidden(tf.constant(values), rows, length, None)


def plain_logits(head: ChoiceHead, hidden: Hidden) -> np.ndarray:
    first = hidden.sequence.numpy()[:: hidden.length]
    inner = first @ (head.dense.kernel.numpy() * 20) + head.dense.bias.numpy()
    erf = np.vectorize(math.erf)
    return (inner * 0.5 * (1 + erf(inner / math.sqrt(2)))) @ head.output.kernel.numpy()


def test_losses_are_the_cross_entropy_over_the_choices_that_exist() -> None:
    kind = make_kind()
    head = kind.make_head(SIZE, "heads/made", seed=1)
    hidden = random_hidden(6)
    expected = plain_logits(head, hidden).reshape(2, 3)
    head.dense.kernel.assign(head.dense.kernel * 20)  # so that the logits differ
    features = {
        "choice_mask": tf.constant([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]),
        "label": tf.constant([1, 2]),
    }
    sums = [np.log(np.exp(expected[0, :2]).sum()), np.log(np.exp(expected[1]).sum())]
    losses = kind.losses(head, hidden, features)
    np.testing.assert_allclose(losses, [sums[0] - expected[0, 1], sums[1] - expected[1, 2]], 1e-4)
    found = kind.outputs(head, hidden, features)["log_probabilities"].numpy()
    np.testing.assert_allclose(found[1], expected[1] - sums[1], rtol=1e-4)
    assert np.exp(found[0, 2]) == 0


def test_absent_choices_have_no_gradient() -> None:
    kind = make_kind()
    head = kind.make_head(SIZE, "heads/made", seed=1)
    features = {"choice_mask": tf.constant([[1.0, 1.0, 0.0]]), "label": tf.constant([0])}
    hidden = random_hidden(3, 1)
    with tf.GradientTape() as tape:
        tape.watch(hidden.sequence)
        losses = kind.losses(head, hidden, features)
    gradient = tape.gradient(losses, hidden.sequence).numpy()
    assert np.abs(gradient).sum(1).astype(bool).tolist() == [True, True, False]


def test_variables_are_named_by_the_path() -> None:
    head = make_kind().make_head(SIZE, "heads/made", seed=1)
    assert {variable.name for variable in head.trainable_variables} == {
        f"heads/made/{layer}/{part}:0"
        for layer in ("dense", "output")
        for part in ("kernel", "bias")
    }


def test_predictions_and_scores() -> None:
    kind = make_kind()
    both = [example("宇", "宙", answer=1), example("洪", "荒", "日", answer=0)]
    rows = kind.encode(both, TOKENIZER, training=False)
    probabilities = np.array([[0.25, 0.75, 0], [0.2, 0.3, 0.5]], np.float32)
    with np.errstate(divide="ignore"):
        outputs = {"log_probabilities": np.log(probabilities)}
    predictions = kind.predictions(outputs, rows, both)
    assert [prediction.choice for prediction in predictions] == [1, 2]
    assert [len(prediction.probabilities) for prediction in predictions] == [2, 3]
    assert kind.scores(both, predictions) == {"accuracy": 50.0}
    line = {"id": 5, "label": 1, "probabilities": [0.25, 0.75], "gold": 1}
    assert kind.to_json(both[0], predictions[0]) == line
    assert "gold" not in kind.to_json(example(answer=None), predictions[0])


def test_no_examples() -> None:
    kind = make_kind()
    rows = kind.encode([], TOKENIZER, training=True)
    assert (rows.groups, len(rows.ids)) == (0, 0)
    assert kind.predictions({}, rows, []) == []
