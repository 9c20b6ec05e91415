"""Commands that pretrain a model and evaluate it."""

from __future__ import annotations

import dataclasses
import json

from electra_zh.commands.command import Call, Command, RunSettings, print_next, print_plan
from electra_zh.commands.loading import load_tensorflow
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.request import PretrainRequest
from electra_zh.settings import setting


def pretrain(call: Call[PretrainRequest]) -> int:
    """Pretrains a model."""
    device = call.settings.choose_device()
    if call.settings.program is not None:
        from electra_zh.pretraining.programs.train import train

        train(call.settings, call.overrides, device)
        return 0
    if device.found:
        from electra_zh.runtime import lowering

        lowering.prepare()
    load_tensorflow(log_machine=True)
    from electra_zh.pretraining import run

    prepared = run.prepare(call.settings, call.overrides, device=device)
    if call.dry_run:
        print_plan(prepared.plan())
    else:
        run.pretrain(prepared)
        model = ("--model", prepared.run.folder)
        print_next("finetune", *model, "--task", "TASK", "--data", "TASK_DATA", "--output", "TUNED")
    return 0


def export_step(call: Call[PretrainRequest]) -> int:
    """Writes a new run with its lowered step."""
    from electra_zh.runtime import lowering

    lowering.prepare()
    load_tensorflow()
    from electra_zh.pretraining import run
    from electra_zh.pretraining.programs import export

    prepared = run.prepare(call.settings, call.overrides)
    if call.dry_run:
        print_plan(prepared.plan())
    else:
        export.export_step(prepared)
    return 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(RunSettings):
    """Settings of `electra-zh evaluate`."""

    data: str = setting(meaning="folder of build-data, or of shards", metavar="DIR")
    batches: int = setting(0, "maximum batches to evaluate; 0: all", at_least=0)


def evaluate(call: Call[Evaluate]) -> int:
    """Evaluates a pretraining run on held-out data."""
    from electra_zh.pretraining import folder

    settings = call.settings
    run, step = folder.open_run(settings.model, checkpoint=settings.checkpoint)
    load_tensorflow(log_machine=True)
    from electra_zh.pretraining.evaluate import evaluate_run

    results = evaluate_run(run, [settings.data], checkpoint=step, max_batches=settings.batches)
    if settings.json:
        print(json.dumps(results))
    else:
        width = max(map(len, results))
        for name, value in sorted(results.items()):
            print(f"{name:{width}s}  {value:8.4f}")
    return 0


COMMANDS = {
    "pretrain": Command(
        PretrainRequest,
        pretrain,
        overrides=PretrainConfig,
        prefixed=True,
        common=("dry_run",),
        batch_size="train_batch_size",
    ),
    "export-step": Command(
        PretrainRequest,
        export_step,
        overrides=PretrainConfig,
        prefixed=True,
        common=("dry_run",),
        batch_size="train_batch_size",
    ),
    "evaluate": Command(Evaluate, evaluate),
}
