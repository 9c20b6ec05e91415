"""Commands that pretrain a model and evaluate it."""

from __future__ import annotations

import dataclasses
import json

from electra_zh.commands.command import INTERRUPTED, Call, Command, RunSettings, print_plan
from electra_zh.commands.loading import load_tensorflow
from electra_zh.pretraining.config import PretrainConfig, parse_init
from electra_zh.settings import Settings, load_recipe, setting


@dataclasses.dataclass(frozen=True)
class Pretrain(Settings):
    """Settings of `electra-zh pretrain`, in addition to those of the run."""

    data: str = setting(meaning="folder of build-data, or of shards", metavar="DIR")
    output: str = setting(meaning="folder of the run", metavar="DIR")
    config: str | None = setting(
        None,
        "recipe (nano, tiny, small, ...) or .yaml file; not needed to resume",
        metavar="RECIPE",
    )
    eval_data: str | None = setting(
        None,
        "held-out data, evaluated at every checkpoint; a resumed run keeps what it had",
        metavar="DIR",
    )
    vocab: str | None = setting(
        None, "vocabulary file, for shards without a manifest", metavar="FILE"
    )
    init: str | None = setting(
        None,
        "model that a new run starts from: a run, a fine-tuned model, a Hugging Face folder or a "
        "TF1 checkpoint, ELECTRA or BERT; model=source takes its size too",
        metavar="SOURCE",
    )
    init_layers: str | None = setting(
        None, "layers to take from it: first:3, or 0,5,11", metavar="LAYERS"
    )
    keep_optimizer: bool = setting(
        False, "take the optimizer's moments from --init too; the steps start at 0"
    )


def pretrain(call: Call[Pretrain]) -> int:
    """Pretrains; the exit code is `INTERRUPTED` if a signal stopped it before its last step."""
    settings = call.settings
    if settings.config is not None:
        load_recipe(settings.config, kind="pretrain")
    start = parse_init(settings.init, settings.init_layers, keep_optimizer=settings.keep_optimizer)
    load_tensorflow()
    from electra_zh.pretraining import run

    prepared = run.prepare(
        output=settings.output,
        data=settings.data,
        recipe=settings.config,
        overrides=call.overrides,
        eval_data=settings.eval_data,
        vocab=settings.vocab,
        start=start,
    )
    if call.dry_run:
        print_plan(prepared.plan())
        return 0
    return 0 if run.pretrain(prepared) else INTERRUPTED


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluate(RunSettings):
    """Settings of `electra-zh evaluate`."""

    data: str = setting(meaning="folder of build-data, or of shards", metavar="DIR")
    batches: int = setting(0, "maximum batches to evaluate; 0: all", at_least=0)


def evaluate(call: Call[Evaluate]) -> int:
    """Evaluates a pretraining run on held-out data."""
    from electra_zh.pretraining import folder

    settings = call.settings
    run = folder.load(settings.model)
    load_tensorflow()
    from electra_zh.pretraining.evaluate import evaluate_run

    results = evaluate_run(
        run, settings.data, checkpoint=settings.checkpoint, max_batches=settings.batches
    )
    if settings.json:
        print(json.dumps(results))
    else:
        width = max(map(len, results))
        for name, value in sorted(results.items()):
            print(f"{name:{width}s}  {value:8.4f}")
    return 0


COMMANDS = {
    "pretrain": Command(
        Pretrain, pretrain, overrides=PretrainConfig, dry_run=True, batch_size="train_batch_size"
    ),
    "evaluate": Command(Evaluate, evaluate),
}
