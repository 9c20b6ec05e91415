"""The generator of another model: what is taken, what is refused, and what a run keeps of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from electra_zh.convert.forms import huggingface, native
from electra_zh.convert.source import open_source
from electra_zh.errors import UserError
from electra_zh.models.weight_names import variable_name
from electra_zh.pretraining import folder, warm_start
from electra_zh.pretraining.config import Init
from electra_zh.pretraining.folder import Run
from electra_zh.pretraining.phases import in_order
from electra_zh.pretraining.sources import generator
from electra_zh.pretraining.state import TrainState
from electra_zh.text.settings import TokenizerSettings
from electra_zh.text.vocabulary import Vocabulary
from electra_zh.training.checkpoints import CheckpointStore
from support.converting import make_run, make_vocabulary
from support.networks import tiny

VOCABULARY = make_vocabulary()
SIZE = {"vocab_size": VOCABULARY.size}


def _new_run(path: Path, **changes: object) -> Run:
    config = tiny(model=SIZE, **changes)
    return Run(str(path), config, VOCABULARY, TokenizerSettings(), "data")


@pytest.mark.parametrize("kind", ["masked LM", "BERT", "run", "released generator"])
def test_the_masked_lm_of_any_model_draws_the_fakes(kind: str, tmp_path: Path) -> None:
    old, path = tmp_path / "old", tmp_path / "old"
    # Of another size than the run's own generator would be.
    size = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40}
    if kind == "BERT":
        size["embedding_size"] = 24
    objective = "electra" if kind in ("run", "released generator") else "masked_lm"
    make_run(old, model=size, objective=objective)
    source = open_source(str(old))
    if kind in ("BERT", "released generator"):
        path = tmp_path / "other"
        huggingface.write(source, str(path))
        path = path / "generator" if kind == "released generator" else path
    foreign = generator.read(Init(str(path)), VOCABULARY)
    run = _new_run(tmp_path / "new").with_generator(foreign.start, dataclasses.asdict(foreign.size))
    first = warm_start.beginning(run, None, foreign)
    assert first is not None
    state = TrainState(run.config, VOCABULARY)
    first.assign(state)
    network = "generator" if source.generator else "encoder"
    for variable in state.objective.variables:
        name = variable_name(variable.name)
        if name.startswith(("generator/", "masked_lm_head/")):
            theirs = name.replace("generator/", f"{network}/", 1)
            if theirs not in source.tensors:  # shared embeddings, as copies
                theirs = name.replace("generator/", "encoder/", 1)
            assert np.array_equal(variable, source.tensors[theirs]), name
    trained = {each.name.partition("/")[0] for each in state.objective.trainable_variables}
    assert trained == {"encoder", "rtd_head"}


def test_a_run_keeps_its_generator(tmp_path: Path) -> None:
    make_run(tmp_path / "old", objective="masked_lm")
    foreign = generator.read(Init(str(tmp_path / "old")), VOCABULARY)
    run = _new_run(tmp_path / "new").with_generator(foreign.start, dataclasses.asdict(foreign.size))
    run.save()
    assert folder.load(run.folder) == run
    state = TrainState(run.config, VOCABULARY)
    state.save(CheckpointStore(run.checkpoints, keep=1), 3, state={})
    weights = native.read(run.folder)
    assert weights.generator == foreign.size
    # Its weights are those of the checkpoint, for another model that begins with the run.
    assert foreign.tensors.keys() <= weights.generator_tensors().keys() | weights.tensors.keys()


def test_a_later_phase_keeps_the_generator_whatever_its_positions(tmp_path: Path) -> None:
    make_run(tmp_path / "old", objective="masked_lm", model={"max_position_embeddings": 48})
    foreign = generator.read(Init(str(tmp_path / "old")), VOCABULARY)
    new = _new_run(tmp_path / "new", num_train_steps=3)
    assert new.config.model.max_position_embeddings != foreign.size.max_position_embeddings
    second = dataclasses.replace(new.config, seed=9)
    phases = in_order([("first", new.config), ("second", second)])
    run = dataclasses.replace(new, phases=phases)
    run = run.with_generator(foreign.start, dataclasses.asdict(foreign.size))
    run.save()
    state, first = TrainState(run.config, VOCABULARY), warm_start.beginning(run, None, foreign)
    assert first is not None
    first.assign(state)
    saved = {"phase": "first", "settings": run.config.to_dict()}
    state.save(CheckpointStore(run.checkpoints, keep=1), 3, state=saved)
    found = warm_start.carried_weights(run, run.phases[1], 3)
    for name, value in foreign.tensors.items():
        assert np.array_equal(found.tensors[name], value), name
    assert not any("starts fresh" in line for line in found.lines)


def test_init_and_generator_together(tmp_path: Path) -> None:
    make_run(tmp_path / "old", objective="masked_lm")
    make_run(tmp_path / "start", generator_layers=1.0)
    foreign = generator.read(Init(str(tmp_path / "old")), VOCABULARY)
    run = dataclasses.replace(_new_run(tmp_path / "new"), init=Init(str(tmp_path / "start")))
    run = run.with_generator(foreign.start, dataclasses.asdict(foreign.size))
    first = warm_start.beginning(run, None, None)
    assert first is not None
    start = open_source(str(tmp_path / "start"))
    assert np.array_equal(
        first.tensors["rtd_head/dense/kernel"], start.tensors["rtd_head/dense/kernel"]
    )
    for name, value in foreign.tensors.items():
        assert np.array_equal(first.tensors[name], value), name
    assert any("not trained" in line for line in first.lines)
    assert not any("generator starts fresh" in line for line in first.lines)


def _other_vocabulary(path: Path) -> Vocabulary:
    make_run(path, objective="masked_lm")
    return Vocabulary([*VOCABULARY.tokens, "more"])


def _without_head(path: Path) -> Vocabulary:
    make_run(path / "run")
    huggingface.write(open_source(str(path / "run")), str(path / "other"))
    (path / "other" / "discriminator").rename(path / "alone")
    return VOCABULARY


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (_other_vocabulary, "", r"has another vocabulary than the data \(\d+ and \d+ tokens\)"),
        (_without_head, "alone", "has no masked LM head: give the generator of an ELECTRA"),
        (lambda path: VOCABULARY, "nowhere", "--generator: .*nowhere does not exist"),
    ],
    ids=["vocabulary", "discriminator", "missing"],
)
def test_models_that_are_refused(
    make: Callable[[Path], Vocabulary], name: str, message: str, tmp_path: Path
) -> None:
    vocabulary = make(tmp_path)
    with pytest.raises(UserError, match=message):
        generator.read(Init(str(tmp_path / name)), vocabulary)


def test_a_source_that_has_changed(tmp_path: Path) -> None:
    make_run(tmp_path / "old", objective="masked_lm")
    with pytest.raises(UserError, match="has changed since the run was started with it"):
        generator.read(Init(str(tmp_path / "old"), sha256="0"), VOCABULARY)


def test_a_generator_needs_the_objective_and_the_positions(tmp_path: Path) -> None:
    size = dataclasses.asdict(tiny(model=SIZE).model)
    with pytest.raises(UserError, match="--generator is for objective=electra; remove it"):
        _new_run(tmp_path, objective="joint").with_generator(Init("x"), size)
    with pytest.raises(UserError, match="model of --generator has 8 positions: lower max_seq"):
        _new_run(tmp_path).with_generator(Init("x"), size | {"max_position_embeddings": 8})
