"""Phases: their settings, a run through them, and its resuming anywhere, bit for bit."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import yaml
from absl import logging

from electra_zh.commands import configs
from electra_zh.convert import source
from electra_zh.data.build.run import build
from electra_zh.errors import UsageError, UserError
from electra_zh.interrupts import InterruptError
from electra_zh.pretraining import folder, inference, run
from electra_zh.pretraining.config import Init
from electra_zh.pretraining.evaluate import evaluate_run
from electra_zh.pretraining.metrics import StepSums
from electra_zh.pretraining.objectives import objective_names
from electra_zh.pretraining.phases import at_step, in_order, keep_saved, resolve_phases
from electra_zh.pretraining.programs import train
from electra_zh.pretraining.programs.export import export_step
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.pretraining.running import driver
from electra_zh.runtime import device
from electra_zh.runtime.processes import Here
from electra_zh.settings import recipe_names
from electra_zh.text.vocabulary import SPECIAL_TOKENS, Vocabulary
from electra_zh.training import checkpoints
from electra_zh.training.checkpoints import CheckpointStore
from support.building import LENGTH, LETTERS, make_settings, make_text

BASE: dict[str, Any] = {
    "include": "nano",
    "objective": "masked_lm",
    "max_seq_length": LENGTH,
    "num_warmup_steps": 1,
    "hidden_size": 32,
    "embedding_size": 16,
    "num_hidden_layers": 1,
    "intermediate_size": 32,
    "train_batch_size": 4,
    "eval_batch_size": 4,
    "num_eval_steps": 2,
    # Of TensorFlow and of exported steps bfloat16 differs by more than their comparison allows.
    "precision": "float32",
    "adam_bias_correction": True,
    "save_checkpoints_steps": 2,
    "log_steps": 2,
}
# Its sequences are cut from those of the data, which have twice the length.
MASKED = {"name": "masked", "num_train_steps": 3, "max_seq_length": LENGTH // 2}
DETECTION = {
    "name": "detection",
    "num_train_steps": 4,
    "objective": "electra",
    "uniform_generator": True,
    "train_batch_size": 2,
}


def _write(path: Path, *phases: Any, **changes: Any) -> str:
    recipe = path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**BASE, **changes, "phases": list(phases)}))
    return str(recipe)


def test_a_phase_s_settings_are_those_of_the_recipe_and_its_own(tmp_path: Path) -> None:
    recipe = _write(tmp_path, MASKED, {**DETECTION, "learning_rate": 2e-4})
    overrides = {"weight_decay_rate": "0.5", "phases.masked.mask_prob": "0.3"}
    found = resolve_phases(recipe, overrides, vocab_size=100)
    phases = in_order((name, each.settings) for name, each in found.items())
    masked, detection = (phase.config for phase in phases)
    assert [(phase.first_step, phase.last_step) for phase in phases] == [(0, 3), (3, 7)]
    assert (masked.learning_rate, detection.learning_rate) == (1e-3, 2e-4)
    assert (masked.mask_prob, detection.mask_prob) == (0.3, 0.15)
    assert masked.weight_decay_rate == detection.weight_decay_rate == 0.5
    assert masked.seed != detection.seed
    # The command line's values for all phases are above a phase's own.
    found = resolve_phases(recipe, {"learning_rate": "1e-5"}, vocab_size=100)
    assert {each.settings.learning_rate for each in found.values()} == {1e-5}
    # At a border a checkpoint belongs to the phase that ends.
    assert [at_step(phases, step).name for step in (0, 3, 4, 7)] == [
        *("masked", "masked", "detection", "detection")
    ]


def test_configs_shows_what_differs(tmp_path: Path) -> None:
    rows = configs.list_settings(_write(tmp_path, MASKED, DETECTION), {"seed": "7"})
    shown = {row.key: (row.value, row.origin) for row in rows}
    assert shown["phases.masked.objective"] == ("masked_lm", f"recipe {tmp_path}/recipe.yaml")
    assert shown["phases.detection.objective"] == ("electra", "phase detection")
    assert shown["mask_prob"] == (0.15, "default")
    assert "objective" not in shown


@pytest.mark.parametrize(
    ("phases", "overrides", "message"),
    [
        ("masked", {}, "`phases` must be a list of mappings with a name; received 'masked'"),
        ([], {}, "must be a list of mappings"),
        ([{"num_train_steps": 3}], {}, "number 1 must be a mapping with a `name`"),
        ([{**MASKED, "name": "a b"}], {}, "number 1 must be a mapping with a `name`"),
        ([MASKED, MASKED], {}, "the name masked is a duplicate"),
        ([MASKED, {"name": "long"}], {}, "phase long has no num_train_steps"),
        ([MASKED, {**DETECTION, "hidden_size": 64}], {}, "hidden_size is 32 in phase masked and"),
        ([{**MASKED, "seed": 3}], {}, "phase masked: remove seed"),
        ([{**MASKED, "lerning_rate": 1}], {}, 'phase masked: unknown setting "lerning_rate"'),
        ([{**MASKED, "mask_prob": 2}], {}, "phase masked: mask_prob must be above 0 and below 1"),
        ([MASKED], {"phases.maskd.seed": "1"}, r'are masked. Did you mean "masked"\?'),
        ([MASKED], {"phases.masked": "1"}, "names no phase of recipe"),
    ],
)
def test_mistakes_are_named(
    tmp_path: Path, phases: Any, overrides: dict[str, str], message: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**BASE, "phases": phases}))
    with pytest.raises(UserError, match=message):
        resolve_phases(str(recipe), overrides, vocab_size=100)


@pytest.mark.parametrize("key", ["seed", "budget_hours"])
def test_a_setting_of_the_run_is_refused_for_one_phase(key: str, tmp_path: Path) -> None:
    recipe = _write(tmp_path, MASKED, DETECTION)
    with pytest.raises(UsageError, match=rf"phases.masked.{key}: the run has one {key}"):
        resolve_phases(recipe, {f"phases.masked.{key}": "3"}, vocab_size=100)


def test_a_recipe_without_phases_takes_no_settings_of_one() -> None:
    with pytest.raises(UsageError, match="recipe nano: it has no phases"):
        resolve_phases("nano", {"phases.long.seed": "1"}, vocab_size=100)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, a recipe, and a complete run of 3 + 4 steps."""
    path = tmp_path_factory.mktemp("phases")
    vocabulary = str(path / "vocab.txt")
    Vocabulary([*SPECIAL_TOKENS, "。", *LETTERS]).save(vocabulary)
    (path / "corpus.txt").write_text(make_text(20), encoding="utf-8")
    build(make_settings(path / "corpus.txt", vocabulary, path / "data"))
    _write(path, MASKED, DETECTION)
    _train(path, path / "run", config=str(path / "recipe.yaml"))
    return path


def _train(job: Path, output: Path, *, config: str | None = None) -> None:
    data = str(job / "data")
    request = PretrainRequest(data=(data,), output=str(output), config=config, eval_data=(data,))
    run.pretrain(run.prepare(request, {}))


def _lines(output: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    times = ("time", "seconds", "steps_per_second", "tokens_per_second")
    return [{key: line[key] for key in line if key not in times} for line in lines]


class _Trainer:
    """A `PhaseTrainer` that only saves."""

    is_compiled, trained, waited = True, 0, 0.0

    def __init__(self, *_: object) -> None:
        values = [np.ones(()), *np.zeros(StepSums.number_of_values() - 2), np.zeros(4)]
        self._sums = StepSums.of_values(values)

    def steps(self, batches: object) -> Callable[[int], StepSums]:
        return lambda count: self._sums

    def save(self, store: CheckpointStore, step: int, *, state: Mapping[str, Any]) -> None:
        store.save(step, model={"x": np.zeros(1)}, optimizer={}, state=state)

    def carry_over(self, step: int) -> None:
        pass

    def measure(self) -> dict[str, float]:
        return {}


def test_each_phase_keeps_its_number_of_checkpoints(job: Path, tmp_path: Path) -> None:
    short, long = {**MASKED, "keep_checkpoint_max": 1}, {**DETECTION, "keep_checkpoint_max": 2}
    recipe, output = _write(tmp_path, short, long), tmp_path / "run"
    request = PretrainRequest(data=(str(job / "data"),), output=str(output), config=recipe)
    driver.train(run.prepare(request, {}), cast(driver.Make, _Trainer))
    assert {path.name for path in (output / "checkpoints").iterdir()} == {"ckpt-6", "ckpt-7"}


def test_processes_wait_for_the_checkpoint_that_a_phase_begins_with(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process alone knows when its files are complete."""
    events: list[object] = []
    monkeypatch.setattr(Here, "wait", lambda self, name: events.append(name))
    monkeypatch.setattr(_Trainer, "carry_over", lambda self, step: events.append(step))
    request = PretrainRequest(
        data=(str(job / "data"),), output=str(tmp_path / "run"), config=str(job / "recipe.yaml")
    )
    driver.train(run.prepare(request, {}), cast(driver.Make, _Trainer))
    assert events == ["prepared", "restored", "saved", 3]


def test_one_folder_and_one_file_of_metrics(job: Path) -> None:
    lines = _lines(job / "run")
    train = [line for line in lines if line["kind"] == "train"]
    assert [(line["step"], line["phase"]) for line in train] == [
        *((2, "masked"), (3, "masked"), (4, "detection"), (6, "detection"), (7, "detection"))
    ]
    # 4 sequences of 16 tokens, then 2 of 32.
    assert [line["tokens"] for line in train] == [128, 192, 256, 384, 448]
    assert "disc_loss" not in train[1]
    assert "disc_loss" in train[2]
    # The schedule begins with the phase: its first step has the peak rate, its last one 0.
    assert train[2]["learning_rate"] == pytest.approx(1e-3 * 3 / 4)
    assert [train[index]["learning_rate"] for index in (1, 4)] == [0.0, 0.0]
    kept = sorted(path.name for path in (job / "run" / "checkpoints").iterdir())
    assert kept == ["ckpt-2", "ckpt-3", "ckpt-4", "ckpt-6", "ckpt-7"]
    state = json.loads((job / "run" / "checkpoints" / "ckpt-6" / "state.json").read_text())
    assert (state["phase"], state["step"], state["optimizer_step"]) == ("detection", 6, 6)
    assert state["data"]["examples_read"] == 6
    # The moments of new weights have had three updates less.
    assert set(state["optimizer_starts"].values()) == {3}
    assert {name.partition("/")[0] for name in state["optimizer_starts"]} == {"rtd_head"}


@pytest.mark.parametrize("step", [2, 3, 6], ids=["in a phase", "at the border", "after it"])
def test_a_run_is_resumed_anywhere_bit_for_bit(job: Path, tmp_path: Path, step: int) -> None:
    output = shutil.copytree(job / "run", tmp_path / "run")
    for path in (output / "checkpoints").iterdir():
        if checkpoints.step_of(str(path)) > step:
            shutil.rmtree(path)
    _train(job, output)
    _assert_same(output, job / "run")


def _assert_same(run: Path, other: Path) -> None:
    """Checks that two runs have the same last checkpoint and lines of metrics."""
    complete, resumed = (
        checkpoints.read(str(each / "checkpoints" / "ckpt-7")) for each in (other, run)
    )
    old, new = complete.model | complete.optimizer, resumed.model | resumed.optimizer
    assert old.keys() == new.keys()
    assert [name for name in old if old[name].tobytes() != new[name].tobytes()] == []
    assert _lines(run) == _lines(other)
    settings = [json.loads((each / "config.json").read_text()) for each in (run, other)]
    assert settings[0] == settings[1]


def test_exported_phases_train_and_evaluate_as_those_of_tensorflow(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, program, output = str(job / "data"), str(tmp_path / "program"), tmp_path / "run"
    recipe, on = str(job / "recipe.yaml"), device.choose("pjrt:cpu", most=1)
    new = PretrainRequest(program, (data,), config=recipe, eval_data=(data,))
    export_step(run.prepare(new, {}))
    request = PretrainRequest(str(output), (data,), program=program)
    train.train(train.prepare(request, {}, on))
    ours, theirs = _lines(output), _lines(job / "run")
    for mine, wanted in zip(ours, theirs, strict=True):
        assert [mine.pop(key) for key in ("kind", "phase")] == [
            wanted[key] for key in ("kind", "phase")
        ]
        assert mine == pytest.approx({key: wanted[key] for key in mine}, rel=1e-4)
        assert mine.keys() == wanted.keys() - {"kind", "phase"}
    assert {"effective_rank", "masked_lm_gain", "disc_auc_tokens"} <= set().union(*ours)
    for path in (output / "checkpoints").iterdir():
        if checkpoints.step_of(str(path)) > 3:
            shutil.rmtree(path)
    before = _lines(output)
    train.train(train.prepare(request, {}, on))
    assert _lines(output) == before
    shutil.copytree(tmp_path / "program", tmp_path / "other")
    exported = folder.load(str(tmp_path / "other"))
    changed = tuple(
        each._replace(config=dataclasses.replace(each.config, learning_rate=9.0))
        for each in exported.phases
    )
    dataclasses.replace(exported, config=changed[0].config, phases=changed).save()
    with pytest.raises(UserError, match=r"phases.masked.learning_rate 0.001 \(now 9.0\).*give the"):
        train.prepare(dataclasses.replace(request, program=str(tmp_path / "other")), {}, on)
    saved = folder.load(str(job / "run"))
    expected = pytest.approx(evaluate_run(saved, [data]), rel=1e-4)
    assert evaluate_run(saved, [data], device=on) == expected
    # As exported by an earlier version.
    shutil.rmtree(tmp_path / "program" / "program" / "detection" / "measures")
    told: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: told.append(text % values))
    prepared = train.prepare(request, {}, on)
    assert train._ProgramTrainer(prepared, prepared.phases[1]).measure() == {}
    assert [line for line in told if "health is not measured" in line] == [
        "The networks' health is not measured: the step was exported by an earlier version. "
        "Export it again."
    ]


# Each evaluation has two batches; those of steps 2, 3 (the end of a phase), 4, 6 and 7.
@pytest.mark.parametrize(("batch", "step"), [(2, 2), (3, 3), (10, 7)])
def test_a_signal_ends_an_evaluation_that_is_done_later(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, step: int
) -> None:
    begun, make = 0, run.make_evaluation

    def striking(*args: Any, before_batch: Callable[[], None], **settings: Any) -> Any:
        def strike() -> None:
            nonlocal begun
            begun += 1
            if begun == batch:
                os.kill(os.getpid(), signal.SIGTERM)
            before_batch()

        return make(*args, before_batch=strike, **settings)

    monkeypatch.setattr(run, "make_evaluation", striking)
    output, config = tmp_path / "run", str(job / "recipe.yaml")
    with pytest.raises(InterruptError, match=f"Saved at step {step} of 7"):
        _train(job, output, config=config)
    assert begun == batch
    assert checkpoints.find(str(output / "checkpoints")).endswith(f"ckpt-{step}")
    assert [line["kind"] for line in _lines(output) if line["step"] == step] == ["train"]
    _train(job, output)
    _assert_same(output, job / "run")


def test_a_signal_between_two_phases_keeps_the_checkpoint_of_the_first(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = run._TensorFlowTrainer.steps

    def striking(self: Any, batches: Any) -> Any:
        if self._part.phase.first_step:
            os.kill(os.getpid(), signal.SIGTERM)
        return steps(self, batches)

    monkeypatch.setattr(run._TensorFlowTrainer, "steps", striking)
    output, config = tmp_path / "run", str(job / "recipe.yaml")
    for _ in range(2):
        with pytest.raises(InterruptError, match="Saved at step 3 of 7"):
            _train(job, output, config=config)
        found = checkpoints.read(str(output / "checkpoints" / "ckpt-3"))
        assert found.state["phase"] == "masked"
    monkeypatch.undo()
    _train(job, output)
    _assert_same(output, job / "run")


def test_weights_and_moments_carry_over(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = folder.load(str(job / "run"))
    phase = saved.phases[1]
    found = run.warm_start.carried_weights(saved, phase, 3)
    before = checkpoints.read(str(job / "run" / "checkpoints" / "ckpt-3"))
    assert {name.partition("/")[0] for name in found.tensors} == {"encoder"}
    # Positions that the shorter sequences did not train are copies of those that they did.
    positions = "encoder/embeddings/position_embeddings"
    rows = np.arange(len(before.model[positions])) % (LENGTH // 2)
    expected = {**before.model, positions: before.model[positions][rows]}
    assert all(value.tobytes() == expected[n].tobytes() for n, value in found.tensors.items())
    assert found.slots.keys() == {f"{slot}/{name}" for slot in "mv" for name in found.tensors}
    assert all(value.tobytes() == before.optimizer[n].tobytes() for n, value in found.slots.items())
    text = "\n".join(found.lines)
    assert text.startswith("phase detection begins with the weights of step 3:")
    assert "the detection head starts fresh" in text
    assert "those of 4 start at zero" in text
    assert "suggested" not in text


def test_positions_of_any_earlier_phase_are_kept(job: Path, tmp_path: Path) -> None:
    saved = folder.load(str(job / "run"))
    masked, detection = saved.phases
    name = "encoder/embeddings/position_embeddings"
    before = checkpoints.read(str(job / "run" / "checkpoints" / "ckpt-3")).model[name]
    first = detection._replace(first_step=0)
    longer_first = dataclasses.replace(saved, phases=(first, masked))
    longer_first = longer_first.moved_to(str(tmp_path / "run"))
    shutil.copytree(job / "run", tmp_path / "run")
    longer_first.save()
    opened = [source.open_source(each.folder, checkpoint=3) for each in (saved, longer_first)]
    opened.append(source.open_source(saved.folder, checkpoint=4))
    lengths = [each.trained and each.trained.length for each in opened]
    assert lengths == [LENGTH // 2, LENGTH, LENGTH]
    for of_phases, changed in ((saved, [LENGTH // 2]), (longer_first, [])):
        found = run.warm_start.carried_weights(of_phases, detection, 3).tensors[name]
        assert np.flatnonzero((found != before).any(1)).tolist()[:1] == changed


def test_a_checkpoint_has_the_settings_of_its_phase(job: Path) -> None:
    path = str(job / "run")
    assert folder.load(path).config.objective == "electra"
    first = folder.load(path, checkpoint=3)
    assert first.config.objective == "masked_lm"
    results = evaluate_run(first, [str(job / "data")], checkpoint=3, max_batches=1)
    assert "disc_loss" not in results
    assert "disc_loss" in evaluate_run(folder.load(path), [str(job / "data")], max_batches=1)
    weights = source.open_source(path, checkpoint=3)
    assert weights.has("masked_lm_head")


def test_a_sentence_may_be_longer_than_the_sequences_so_far(
    job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, told = shutil.copytree(job / "run", tmp_path / "run"), list[str]()
    monkeypatch.setattr(logging, "warning", lambda text, *values: told.append(text % values))
    for newest, warned in ((7, False), (3, True)):
        for path in (output / "checkpoints").iterdir():
            if checkpoints.step_of(str(path)) > newest:
                shutil.rmtree(path)
        (_,) = inference._batches(folder.load(str(output)), [LETTERS[0] * 20], None)
        assert any(f"trained with at most {LENGTH // 2}" in line for line in told) == warned


def test_other_phases_are_refused(job: Path, tmp_path: Path) -> None:
    auto = {**DETECTION, "name": "more", "train_batch_size": "auto"}
    for phases, message in (
        ([MASKED, {**DETECTION, "num_train_steps": 9}], "detection.num_train_steps 4 .now 9"),
        ([MASKED], r"with phases.detection 4 steps \(now missing\)\. Resume"),
        ([MASKED, DETECTION, auto], r"with phases.more missing \(now 4 steps\)\. Resume"),
        ([MASKED, auto], r"detection 4 steps .now missing., phases.more missing .now 4 steps.\. "),
    ):
        recipe = _write(tmp_path, *phases)
        request = PretrainRequest(str(job / "run"), (str(job / "data"),), config=recipe)
        with pytest.raises(UserError, match=message):
            run.prepare(request, {})


def test_the_plan_shows_the_phases(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "info", lambda *_: None)
    recipe = str(job / "recipe.yaml")
    request = PretrainRequest(str(job / "new"), (str(job / "data"),), config=recipe)
    plan = run.prepare(request, {"phases.detection.learning_rate": "2e-4"}).plan()
    shown = [line for line in plan if line.startswith("phase ")]
    assert shown[0].startswith("phase masked: 3 steps of 4 sequences of length 16")
    assert shown[0].endswith("cut from length 32")
    assert "objective=electra, masking=uniform, learning_rate=0.0002" in shown[1]
    resumed = run.prepare(PretrainRequest(str(job / "run"), (str(job / "data"),)), {})
    examples = resumed.phases[1].examples
    assert any(f"{examples:,} examples of length {LENGTH} " in line for line in resumed.plan())


@pytest.mark.parametrize(
    ("lines", "overrides", "message"),
    [
        ("include: small", {"fake_prob": "0.3"}, "fake_prob has no effect with objective=electra"),
        ("include: small\nfake_prob: 0.3", {}, "fake_prob has no effect with objective=electra"),
        ("include: small\nobjective: masked_lm\nrtd_head: dot", {}, "rtd_head has no effect"),
        (
            "include: small",
            {"objective": "masked_lm", "generator_layers": "0.5"},
            "generator_layer",
        ),
        ("include: small", {"lr_decay_fraction": "0.2"}, "with lr_schedule=polynomial: remove it"),
        ("include: small", {"optimizer": "lamb", "adam_bias_correction": "1"}, "optimizer=lamb"),
        ("include: tiny-hours", {"phases.masked.fake_prob": "0.3"}, "fake_prob has no effect"),
        (
            "include: small",
            {"untied_generator": "false", "generator_hidden_size": "0.5"},
            "generator_hidden_size has no effect with untied_generator=false",
        ),
        ("include: small\nuniform_generator: 1\ntemperature: 2", {}, "temperature has no effect"),
        ("include: small\nuniform_generator: 1\nmask_keep_prob: 0", {}, "mask_keep_prob has no"),
        ("include: small\nobjective: electric\nmask_random_prob: 0.1", {}, "objective=electric"),
        ("include: small", {"temperature_decay": "0.5"}, "no effect with temperature_start=0.0"),
        ("include: small", {"device_memory_gb": "8"}, "has no effect with train_batch_size=128"),
        (
            "include: small\ndiscriminator_frozen: true",
            {"clm_weight": "1"},
            "clm_weight has no effect with discriminator_frozen=true",
        ),
    ],
)
def test_a_setting_without_effect_is_refused(
    tmp_path: Path, lines: str, overrides: dict[str, str], message: str
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(lines)
    with pytest.raises(UsageError, match=message):
        resolve_phases(str(recipe), overrides, vocab_size=100)


@pytest.mark.parametrize(
    ("lines", "overrides"),
    [
        ("include: base\nobjective: masked_lm", {}),  # the generator's size is inherited
        ("include: base", {"objective": "masked_lm"}),
        ("include: small", {"fake_prob": "0.15"}),  # the default
        ("include: tiny-hours", {"fake_prob": "0.3"}),  # two of three phases read it
        ("include: tiny-hours", {"objective": "masked_lm"}),
        ("include: base\nuntied_generator: false", {}),
        ("include: base", {"uniform_generator": "true"}),
        (
            "include: small\nclm_weight: 1\nphases:\n"
            "  - {name: first, num_train_steps: 1, discriminator_frozen: true}\n"
            "  - {name: second, num_train_steps: 1}",
            {},
        ),
    ],
)
def test_inherited_settings_may_have_no_effect(
    tmp_path: Path, lines: str, overrides: dict[str, str]
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(lines)
    assert resolve_phases(str(recipe), overrides, vocab_size=100)


@pytest.mark.parametrize("objective", objective_names())
@pytest.mark.parametrize("recipe", recipe_names("pretrain"))
def test_shipped_recipes_take_every_objective(recipe: str, objective: str) -> None:
    for found in resolve_phases(recipe, {"objective": objective}, vocab_size=100).values():
        assert found.settings.objective == objective


def test_values_that_the_users_objective_leaves_without_effect_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: lines.append(text % values))
    given = {"electra_objective": "false"}
    (found,) = resolve_phases("small-hours", given, vocab_size=100).values()
    assert (found.settings.clm_weight, found.origin("clm_weight")) == (0, "default")
    assert len(lines) == 1
    assert lines[0].startswith("No effect with objective=masked_lm, dropped: clm_weight, disc_wei")
    resolve_phases("tiny-hours", given, vocab_size=100)
    assert lines[1:] == ["No effect with objective=masked_lm, dropped: rtd_head"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("include: small-hours\nobjective: masked_lm")
    (found,) = resolve_phases(str(recipe), {}, vocab_size=100).values()
    assert (found.settings.clm_weight, len(lines)) == (0, 2)
    with pytest.raises(UserError, match="clm_weight is for objective=electra"):
        resolve_phases("small-hours", {**given, "clm_weight": "1"}, vocab_size=100)


def test_a_dropped_value_leaves_no_other_without_effect(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("include: small\nuniform_generator: true\nmask_keep_prob: 0.3")
    second.write_text(f"include: {first}")
    (found,) = resolve_phases(str(second), {"objective": "masked_lm"}, vocab_size=100).values()
    assert (found.settings.uniform_generator, found.settings.mask_keep_prob) == (False, 0.3)
    (found,) = resolve_phases(str(second), {}, vocab_size=100).values()
    assert (found.settings.uniform_generator, found.settings.mask_keep_prob) == (True, 0.15)


@pytest.mark.parametrize("key", ["generator_layers=0.5", "generator_heads=2", "gen_weight=2"])
def test_settings_of_its_own_generator_have_no_effect_with_another_s(key: str) -> None:
    name, _, value = key.partition("=")
    assert resolve_phases("small", {name: value}, vocab_size=100)
    with pytest.raises(UsageError, match=f"^{name} has no effect with --generator: remove it$"):
        resolve_phases("small", {name: value}, vocab_size=100, generator=Init("other"))


def test_a_recipe_s_generator_is_dropped_for_that_of_another_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(logging, "info", lambda text, *values: lines.append(text % values))
    resolved = resolve_phases("base", {}, vocab_size=100, generator=Init("other"))
    assert lines == ["No effect with --generator, dropped: generator_hidden_size"]
    (phase,) = in_order((name, each.settings) for name, each in resolved.items())
    own = resolve_phases("base", {}, vocab_size=100)[""].settings.generator_hidden_size
    assert phase.config.generator_hidden_size == 0.25 != own
    # A run that was started by an earlier version has it.
    (wanted,) = folder.with_foreign((phase,), {"hidden_size": 8})
    old = wanted._replace(config=dataclasses.replace(wanted.config, generator_hidden_size=own))
    assert keep_saved([wanted], [old]) == (old,)


def test_a_run_keeps_its_values_without_effect() -> None:
    resolved = resolve_phases("base", {"objective": "masked_lm"}, vocab_size=100)
    (phase,) = in_order((name, each.settings) for name, each in resolved.items())
    old = phase._replace(config=dataclasses.replace(phase.config, generator_hidden_size=0.3))
    assert keep_saved([phase], [old]) == (old,)
    electra = phase._replace(config=dataclasses.replace(phase.config, objective="electra"))
    assert keep_saved([electra], [old]) == (electra,)


@pytest.mark.parametrize("recipe", recipe_names("pretrain"))
def test_shipped_recipes_have_no_settings_without_effect(recipe: str) -> None:
    assert resolve_phases(recipe, {}, vocab_size=100)


def test_an_objective_has_defaults() -> None:
    (found,) = resolve_phases("small", {"objective": "joint"}, vocab_size=100).values()
    assert (found.settings.disc_weight, found.origin("disc_weight")) == (10, "objective=joint")
    given = {"objective": "joint", "disc_weight": "3"}
    (found,) = resolve_phases("small", given, vocab_size=100).values()
    assert found.settings.disc_weight == 3
