"""Tagging: words, rows, the way from entities to tags and back, legal paths, head and loss."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from electra_zh.errors import UserError
from electra_zh.finetuning.encoding.batches import EncodedSplit, make_batch
from electra_zh.finetuning.encoding.words import find_words
from electra_zh.finetuning.examples import BadExamples, Entity, TaggedExample
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.kinds.tagging import Tagging, TagPrediction
from electra_zh.finetuning.model import TaskModel
from electra_zh.finetuning.predict import Predictor
from electra_zh.finetuning.pretrained import Pretrained
from electra_zh.finetuning.tasks import Labels, TaskConfig
from electra_zh.models.config import ModelConfig
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

LETTERS = "abcdefgh"
HAN = "一二三四五六七"
PIECES = [*LETTERS, *"0123456789", *HAN, "，", ".", "の", "ab", "20", "ᄀ", "ᅡ"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENIZER = WordPieceTokenizer(
    Vocabulary([*SPECIAL, *PIECES, *(f"##{piece}" for piece in PIECES if piece not in HAN)])
)
DROPPED = "\u200b\ufffd"
MODEL = ModelConfig(
    vocab_size=TOKENIZER.vocabulary.size,
    hidden_size=16,
    embedding_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
)


def make_kind(*types: str, length: int = 16) -> Tagging:
    labels = Labels(names=types or ("A", "B-C"))
    task = TaskConfig(name="made", kind="tagging", reader="any", metric="f1", labels=labels)
    return Tagging(task, max_seq_length=length)


def sentence(text: str, *entities: Entity, words: Sequence[str] | None = None) -> TaggedExample:
    spans = None
    if words is not None:
        ends = list(itertools.accumulate(map(len, words)))
        spans = tuple((end - len(word), end) for word, end in zip(words, ends, strict=True))
    return TaggedExample(0, text, spans, entities, "file, line 1")


def word_texts(example: TaggedExample) -> list[str]:
    words = find_words([example], TOKENIZER.encode_batch([example.text]))
    spans = zip(words.starts.tolist(), words.ends.tolist(), strict=True)
    return [example.text[start:end] for start, end in spans]


def gold_outputs(rows: EncodedSplit) -> dict[str, np.ndarray]:
    """Outputs of a model that is always right."""
    tags = np.zeros((rows.groups, int(rows.group_lengths.max(initial=0))), np.int32)
    for row, (start, end) in enumerate(zip(rows.starts, rows.ends, strict=True)):
        tags[row, : end - start] = rows.per_token["label"][start:end]
    return {"tag": tags} if rows.groups else {}


def there_and_back(kind: Tagging, examples: Sequence[TaggedExample]) -> list[TagPrediction]:
    rows = kind.encode(examples, TOKENIZER, training=True)
    return kind.predictions(gold_outputs(rows), rows, examples)


@st.composite
def sentences(draw: st.DrawFn, *, dropped: bool = True) -> TaggedExample:
    """Sentences of words with spans, entities over them; words of dropped characters inside."""
    kinds = [st.sampled_from(HAN + "，"), st.text("ab20", min_size=1, max_size=5)]
    if dropped:
        kinds.append(st.sampled_from(DROPPED))
    words = draw(st.lists(st.one_of(kinds), min_size=1, max_size=40))
    text, spans = "", []
    for word in words:
        before = text.rstrip(DROPPED)[-1:]  # the tokenizer joins what such words separate
        text += " " if draw(st.booleans()) or (before + word).isascii() else ""
        spans.append((len(text), len(text) + len(word)))
        text += word
    kept = [span for span, word in zip(spans, words, strict=True) if word not in DROPPED]
    entities, at = [], 0
    while at < len(kept):
        size = draw(st.integers(1, 4))
        if draw(st.booleans()):
            last = kept[min(at + size, len(kept)) - 1]
            entities.append(Entity(draw(st.sampled_from(["A", "B-C"])), kept[at][0], last[1]))
        at += size
    return TaggedExample(0, text, tuple(spans), tuple(entities), "file, line 1")


# --- Words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("一二，abc三", ["一", "二", "，", "abc", "三"]),
        ("abc20一 20 ab.c", ["abc", "20", "一", "20", "ab", ".", "c"]),
        ("CafÉ e\u0301a", ["CafÉ", "e\u0301a"]),
        ("のの", ["の", "の"]),
        ("一\u200b二\ufffd", ["一", "二"]),
        ("a\u200bb", ["a\u200bb"]),
        ("가", ["가"]),
        ("", []),
    ],
)
def test_words_without_a_file_that_says_them(text: str, expected: list[str]) -> None:
    assert word_texts(sentence(text)) == expected


def test_words_of_the_file_are_taken() -> None:
    assert word_texts(sentence("abc.d一二", words=["abc.d", "一二"])) == ["abc.d", "一二"]


def test_words_that_the_tokenizer_drops_are_left_out() -> None:
    example = sentence("一\u200b二\ufffd", words=["一", "\u200b", "二", "\ufffd"])
    assert word_texts(example) == ["一", "二"]


@given(st.lists(st.one_of(sentences(), st.text(HAN + "ab2 の\u200b").map(sentence)), max_size=5))
def test_words_of_many_sentences_are_those_of_each(examples: list[TaggedExample]) -> None:
    words = find_words(examples, TOKENIZER.encode_batch([each.text for each in examples]))
    found: list[list[str]] = [[] for _ in examples]
    for number, start, end in zip(words.sentences, words.starts, words.ends, strict=True):
        found[number].append(examples[number].text[start:end])
    assert found == [word_texts(example) for example in examples]


# --- Rows ------------------------------------------------------------------------------------


@given(st.lists(sentences(), min_size=1, max_size=4), st.integers(8, 40))
def test_every_word_is_labelled_once(examples: list[TaggedExample], length: int) -> None:
    rows = make_kind(length=length).encode(examples, TOKENIZER, training=True)
    assert int(rows.group_lengths.max(initial=0)) <= length
    marked = rows.per_token["label_mask"] == 1
    row = np.searchsorted(rows.ends, np.flatnonzero(marked), side="right")
    found = list(zip(rows.example[row].tolist(), rows.per_token["word_start"][marked], strict=True))
    words = find_words(examples, TOKENIZER.encode_batch([each.text for each in examples]))
    assert found == list(zip(words.sentences.tolist(), words.starts, strict=True))


def test_rows_of_a_sentence() -> None:
    example = sentence("ab.一二", Entity("A", 0, 3), Entity("B-C", 4, 5), words=["ab.", "一", "二"])
    rows = make_kind().encode([example], TOKENIZER, training=True)
    names = [TOKENIZER.vocabulary.tokens[index] for index in rows.ids]
    assert names == ["[CLS]", "ab", ".", "一", "二", "[SEP]"]
    assert rows.segments.tolist() == [0] * 6
    assert rows.per_token["label"].tolist() == [0, 4, 0, 0, 8, 0]  # S-A, S-B-C
    assert rows.per_token["label_mask"].tolist() == [0, 1, 0, 1, 1, 0]
    assert rows.per_token["word_end"].tolist() == [0, 3, 0, 4, 5, 0]
    assert rows.per_group["inside"].tolist() == [[0, 0]]


def test_rows_without_training_have_no_labels() -> None:
    rows = make_kind().encode([sentence("一")], TOKENIZER, training=False)
    assert "label" not in rows.per_token


# --- There and back --------------------------------------------------------------------------


@given(st.lists(sentences(), min_size=1, max_size=4), st.integers(8, 40))
def test_right_tags_give_back_all_entities(examples: list[TaggedExample], length: int) -> None:
    kind = make_kind(length=length)
    found = there_and_back(kind, examples)
    assert [each.entities for each in found] == [each.entities for each in examples]
    assert kind.encode(examples, TOKENIZER, training=True).notes == ()
    if any(example.entities for example in examples):
        assert set(kind.scores(examples, found).values()) == {100.0}


def test_characters_of_a_text_without_words() -> None:
    example = sentence("一二CSOL20の三", Entity("A", 2, 6), Entity("A", 6, 8), Entity("B-C", 8, 10))
    example = dataclasses.replace(example, text=example.text.replace("CSOL", "abcd"))
    assert there_and_back(make_kind(), [example])[0].entities == example.entities


def test_a_dropped_character_does_not_end_an_entity() -> None:
    example = sentence("一\u200b二三", Entity("A", 0, 3), words=["一", "\u200b", "二", "三"])
    assert there_and_back(make_kind(), [example])[0].entities == example.entities


def test_entities_inside_words_are_counted_and_stay_gold() -> None:
    example = sentence("abc一二", Entity("A", 1, 4), Entity("B-C", 4, 5))
    kind = make_kind()
    found = there_and_back(kind, [example])
    assert found[0].entities == (Entity("B-C", 4, 5),)
    assert kind.encode([example], TOKENIZER, training=False).notes == (
        "1 of 2 entities do not fit word boundaries or overlap with others, "
        'first "bc一" in file, line 1',
    )
    assert kind.scores([example], found)["recall"] == 50.0


def test_of_overlapping_entities_the_outer_is_kept() -> None:
    example = sentence("一二三", Entity("A", 1, 2), Entity("B-C", 0, 3), Entity("A", 0, 1))
    kind = make_kind()
    assert there_and_back(kind, [example])[0].entities == (Entity("B-C", 0, 3),)
    (note,) = kind.encode([example], TOKENIZER, training=True).notes
    assert note.startswith("2 of 3 entities")


def test_sentences_without_tokens_have_no_entities() -> None:
    examples = [sentence("\ufffd"), sentence("一", Entity("A", 0, 1)), sentence(" \u200b")]
    found = there_and_back(make_kind(), examples)
    assert [len(each.entities) for each in found] == [0, 1, 0]
    assert there_and_back(make_kind(), examples[:1]) == [TagPrediction(())]


def test_tags_that_do_not_fit_where_windows_meet_are_read_leniently() -> None:
    kind = make_kind()
    rows = kind.encode([sentence("一二三")], TOKENIZER, training=False)
    tags = np.array(
        [[0, kind.tags.index("B-A"), kind.tags.index("S-A"), kind.tags.index("I-A"), 0]]
    )
    (found,) = kind.predictions({"tag": tags}, rows, [sentence("一二三")])
    assert found.entities == (Entity("A", 0, 1), Entity("A", 1, 2), Entity("A", 2, 3))


# --- Checks and output -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (sentence("一二", Entity("a", 0, 1)), 'entity type not in the list: "a"; allowed: A, B-C'),
        (sentence("一二", Entity("A", 1, 3)), "span outside the text: characters 1 to 3 of 2"),
        (sentence("一二", Entity("A", 1, 1)), "span outside the text: characters 1 to 1 of 2"),
        (sentence(" \n"), "a sentence without text"),
    ],
)
def test_bad_examples_are_named(example: TaggedExample, message: str) -> None:
    with pytest.raises(UserError, match=f"file, line 1: {message}"):
        make_kind().check([example], BadExamples(skip=False))


def test_good_examples_pass() -> None:
    examples = [
        sentence("一二", Entity("A", 0, 2)),
        sentence("一"),
        sentence("一二", Entity("A", 0, 3)),
    ]
    assert make_kind().check(examples, BadExamples(skip=True)) == examples[:2]


def test_lines_of_the_predictions_file() -> None:
    kind, example = make_kind(), sentence("一abc", Entity("A", 1, 4))
    line = kind.to_json(example, TagPrediction((Entity("A", 0, 1),)))
    assert line == {
        "id": 0,
        "text": "一abc",
        "entities": [{"type": "A", "start": 0, "end": 1, "mention": "一"}],
        "gold": [{"type": "A", "start": 1, "end": 4, "mention": "abc"}],
    }
    unlabelled = dataclasses.replace(example, entities=None)
    assert "gold" not in kind.to_json(unlabelled, TagPrediction(()))


def test_scores_are_strict_but_for_the_mentions() -> None:
    example = sentence("一二一二", Entity("A", 0, 2), Entity("B-C", 2, 3))
    kind, found = make_kind(), [TagPrediction((Entity("A", 2, 4), Entity("B-C", 2, 3)))]
    scores = kind.scores([example], found)
    assert scores == {"f1": 50.0, "precision": 50.0, "recall": 50.0, "macro_f1": 100.0}
    table = kind.table([example], found)
    assert (table.name, table.header[0], table.header[3]) == ("types", "type", "f1")
    assert [(row[0], row[3]) for row in table.rows] == [("A", "0.00"), ("B-C", "100.00")]


# --- Network ---------------------------------------------------------------------------------


def hidden_of(
    kind: Tagging, example: TaggedExample, vectors: np.ndarray
) -> tuple[Hidden, dict[str, Any]]:
    rows = kind.encode([example], TOKENIZER, training=True)
    batch = make_batch(rows, np.array([0]), batch_size=1, lengths=(kind.max_seq_length,))
    features = {name: tf.constant(value) for name, value in batch.items()}
    return Hidden(tf.constant(vectors), 1, kind.max_seq_length, None), features


def test_the_loss_is_the_sum_over_words() -> None:
    kind = make_kind()
    head = kind.make_head(MODEL, "tasks/made", seed=1)
    vectors = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    example = sentence("abcd一", Entity("A", 4, 5))
    hidden, features = hidden_of(kind, example, vectors)
    logits = vectors @ head.output.kernel.numpy() + head.output.bias.numpy()
    log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    first, last = 1, int(np.flatnonzero(features["word_end"].numpy()[0])[1])
    expected = -log_probs[first, 0] - log_probs[last, kind.tags.index("S-A")]
    np.testing.assert_allclose(kind.losses(head, hidden, features), [expected], rtol=1e-5)


def test_outputs_are_the_same_with_and_without_compilation() -> None:
    kind = make_kind()
    head = kind.make_head(MODEL, "tasks/made", seed=1)
    vectors = 9 * np.random.default_rng(3).normal(size=(16, 16)).astype(np.float32)
    hidden, features = hidden_of(kind, sentence("一二三四五六七"), vectors)

    def compute() -> tf.Tensor:
        return kind.outputs(head, hidden, features)["tag"]

    plain = tf.function(compute, autograph=False)().numpy()
    compiled = tf.function(compute, autograph=False, jit_compile=True)().numpy()
    np.testing.assert_array_equal(plain, compiled)
    assert plain.dtype == np.int32
    assert plain.shape == (1, 16)


def test_variables_are_named_below_the_path() -> None:
    head = make_kind().make_head(MODEL, "tasks/made", seed=1)
    names = sorted(variable.name.removesuffix(":0") for variable in head.trainable_variables)
    assert names == ["tasks/made/output/bias", "tasks/made/output/kernel"]
    assert head.output.kernel.shape == [16, 9]


def test_one_graph_for_all_lengths_finds_the_same_entities() -> None:
    kind = make_kind()
    start = Pretrained("", MODEL, TOKENIZER.vocabulary, TokenizerSettings())
    model = TaskModel(start, {"made": kind}, seed=3)
    model.heads["made"].output.kernel.assign(
        tf.random.stateless_normal([16, len(kind.tags)], [1, 2])
    )
    sentences = [sentence("一二三一四"), sentence("一abc"), sentence("二")]
    rows = kind.encode(sentences, TOKENIZER, training=False)
    by_length = Predictor(model, kind, batch_size=1)
    padded = Predictor(model, kind, batch_size=1, lengths=(kind.max_seq_length,))
    found, expected = (each.predict(rows, sentences) for each in (by_length, padded))
    assert by_length._step.experimental_get_tracing_count() == 1
    assert any(each.entities for each in found)
    assert found == expected


def test_training_data_without_entities_is_refused() -> None:
    task = make_kind("LOC").task
    with pytest.raises(UserError, match="no training example has an entity"):
        Tagging.labels_from(task, [])
    assert Tagging.labels_from(task, ["PER", "LOC", "PER"]) == ("LOC", "PER")
