"""Converted models compute the same in transformers and here, in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.finetuning.kinds import make_kind
from electra_zh.finetuning.kinds.base import Hidden
from electra_zh.finetuning.pretrained import load_pretrained
from electra_zh.models.encoder import Encoder
from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer
from support.converting import (
    SENTENCES,
    make_fine_tuned,
    make_run,
    make_vocabulary,
    open_fine_tuned,
)
from support.tuning import make_task

pytestmark = pytest.mark.interop
# Selected by marker only: missing packages are an error, not a skip.
torch: Any = None
transformers: Any = None
TOLERANCE = 1e-5
LENGTH = 32


@pytest.fixture(autouse=True, scope="module")
def _packages() -> None:
    global torch, transformers
    import torch as torch_package
    import transformers as transformers_package

    torch, transformers = torch_package, transformers_package


def _batch() -> dict[str, tf.Tensor]:
    """The sentences, each alone and as a pair with the next, padded."""
    vocabulary = make_vocabulary()
    tokenizer = WordPieceTokenizer(vocabulary)
    rows = []
    for first, second in zip(SENTENCES, (*SENTENCES[1:], ""), strict=True):
        a, b = ([*tokenizer.encode(text)][:12] for text in (first, second))
        ids = [vocabulary.cls_id, *a, vocabulary.sep_id]
        segments = [0] * len(ids)
        rows.append((ids, segments))
        rows.append(([*ids, *b, vocabulary.sep_id], [*segments, *[1] * (len(b) + 1)]))

    def padded(values: Sequence[Sequence[int]]) -> tf.Tensor:
        return tf.constant([[*v, *[0] * (LENGTH - len(v))] for v in values], tf.int32)

    return {
        "input_ids": padded([ids for ids, _ in rows]),
        "input_mask": padded([[1] * len(ids) for ids, _ in rows]),
        "segment_ids": padded([segments for _, segments in rows]),
    }


def _ask(model: Any, batch: dict[str, tf.Tensor], *, groups: int = 0) -> Any:
    shape = [groups, -1, LENGTH] if groups else [-1, LENGTH]
    ids, mask, segments = (
        torch.tensor(value.numpy()).long().reshape(shape) for value in batch.values()
    )
    with torch.no_grad():
        return model.eval()(
            input_ids=ids,
            attention_mask=mask,
            token_type_ids=segments,
            output_hidden_states=True,
        )


def _load(class_name: str, folder: Path) -> Any:
    """Loads a folder, and checks that no key is missing or unexpected."""
    model, report = getattr(transformers, class_name).from_pretrained(
        str(folder), output_loading_info=True
    )
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not report[what], (what, report[what])
    return model


def _close(found: Any, expected: Any, batch: dict[str, tf.Tensor] | None = None) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    if batch is not None:
        real = batch["input_mask"].numpy() > 0
        found, expected = (
            found.reshape([*real.shape, -1])[real],
            expected.reshape([*real.shape, -1])[real],
        )
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    assert np.std(expected) > 0.01


def _hidden(encoder: Encoder, batch: dict[str, tf.Tensor]) -> Hidden:
    sequence = encoder(*batch.values())
    rows, length = batch["input_ids"].shape
    return Hidden(sequence, rows, length, None)


def _states(encoder: Encoder, batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
    """Returns the input of the first layer and the output of each layer."""
    ids, mask, segments = batch.values()
    x = encoder.embeddings(ids, segments, dtype=tf.float32, key=None, stream="")
    states = [x if encoder.projection is None else encoder.projection(x)]
    bias = (1.0 - tf.cast(mask, tf.float32)[:, None, None, :]) * -10000.0
    for layer in encoder.layers:
        states.append(layer(states[-1], bias, key=None, stream=""))
    return states


def _same_states(encoder: Encoder, output: Any, batch: dict[str, tf.Tensor]) -> None:
    for state, expected in zip(output.hidden_states, _states(encoder, batch), strict=True):
        _close(state, expected, batch)
    _close(output.hidden_states[-1], encoder(*batch.values()), batch)


RUNS: dict[str, dict[str, object]] = {
    "shared": {},
    "untied embeddings": {"untied_generator_embeddings": True},
    "one network for both": {"untied_generator": False},
    "no projection": {"model": {"embedding_size": 16}},
}


@pytest.mark.parametrize("through", ["run", "google"])
@pytest.mark.parametrize("kind", RUNS)
def test_both_networks_of_a_run(kind: str, through: str, tmp_path: Path) -> None:
    run, state = make_run(tmp_path / "run", **RUNS[kind])
    if through == "google":
        google.write(open_source(run.folder), str(tmp_path / "google"))
    huggingface.write(open_source(str(tmp_path / through)), str(tmp_path / "hf"))
    objective, batch = state.objective, _batch()

    output = _ask(_load("ElectraForPreTraining", tmp_path / "hf" / "discriminator"), batch)
    _same_states(objective.encoder, output, batch)
    _close(output.logits, objective.rtd_head(objective.encoder(*batch.values())), batch)

    output = _ask(_load("ElectraForMaskedLM", tmp_path / "hf" / "generator"), batch)
    _same_states(objective.generator or objective.encoder, output, batch)
    positions = tf.tile(tf.range(LENGTH)[None], [batch["input_ids"].shape[0], 1])
    _close(output.logits, objective.generator_logits(batch, positions), batch)


@pytest.mark.parametrize(
    ("width", "class_name", "folder"),
    [(8, "ElectraForMaskedLM", "hf/generator"), (16, "BertForMaskedLM", "hf")],
)
def test_masked_lm_alone(width: int, class_name: str, folder: str, tmp_path: Path) -> None:
    """With embeddings as wide as the layers it is a BERT."""
    run, state = make_run(tmp_path / "run", objective="masked_lm", model={"embedding_size": width})
    huggingface.write(open_source(run.folder), str(tmp_path / "hf"))
    batch = _batch()
    output = _ask(_load(class_name, tmp_path / folder), batch)
    positions = tf.tile(tf.range(LENGTH)[None], [batch["input_ids"].shape[0], 1])
    _close(output.logits, state.objective.generator_logits(batch, positions), batch)


def _tuned(tmp_path: Path, **task: object) -> tuple[Any, dict[str, tf.Tensor], Hidden]:
    """Returns the head of a fine-tuned model that is written to `hf`, and what it sees."""
    tuned = make_fine_tuned(tmp_path / "model", {"name": "task", **task})
    huggingface.write(open_fine_tuned(tmp_path / "model"), str(tmp_path / "hf"))
    batch = _batch()
    return tuned.model.heads["task"], batch, _hidden(tuned.model.encoder, batch)


def test_sequence_classification(tmp_path: Path) -> None:
    head, batch, hidden = _tuned(tmp_path, kind="classification", labels=["体育", "财经", "其他"])
    model = _load("ElectraForSequenceClassification", tmp_path / "hf")
    assert model.config.id2label == {0: "体育", 1: "财经", 2: "其他"}
    _close(_ask(model, batch).logits, head(hidden))


def test_regression(tmp_path: Path) -> None:
    head, batch, hidden = _tuned(tmp_path, kind="regression", labels=["0", "5"])
    model = _load("ElectraForSequenceClassification", tmp_path / "hf")
    assert (model.config.num_labels, model.config.problem_type) == (1, "regression")
    _close(_ask(model, batch).logits, head(hidden))


def test_several_labels(tmp_path: Path) -> None:
    """The loss that transformers computes for the exported model is that of our training."""
    head, batch, hidden = _tuned(tmp_path, kind="multi_label", labels=["甲", "乙", "丙"])
    model = _load("ElectraForSequenceClassification", tmp_path / "hf")
    assert model.config.problem_type == "multi_label_classification"
    assert model.config.id2label == {0: "甲", 1: "乙", 2: "丙"}
    logits = head(hidden)
    _close(_ask(model, batch).logits, logits)
    labels = np.eye(3, dtype=np.float32)[np.arange(len(logits)) % 3]
    given = dict(
        zip(("input_ids", "attention_mask", "token_type_ids"), batch.values(), strict=True)
    )
    rows = {name: torch.tensor(value.numpy()) for name, value in given.items()}
    with torch.no_grad():
        found = model(**rows, labels=torch.tensor(labels)).loss.item()
    task = make_task(kind="multi_label", metric="f1", labels=["甲", "乙", "丙"])
    kind = make_kind(task, max_position_embeddings=64)
    ours = kind.losses(head, hidden, {"labels": tf.constant(labels)})
    assert found == pytest.approx(float(tf.reduce_mean(ours)), rel=1e-5)


def test_token_classification(tmp_path: Path) -> None:
    head, batch, hidden = _tuned(tmp_path, kind="tagging", labels=["PER", "ORG"])
    model = _load("ElectraForTokenClassification", tmp_path / "hf")
    assert model.config.id2label[5] == "B-ORG"
    _close(_ask(model, batch).logits, head(hidden), batch)


def test_question_answering(tmp_path: Path) -> None:
    head, batch, hidden = _tuned(tmp_path, kind="span")
    output = _ask(_load("ElectraForQuestionAnswering", tmp_path / "hf"), batch)
    start, end = tf.unstack(head.output(hidden.sequence), axis=-1)
    _close(output.start_logits, start, batch)
    _close(output.end_logits, end, batch)


@pytest.mark.parametrize("kind", ["choice", "cloze"])
def test_multiple_choice(kind: str, tmp_path: Path) -> None:
    head, batch, hidden = _tuned(tmp_path, kind=kind)
    output = _ask(_load("ElectraForMultipleChoice", tmp_path / "hf"), batch, groups=3)
    _close(output.logits, head(hidden, tf.ones([3, 2])))


def test_the_tokenizer_gives_the_same_ids(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run")
    huggingface.write(open_source(run.folder), str(tmp_path / "hf"))
    ours = run.make_tokenizer()
    texts = [*SENTENCES, "  Ｈｅｌｌｏ\t世界\u3000天 地\u200b", "naïve CAFÉ 𠀀天", "", "unknown天"]
    for folder in ("discriminator", "generator"):
        theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "hf" / folder))
        assert (theirs.mask_token_id, theirs.pad_token_id) == (run.vocabulary.mask_id, 0)
        for text in texts:
            ids = theirs(text, add_special_tokens=False)["input_ids"]
            assert ids == list(ours.encode(text)), text
        pair = theirs("天地", "玄黄")
        assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]


def _config(kind: str) -> Any:
    size = {
        "vocab_size": make_vocabulary().size,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    if kind.startswith("Bert"):
        return transformers.BertConfig(**size)
    return transformers.ElectraConfig(**size, embedding_size=8)


@pytest.mark.parametrize("form", ["model.safetensors", "shards", "pytorch_model.bin"])
@pytest.mark.parametrize(
    "class_name",
    [
        "ElectraModel",
        "ElectraForPreTraining",
        "ElectraForMaskedLM",
        "ElectraForSequenceClassification",
        "BertModel",
        "BertForMaskedLM",
        "BertForPreTraining",
    ],
)
def test_a_model_of_transformers_is_read(class_name: str, form: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = getattr(transformers, class_name)(_config(class_name))
    if form == "shards":
        model.save_pretrained(tmp_path, max_shard_size="4KB")
        assert (tmp_path / "model.safetensors.index.json").exists()
    else:
        model.save_pretrained(tmp_path)
    if form == "pytorch_model.bin":
        (tmp_path / "model.safetensors").unlink()
        torch.save(model.state_dict(), tmp_path / form)
    make_vocabulary().save(str(tmp_path / "vocab.txt"))
    start, batch = load_pretrained(str(tmp_path)), _batch()
    encoder = Encoder(start.model, "encoder", seed=5)
    start.restore(encoder)
    _same_states(encoder, _ask(model, batch), batch)
    has_masked_lm = class_name in ("ElectraForMaskedLM", "BertForMaskedLM", "BertForPreTraining")
    assert open_source(str(tmp_path)).has("masked_lm_head") == has_masked_lm


def test_bert_comes_back_as_bert(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = transformers.BertForMaskedLM(_config("Bert"))
    model.save_pretrained(tmp_path / "bert")
    make_vocabulary().save(str(tmp_path / "bert" / "vocab.txt"))
    huggingface.write(open_source(str(tmp_path / "bert")), str(tmp_path / "hf"))
    batch = _batch()
    back = _load("BertForMaskedLM", tmp_path / "hf")
    _close(_ask(back, batch).logits, _ask(model, batch).logits, batch)


def test_a_file_of_torch_that_holds_code_is_refused(tmp_path: Path) -> None:
    _config("Electra").save_pretrained(tmp_path)
    torch.save({"weight": Path("code")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin cannot be read as PyTorch weights"):
        open_source(str(tmp_path))
