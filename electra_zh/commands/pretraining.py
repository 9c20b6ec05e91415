"""Commands that pretrain a model and evaluate it."""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import logging

from electra_zh import files, messages
from electra_zh.commands.command import Call, Command, RunSettings, print_next, print_plan
from electra_zh.commands.loading import choose_device, load_tensorflow, prepare_device
from electra_zh.errors import UsageError
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.phases import resolve_phases
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.runtime.device import NAMES, Device, require_jax
from electra_zh.runtime.targets import Target
from electra_zh.settings import Settings, load_recipe, setting
from electra_zh.text.settings import USUAL_SIZE

if TYPE_CHECKING:
    from electra_zh.data.manifest import WeightedFolder
    from electra_zh.pretraining.folder import Run
    from electra_zh.pretraining.planning.ahead import AheadEstimate
    from electra_zh.pretraining.planning.estimate import RunEstimate
    from electra_zh.pretraining.programs.compiling import CompiledPhase


def pretrain(call: Call[PretrainRequest]) -> int:
    """Pretrains a model."""
    from electra_zh.pretraining import folder
    from electra_zh.pretraining.running import driver

    if call.settings.program is None:
        found = folder.check_request(call.settings, call.overrides)
        if found and not call.dry_run and driver.is_finished(found, call.settings):
            _print_next(found)
            return 0
    device = call.settings.choose_device()
    if call.settings.program is not None:
        from electra_zh.pretraining.programs import train

        prepared = train.prepare(call.settings, call.overrides, device)
        if call.dry_run:
            print_plan(prepared.plan())
        else:
            train.train(prepared)
        return 0
    prepare_device(device)
    load_tensorflow(device, log_machine=True)
    from electra_zh.pretraining import run
    from electra_zh.pretraining.planning import budget

    prepared = run.prepare(call.settings, call.overrides, device=device)
    if not folder.is_run(call.settings.output):
        prepared = budget.plan(prepared)
    if call.dry_run:
        print_plan(prepared.plan())
    else:
        run.pretrain(prepared)
        _print_next(prepared.run)
    return 0


def _print_next(run: Run) -> None:
    model = ("--model", run.folder)
    print_next("finetune", *model, "--task", "TASK", "--data", "TASK_DATA", "--output", "TUNED")


def export_step(call: Call[PretrainRequest]) -> int:
    """Writes a new run with its lowered step."""
    from electra_zh.pretraining import folder
    from electra_zh.runtime import lowering

    require_jax("export-step")
    folder.check_request(call.settings, call.overrides)
    lowering.prepare()
    load_tensorflow()
    from electra_zh.pretraining import run
    from electra_zh.pretraining.programs import export

    # Not this machine's choice: precision=auto is bfloat16 on an accelerator.
    prepared = run.prepare(call.settings, call.overrides, device=Device("gpu"))
    if prepared.run.config.budget_hours:
        raise UsageError(
            "budget_hours measures the machine that trains: give num_train_steps to export a step"
        )
    if call.dry_run:
        print_plan(prepared.plan())
    else:
        export.export_step(prepared)
    return 0


@dataclasses.dataclass(frozen=True)
class Compile(Settings):
    """Settings of `electra-zh compile`, in addition to those of the run."""

    target: str = setting(
        meaning="devices to compile for: cpu:4, gpu:h100, gpu:a100:8, gpu:l4, tpu:v5e:2x2, ...",
        metavar="DEVICES",
        flags=("--for",),
    )
    config: str | None = setting(None, "recipe or .yaml file", metavar="RECIPE")
    program: str | None = setting(
        None, "run of `electra-zh export-step`, instead of a recipe", metavar="PROGRAM"
    )
    data: tuple[str, ...] = setting(
        (), "folders of build-data, for their vocabulary; made up by default", metavar="DIR"
    )
    output: str | None = setting(
        None, "folder that keeps the compiled step, for pretrain --compiled", metavar="DIR"
    )
    json: bool = setting(False, "print JSON")

    def check_together(self) -> None:
        """Checks the names."""
        if (self.config is None) == (self.program is None):
            raise UsageError("Give --config RECIPE or --program PROGRAM, one of them")
        if self.config is not None:
            load_recipe(self.config, kind="pretrain")
        Target.parse(self.target)


def compile_step(call: Call[Compile]) -> int:
    """Compiles a step for devices that this machine need not have."""
    settings, target = call.settings, Target.parse(call.settings.target)
    for found in _compiled(settings, call.overrides, target):
        _print(found, as_json=settings.json)
    return 0


def _print(found: CompiledPhase | RunEstimate | AheadEstimate, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found.to_dict()))
    else:
        messages.print_lines(found.lines())


def _compiled(
    settings: Compile, overrides: Mapping[str, Any], target: Target
) -> Iterator[CompiledPhase]:
    from electra_zh.pretraining.programs import compiling

    if settings.program is not None:
        output = settings.output
        yield from compiling.compile_program(settings.program, overrides, target, output=output)
        return
    from electra_zh.runtime import lowering

    data = _open_data(settings.data)
    lowering.prepare()
    load_tensorflow()
    assert settings.config is not None
    yield from compiling.compile_recipe(
        settings.config, overrides, target, data=data, output=settings.output
    )


def _open_data(words: Sequence[str]) -> tuple[WeightedFolder, ...]:
    """Returns the folders that --data names; an error if one cannot be opened."""
    from electra_zh.data.manifest import parse_folders
    from electra_zh.data.mixed_folders import open_sources

    folders = parse_folders(words, flag="--data")
    if folders:
        open_sources(folders)
    return folders


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(RunSettings):
    """Settings of `electra-zh evaluate`."""

    data: str = setting(meaning="folder of build-data, or of shards", metavar="DIR")
    batches: int = setting(0, "maximum batches to evaluate; 0: all", at_least=0)
    device: str = setting("auto", "device to evaluate on, as in pretrain", choices=NAMES)
    devices: int | None = setting(None, "number of devices to use; by default all", at_least=1)


def evaluate(call: Call[Evaluate]) -> int:
    """Evaluates a pretraining run on held-out data."""
    from electra_zh.data.source import open_data_source
    from electra_zh.pretraining import folder

    settings = call.settings
    run, step = folder.open_run(settings.model, checkpoint=settings.checkpoint)
    open_data_source(settings.data, default=run.vocabulary)
    device = choose_device(settings.device, settings.devices)
    load_tensorflow(device, log_machine=True)
    from electra_zh.pretraining.evaluate import evaluate_run

    results = evaluate_run(
        run, [settings.data], checkpoint=step, max_batches=settings.batches, device=device
    )
    if settings.json:
        print(json.dumps(results))
    else:
        width = max(map(len, results))
        for name, value in sorted(results.items()):
            print(f"{name:{width}s}  {value:8.4f}")
    return 0


@dataclasses.dataclass(frozen=True)
class Estimate(Settings):
    """Settings of `electra-zh estimate`, in addition to those of the run."""

    config: str = setting(meaning="recipe (nano, tiny, small, ...) or .yaml file", metavar="RECIPE")
    data: tuple[str, ...] = setting(
        (),
        "folders of build-data, for its epochs and vocabulary; random tokens by default",
        metavar="DIR[:WEIGHT]",
    )
    device: str = setting("auto", "device to measure, as in pretrain", choices=NAMES)
    devices: int | None = setting(None, "number of devices to use; by default all", at_least=1)
    seconds: float = setting(10.0, "time to measure a step for", above=0, metavar="SECONDS")
    target: str | None = setting(
        None,
        "devices that this machine need not have, as in compile: the step is compiled for them, "
        "not measured",
        metavar="DEVICES",
        flags=("--for",),
    )
    json: bool = setting(False, "print JSON")

    def check_together(self) -> None:
        """Checks the devices."""
        if self.target is None:
            return
        Target.parse(self.target).check_peak()
        if self.device != "auto" or self.devices is not None:
            raise UsageError("--for and --device exclude each other: --for names the devices")


def estimate(call: Call[Estimate]) -> int:
    """Estimates the size, memory, disk and time of a run, and measures its step."""
    settings = call.settings
    if settings.target is not None:
        return _estimate_ahead(call, Target.parse(settings.target))
    recipe_phases = resolve_phases(settings.config, call.overrides, vocab_size=USUAL_SIZE)
    configs = [each.settings for each in recipe_phases.values()]
    if settings.data:
        _open_data(settings.data)
    device = choose_device(settings.device, settings.devices)
    load_tensorflow(device)
    from electra_zh.pretraining import run
    from electra_zh.pretraining.planning import estimate as planning

    with tempfile.TemporaryDirectory() as folder:
        data, vocab = settings.data, None
        if not data:
            length = max(config.max_seq_length for config in configs)
            size = configs[0].model.vocab_size
            data = (files.join(folder, "data"),)
            vocab = planning.write_sample(data[0], vocab_size=size, max_seq_length=length)
        output = files.join(folder, "run")
        request = PretrainRequest(output=output, data=data, config=settings.config, vocab=vocab)
        prepared = run.prepare(request, call.overrides, device=device)
        logging.info("Compiling the step, then measuring it for %g s.", settings.seconds)
        found = planning.estimate(prepared, has_data=bool(settings.data), seconds=settings.seconds)
    _print(found, as_json=settings.json)
    return 0


def _estimate_ahead(call: Call[Estimate], target: Target) -> int:
    """Estimates a run on devices that this machine need not have."""
    settings = call.settings
    steps = Compile(target=settings.target or "", config=settings.config, data=settings.data)
    compiled = tuple(_compiled(steps, call.overrides, target))
    from electra_zh.pretraining.planning.ahead import AheadEstimate

    found = AheadEstimate(compiled)
    _print(found, as_json=settings.json)
    return 0


# Commands whose overrides are settings of a run.
_of_run = functools.partial(
    Command, overrides=PretrainConfig, prefixed=True, batch_size="train_batch_size"
)
COMMANDS = {
    "pretrain": _of_run(PretrainRequest, pretrain, common=("dry_run",)),
    "export-step": _of_run(PretrainRequest, export_step, common=("dry_run",)),
    "compile": _of_run(Compile, compile_step),
    "evaluate": Command(Evaluate, evaluate),
    "estimate": _of_run(Estimate, estimate),
}
