"""The weights of another model that a new run takes, and the report of the others."""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.convert.forms import google, huggingface
from electra_zh.convert.source import open_source
from electra_zh.convert.weights import Weights, check
from electra_zh.data.source import DataSource
from electra_zh.errors import UsageError, UserError
from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining import folder, warm_start
from electra_zh.pretraining.config import Init, PretrainConfig, resolve
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.networks import of_objective
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.sources.report import advice
from electra_zh.pretraining.state import TrainState
from electra_zh.pretraining.warm_start import FirstWeights
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import CheckpointStore
from support.converting import make_run, make_vocabulary
from support.networks import FURTHER_KINDS, tiny

VOCABULARY = make_vocabulary()
KINDS = [
    {},
    {"objective": "masked_lm"},
    {"untied_generator": False},
    {"untied_generator_embeddings": True},
    {"uniform_generator": True},
    *(kind for kind in FURTHER_KINDS.values() if "gdes" not in kind),
]


def _config(model: Any = None, **changes: object) -> PretrainConfig:
    return tiny(model={"vocab_size": VOCABULARY.size, **(model or {})}, **changes)


def _run(config: PretrainConfig, start: Init | None = None) -> Run:
    return Run("new", config, VOCABULARY, TokenizerSettings(), "data", start)


def _source(path: Path, **changes: object) -> Weights:
    make_run(path, **changes)
    return warm_start.read(Init(str(path)))


def _without(weights: Weights, *prefixes: str) -> Weights:
    tensors = {
        name: value for name, value in weights.tensors.items() if not name.startswith(prefixes)
    }
    generator = None if "generator/" in prefixes else weights.generator
    return check(dataclasses.replace(weights, tensors=tensors, generator=generator))


def _parts(first: FirstWeights) -> set[str]:
    return {name.partition("/")[0] for name in first.tensors}


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_all_of_a_run_of_the_same_kind(changes: dict[str, bool], tmp_path: Path) -> None:
    weights = _source(tmp_path / "old", **changes)
    first = warm_start.first_weights(weights, _run(_config(**changes, seed=9)))
    state = TrainState(_config(**changes, seed=9), VOCABULARY)
    first.assign(state)
    variables = {variable_name(v.name): v.numpy() for v in state.objective.variables}
    source = {**weights.tensors, **weights.own}
    shapes = of_objective(state.objective.config).shapes(state.objective.config)
    assert variables.keys() == shapes.keys()
    assert variables.keys() == first.tensors.keys() == source.keys()
    for name, value in variables.items():
        assert shapes[name] == value.shape
        assert np.array_equal(value, source[name]), name
    assert int(state.optimizer.step) == 0
    assert not any("fresh:" in line or "starts fresh" in line for line in first.lines)


@pytest.mark.parametrize("write", [google.write, huggingface.write], ids=["google", "huggingface"])
def test_all_of_a_model_of_another_tool(
    write: Callable[[Weights, str], list[str]], tmp_path: Path
) -> None:
    weights = _source(tmp_path / "old")
    write(weights, str(tmp_path / "other"))
    found = warm_start.read(Init(str(tmp_path / "other")))
    first = warm_start.first_weights(found, _run(_config()))
    assert first.tensors.keys() == weights.tensors.keys()
    for name, value in weights.tensors.items():
        assert np.array_equal(first.tensors[name], value), name
    # A discriminator's folder alone, which is what is mostly released.
    if (tmp_path / "other" / "discriminator").exists():
        alone = warm_start.read(Init(str(tmp_path / "other" / "discriminator")))
        assert _parts(warm_start.first_weights(alone, _run(_config()))) == {"encoder", "rtd_head"}


def test_a_discriminator_without_its_generator(tmp_path: Path) -> None:
    weights = _without(_source(tmp_path / "old"), "generator/", "masked_lm_head/")
    first = warm_start.first_weights(weights, _run(_config()))
    assert _parts(first) == {"encoder", "rtd_head"}
    (line,) = [line for line in first.lines if "starts fresh" in line]
    assert "the generator starts fresh, but for the shared embeddings: the source has none" in line
    assert "It must catch up first" in line
    table = [line.split() for line in first.lines if line.startswith("  ")]
    assert table == [
        ["tensors", "loaded", "fresh", "left", "over"],
        ["encoder", "embeddings", "7", "0", "0"],
        ["encoder", "layers", "32", "0", "0"],
        ["generator", "0", "16", "0"],
        ["masked_lm_head", "0", "5", "0"],
        ["rtd_head", "4", "0", "0"],
    ]


def test_masked_lm_into_both_objectives(tmp_path: Path) -> None:
    """A BERT: one network with its masked LM head."""
    weights = _source(tmp_path / "old", objective="masked_lm")
    into_masked_lm = warm_start.first_weights(weights, _run(_config(objective="masked_lm")))
    assert _parts(into_masked_lm) == {"encoder", "masked_lm_head"}
    into_electra = warm_start.first_weights(weights, _run(_config()))
    assert _parts(into_electra) == {"encoder"}
    shown = "\n".join(into_electra.lines)
    assert "the generator starts fresh" in shown
    assert "the detection head starts fresh" in shown
    assert "  masked_lm_head           0       5          5" in shown


@pytest.mark.parametrize(
    ("old", "new", "origins"),
    [
        # A masked LM's head starts the discriminator's heads.
        (
            {"objective": "masked_lm"},
            {"clm_weight": 1.0, "rtd_head": "dot"},
            {"clm_head": "masked_lm_head", "dot_head": "masked_lm_head"},
        ),
        ({"clm_weight": 1.0}, {"objective": "masked_lm"}, {"masked_lm_head": "clm_head"}),
        (
            {"objective": "joint", "rtd_head": "dot"},
            {"rtd_head": "dot", "clm_weight": 1.0},
            {"rtd_head": "rtd_head", "dot_head": "dot_head", "clm_head": "masked_lm_head"},
        ),
        # Half of a head is useless, and an energy is not a logit.
        ({"rtd_head": "dot"}, {"generator_layers": 1.0}, {}),
        ({"objective": "electric"}, {}, {}),
        ({}, {"objective": "electric"}, {}),
    ],
    ids=str,
)
def test_heads_go_where_they_mean_the_same(
    old: dict[str, Any], new: dict[str, Any], origins: dict[str, str], tmp_path: Path
) -> None:
    weights = _source(tmp_path / "old", **old)
    first = warm_start.first_weights(weights, _run(_config(**new)))
    assert _parts(first) - {"generator", "masked_lm_head"} == {"encoder", *origins} - {
        "masked_lm_head"
    }
    source = {**weights.tensors, **weights.own}
    for part, origin in origins.items():
        bias = first.tensors[f"{part}/dense/bias"]
        assert np.array_equal(bias, source[f"{origin}/dense/bias"])


def test_embeddings_become_differences(tmp_path: Path) -> None:
    weights = _source(tmp_path / "old", objective="masked_lm")
    config = _config(gdes=True)
    first = warm_start.first_weights(weights, _run(config))
    state = TrainState(config, VOCABULARY)
    first.assign(state)
    table = weights.tensors["encoder/embeddings/word_embeddings"]
    assert np.array_equal(state.objective.encoder.embeddings.table(), table)
    assert state.objective.generator is not None
    assert np.array_equal(state.objective.generator.embeddings.table(), table)


def test_electra_into_masked_lm(tmp_path: Path) -> None:
    weights = _source(tmp_path / "old")
    first = warm_start.first_weights(weights, _run(_config(objective="masked_lm")))
    assert _parts(first) == {"encoder"}
    assert any("the source's belongs to another network" in line for line in first.lines)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"generator_layers": 1.0},
            r"generator/layers/1/attention/query/kernel is missing in the source and \[8, 8\]",
        ),
        (
            {"generator_hidden_size": 0.25},
            r"generator/projection/kernel is missing in the source and \[8, 4\] in this run",
        ),
        ({"untied_generator_embeddings": True}, ""),
    ],
)
def test_a_generator_of_another_size(
    changes: dict[str, object], reason: str, tmp_path: Path
) -> None:
    first = warm_start.first_weights(_source(tmp_path / "old"), _run(_config(**changes)))
    if reason:
        assert _parts(first) == {"encoder", "rtd_head"}
        (line,) = [line for line in first.lines if "generator starts fresh" in line]
        assert re.search(reason, line)
    else:
        # As wide as the shared ones: copies make the same network.
        name = "embeddings/word_embeddings"
        tensors = first.tensors
        assert np.array_equal(tensors[f"generator/{name}"], tensors[f"encoder/{name}"])


def test_embeddings_of_its_own_cannot_be_shared(tmp_path: Path) -> None:
    weights = _source(tmp_path / "old", untied_generator_embeddings=True)
    first = warm_start.first_weights(weights, _run(_config()))
    assert any("has separate embeddings" in line for line in first.lines)
    assert "generator" not in _parts(first)


def test_data_that_was_tokenized_otherwise(tmp_path: Path) -> None:
    weights = _source(tmp_path / "old")
    run = _run(_config())
    run = dataclasses.replace(run, tokenizer=TokenizerSettings(word_tokens=True))
    note = "note: the data was tokenized with other settings: word_tokens=true (the source: false)"
    assert note in warm_start.first_weights(weights, run).lines


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"embedding_size": 16},
            r"encoder/embeddings/word_embeddings is \[[0-9]+, 8\] in .*old and \[[0-9]+, 16\] in "
            r"this run: model=source takes the source's size \(embedding_size=8\)",
        ),
        (
            {"intermediate_size": 20},
            r"layers/0/intermediate/kernel is \[16, 24\] in .*old and \[16, 20\] in this run",
        ),
        (
            {"num_hidden_layers": 1},
            r"layers/1/.*/bias is \[16\] in .*old and missing in this run: model=source "
            r"takes the source's size \(num_hidden_layers=2\); --init-layers first:1 takes",
        ),
        (
            {"num_hidden_layers": 3},
            r"layers/2/.*/kernel is missing in .*old and \[16, 16\] in this run",
        ),
        ({"num_attention_heads": 4}, "has 2 attention heads and this run 4, which the shapes"),
    ],
    ids=str,
)
def test_an_encoder_of_another_size(model: dict[str, object], message: str, tmp_path: Path) -> None:
    weights = _source(tmp_path / "old")
    with pytest.raises(UserError, match=message):
        warm_start.first_weights(weights, _run(_config(model, generator_layers=1.0)))


def test_the_first_layers(tmp_path: Path) -> None:
    make_run(tmp_path / "old", generator_layers=1.0)
    start = _parse(str(tmp_path / "old"), "first:1")
    assert start is not None
    run = _run(_config({"num_hidden_layers": 1}, generator_layers=1.0), start)
    first = warm_start.first_weights(warm_start.read(start), run)
    assert _parts(first) == {"encoder", "generator", "masked_lm_head", "rtd_head"}
    assert first.tensors.keys() == of_objective(run.config).shapes(run.config).keys()
    assert "layers: 0 of the source's" in first.lines


def test_the_source_s_size(tmp_path: Path) -> None:
    weights = _source(tmp_path / "old", untied_generator_embeddings=True)
    size = warm_start.size_of(weights)
    assert size.generator == {
        "generator_layers": 0.5,
        "generator_hidden_size": 0.5,
        "untied_generator_embeddings": True,
    }
    # Its generator is not that of the run.
    assert warm_start.size_of(weights, foreign=True) == (size.model, {})
    words = {"model": "source", "max_seq_length": "32"}
    config = resolve("nano", words, vocab_size=77, source=size).settings
    assert config.model == dataclasses.replace(weights.model, vocab_size=77)
    assert config.generator_layers == 0.5
    shorter = resolve("nano", words, vocab_size=77, source=size, init=Init("old", (1,))).settings
    assert shorter.model.num_hidden_layers == 1
    with pytest.raises(UsageError, match="model=source needs --init"):
        resolve("nano", words, vocab_size=77)
    with pytest.raises(UsageError, match="num_hidden_layers is 2 but --init-layers takes 1"):
        resolve(
            "nano",
            {**words, "num_hidden_layers": "2"},
            vocab_size=7,
            source=size,
            init=Init("", (1,)),
        )


# --- The optimizer ---------------------------------------------------------------------------


def _keep(path: Path, config: PretrainConfig, vocabulary: Vocabulary = VOCABULARY) -> FirstWeights:
    init = Init(str(path), keep_optimizer=True)
    run = Run("new", config, vocabulary, TokenizerSettings(), "data", init)
    return warm_start.first_weights(warm_start.read(init), run)


def _run_with_slots(path: Path, **changes: object) -> TrainState:
    run, state = make_run(path, **changes)
    for index, slot in enumerate(state.optimizer.state_tensors().values()):
        slot.assign(tf.fill(slot.shape, float(index)))
    state.optimizer.step.assign(7)
    state.save(CheckpointStore(run.checkpoints, keep=1), 7, state={})
    return state


def test_the_optimizer_s_slots_are_kept_and_the_step_is_not(tmp_path: Path) -> None:
    old = _run_with_slots(tmp_path / "old")
    config = _config(learning_rate=1e-3, num_train_steps=9)
    first = _keep(tmp_path / "old", config)
    state = TrainState(config, VOCABULARY)
    first.assign(state)
    assert int(state.optimizer.step) == 0
    for name, slot in state.optimizer.state_tensors().items():
        assert np.array_equal(slot, old.optimizer.state_tensors()[name]), name
    assert any("the source's moments" in line for line in first.lines)


@pytest.mark.parametrize("changes", [{"optimizer": "lamb"}, {"adam_bias_correction": True}])
def test_the_updates_of_the_source_s_moments_count(
    changes: dict[str, object], tmp_path: Path
) -> None:
    """The update after --keep-optimizer is the one that the source would do, at the same rate."""
    constant = {**changes, "lr_schedule": "constant", "num_warmup_steps": 0}
    source, old = make_run(tmp_path / "old", **constant)
    gradients = [tf.fill(value.shape, 1e-3) for value in old.objective.trainable_variables]
    for _ in range(3):
        old.optimizer.apply(gradients)
    old.save(CheckpointStore(source.checkpoints, keep=1), 7, state={})
    first, state = _keep(tmp_path / "old", source.config), TrainState(source.config, VOCABULARY)
    first.assign(state)
    state.save(CheckpointStore(str(tmp_path / "new"), keep=1), 0, state={})
    saved = checkpoints.read(str(tmp_path / "new" / "ckpt-0"))
    resumed = TrainState(source.config, VOCABULARY)
    resumed.assign(saved, where="")
    for one in (old, state, resumed):
        one.optimizer.apply(gradients)
    for name, value in old.tensors().items():
        assert np.array_equal(state.tensors()[name], value), name
        assert np.array_equal(resumed.tensors()[name], value), name
    assert set(saved.state["optimizer_starts"].values()) == {-3}


def test_slots_of_weights_that_the_run_does_not_train_are_left_over(tmp_path: Path) -> None:
    _run_with_slots(tmp_path / "old", clm_weight=1.0)
    first, state = _keep(tmp_path / "old", _config()), TrainState(_config(), VOCABULARY)
    first.assign(state)
    assert first.slots.keys() == state.optimizer.state_tensors().keys()


def test_an_optimizer_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    _run_with_slots(tmp_path / "old")
    for changes, message in (
        ({"untied_generator_embeddings": True}, r"m/generator/embeddings/.* is missing in .*old"),
        (
            {"optimizer": "lamb", "adam_beta_2": 0.98},
            r"adam_beta_2 is 0.999 in .*old and 0.98 in this run, whose bias correction",
        ),
    ):
        with pytest.raises(UserError, match=f"{message}.*Remove --keep-optimizer"):
            _keep(tmp_path / "old", _config(**changes))
    tokens = [*VOCABULARY.tokens[:-1], "new"]
    with pytest.raises(UserError, match="has another vocabulary than the data"):
        _keep(tmp_path / "old", _config(), Vocabulary(tokens))
    google.write(warm_start.read(Init(str(tmp_path / "old"))), str(tmp_path / "google"))
    with pytest.raises(UserError, match="is not a pretraining run"):
        _keep(tmp_path / "google", _config())


# --- Flags, and what a run records -----------------------------------------------------------


def _parse(source: str | None, layers: str | None, *, keep_optimizer: bool = False) -> Init | None:
    request = PretrainRequest(
        "run", ("data",), init=source, init_layers=layers, keep_optimizer=keep_optimizer
    )
    return request.first_weights()


def test_flags() -> None:
    assert _parse(None, None) is None
    assert _parse("old/", None) == Init("old")
    assert _parse("old", "first:3") == _parse("old", "0,1, 2") == Init("old", (0, 1, 2))
    for words in ("last:3", "first:0", "first:", "0,", "-1", "three"):
        with pytest.raises(UsageError, match="allowed: first:3, or numbers from 0"):
            _parse("old", words)
    with pytest.raises(UsageError, match=r"--init-layers .* Add --init SOURCE"):
        _parse(None, "first:3")
    with pytest.raises(UsageError, match=r"--keep-optimizer .* Add --init SOURCE"):
        _parse(None, None, keep_optimizer=True)
    with pytest.raises(UsageError, match="Remove --init-layers"):
        _parse("old", "first:3", keep_optimizer=True)
    assert str(_parse("old", None, keep_optimizer=True)) == "--init old --keep-optimizer"


def _open(path: Path, start: Init | None, **overrides: str) -> Run:
    source = DataSource("data", VOCABULARY, TokenizerSettings(), "data")
    layers = ",".join(map(str, start.layers)) if start else ""
    request = PretrainRequest(
        output=str(path),
        data=("data",),
        config="nano",
        init=start.source if start else None,
        init_layers=layers or None,
    )
    return folder.begin(request, overrides, data=source, init=start)


def test_a_run_is_resumed_only_with_its_own_first_weights(tmp_path: Path) -> None:
    described = Init("old", (0, 5), kind="a run", step=7, positions=64, sha256="12")
    _open(tmp_path / "run", described).save()
    saved = folder.load(str(tmp_path / "run"))
    assert saved.init is not None
    assert dataclasses.astuple(saved.init) == dataclasses.astuple(described)
    assert _open(tmp_path / "run", Init("old", (0, 5))) == saved
    assert _open(tmp_path / "run", None) == saved
    assert _open(tmp_path / "run", None, model="source") == saved
    for other in (Init("old"), Init("older", (0, 5))):
        with pytest.raises(UserError, match="was started with --init old --init-layers 0,5, not"):
            _open(tmp_path / "run", other)
    _open(tmp_path / "random", None).save()
    with pytest.raises(UserError, match="was started with random weights, not with --init old"):
        _open(tmp_path / "random", Init("old"))


def test_assumed_heads_are_not_the_source_s(tmp_path: Path) -> None:
    weights = dataclasses.replace(_source(tmp_path / "old"), heads_assumed=True)
    expected = r"no file says the number of attention heads; 2 are assumed .* this run has 1\. Give"
    with pytest.raises(UserError, match=expected):
        warm_start.first_weights(weights, _run(_config({"num_attention_heads": 1})))
    sizes = {"num_attention_heads": 1, "intermediate_size": 25}
    with pytest.raises(UserError, match=r"takes the source's size \(intermediate_size=24\)"):
        warm_start.first_weights(weights, _run(_config(sizes)))


def test_assumptions_are_kept_for_the_end_of_a_run(tmp_path: Path) -> None:
    weights = dataclasses.replace(_source(tmp_path / "old"), notes=("assumed 2 heads",))
    assert warm_start.describe(Init("old"), weights).notes == ("assumed 2 heads",)


def test_a_source_that_has_changed(tmp_path: Path) -> None:
    weights = _source(tmp_path / "old")
    described = warm_start.describe(Init(str(tmp_path / "old")), weights)
    assert (described.step, described.positions) == (7, 16)
    assert warm_start.read(described).tensors.keys() == weights.tensors.keys()
    with pytest.raises(UserError, match="has changed since the run was started with it"):
        warm_start.read(dataclasses.replace(described, sha256="0"))


def test_a_source_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"--init nowhere does not exist\. Expected one of: the"):
        warm_start.read(Init("nowhere"))


def test_a_source_that_has_saved_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old"
    make_run(old)
    shutil.rmtree(old / "checkpoints")
    with pytest.raises(UserError) as error:
        warm_start.read(Init(str(old)))
    message = f"--init {old}: There is no checkpoint in {old}/checkpoints. Wait until"
    assert str(error.value).startswith(message)


def test_positions_that_a_start_had_trained_count(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "old")
    dataclasses.replace(run, init=Init("older", positions=32)).save()
    trained = open_source(run.folder).trained
    assert trained is not None
    assert trained.length == 32
    # The run has no more positions, whatever its start had.
    dataclasses.replace(run, init=Init("older", positions=512)).save()
    trained = open_source(run.folder).trained
    assert trained is not None
    assert trained.length == run.config.model.max_position_embeddings


@pytest.mark.parametrize(
    ("batch", "rate"), [(2, "5.0e-04"), (8, "2.0e-03"), (32, "4.0e-03"), (128, "8.0e-03")]
)
def test_the_rate_follows_the_batch(batch: int, rate: str, tmp_path: Path) -> None:
    weights = _source(tmp_path / "old", train_batch_size=8, learning_rate=2e-3)
    line = advice(weights, _config(train_batch_size=batch))
    assert f"learning_rate={rate} num_warmup_steps=100 " in line
    planned = advice(weights, _config(train_batch_size=batch, budget_hours=1.0))
    assert f"learning_rate={rate} (set: 5.0e-04). the source" in planned
    assert "the source was trained at 2.0e-03 in batches of 8" in line


def test_the_rates_of_published_models(tmp_path: Path) -> None:
    weights = dataclasses.replace(_source(tmp_path / "old"), trained=None)
    assert "ELECTRA of this width was published with 5.0e-04 in batches of 128" in advice(
        weights, _config()
    )
    bert = dataclasses.replace(weights, kind="BERT of Hugging Face")
    assert "BERT was published with 1.0e-04 in batches of 256" in advice(bert, _config())
