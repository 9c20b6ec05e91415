r"""Writes tasks for fine-tuning on a machine that has JAX but not TensorFlow.

    python scripts/experiments/gpu/lower_tasks.py --model tiny --vocab VOCAB --data TASKS \
        --tasks tnews,ocnli --output FOLDER [key=value ...]

key=value are settings of the tasks, as for `electra-zh finetune`. FOLDER has for each task its
programs (a training step and the outputs, at each padded length), the encoded rows of train and
dev, and the first weights of the head for each trial. `run_tasks.py` trains with it, and
`score_tasks.py` scores the outputs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from electra_zh.runtime import lowering

# Tokens that a further padded length must save in a trial: compiling it takes a GPU some 20 s.
_LENGTH_TOKENS, _MOST_LENGTHS = 10e6, 3
# A step of fewer tokens takes a GPU as long as one of these: it waits for the next operation.
_FEW_TOKENS = 4096
MANIFEST = "tasks.json"


def main() -> int:
    """Writes the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help="size: tiny, small, ...")
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--data", required=True, help="folder that contains the data sets")
    parser.add_argument("--tasks", required=True, type=lambda text: text.split(","))
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--trials", type=int, default=3, help="seeds to make heads for")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    lowering.prepare()
    from electra_zh.finetuning import registry
    from electra_zh.settings import load_recipe, parse_overrides

    overrides = parse_overrides(arguments.settings)
    start = _start(load_recipe(arguments.model, kind="model"), arguments.vocab)
    manifest: dict[str, Any] = {
        "model": dataclasses.asdict(start.model),
        "fresh": _fresh(start),
        "tasks": {},
    }
    for task in registry.load(arguments.tasks, overrides):
        manifest["tasks"][task.name] = _write(task, start, arguments)
        (arguments.output / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return 0


def _start(size: dict[str, Any], vocab: str) -> Any:
    """Returns a network of random weights of the size."""
    from electra_zh.finetuning.pretrained import Pretrained
    from electra_zh.models.config import ModelConfig
    from electra_zh.text.settings import TokenizerSettings
    from electra_zh.text.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(vocab)
    model = ModelConfig(vocab_size=vocabulary.size, **size)
    return Pretrained(vocab, model, vocabulary, TokenizerSettings())


def _fresh(start: Any) -> dict[str, Any]:
    """Returns for each weight of a new encoder its shape, mean and standard deviation."""
    from electra_zh.finetuning.model import TaskModel

    weights = TaskModel(start, {}, seed=0).weights()
    arrays = {name: variable.numpy() for name, variable in weights.items()}
    return {
        name: [value.shape, float(value.mean()) if np.ptp(value) == 0 else 0.0, float(value.std())]
        for name, value in arrays.items()
    }


def _write(task: Any, start: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    """Writes the files of a task and returns its entry of the manifest."""
    from electra_zh.finetuning import dataset, locate
    from electra_zh.finetuning.encoding import batches
    from electra_zh.finetuning.model import TaskModel
    from electra_zh.finetuning.predict import Predictor
    from electra_zh.finetuning.trainer import TaskTrainer

    found = locate.find(task, locate.folders_below(arguments.data))
    if reason := locate.why_missing(task, found, arguments.data):
        raise SystemExit(f"{task.name}: {reason}")
    limit = start.model.max_position_embeddings
    data = dataset.load(task, found, max_position_embeddings=limit, skip_bad=True)
    start = start.with_dropout(task.training.dropout)
    rows = {
        split: data.kind.encode(data.splits[split], start.make_tokenizer(), training=training)
        for split, training in (("train", True), ("dev", False))
    }
    for line in (*data.lines(), *rows["train"].notes):
        print(f"{task.name}: {line}")
    training = data.task.training
    if training.precision == "auto":
        training = dataclasses.replace(training, precision="bfloat16")
    trainer = TaskTrainer(
        start, {task.name: data.kind}, {task.name: rows["train"]}, training, what=task.name
    )
    size, eval_size = training.train_batch_size, training.eval_batch_size
    train_plan = batches.training_plan(rows["train"], batch_size=size, seed=0, epoch=0)
    lengths = _lengths(data.kind, rows["train"], train_plan, trainer.epochs)
    dev_plan = batches.evaluation_plan(rows["dev"], batch_size=eval_size)
    output_lengths = _lengths(data.kind, rows["dev"], dev_plan, trainer.epochs)
    folder = arguments.output / task.name
    for length in lengths:
        trainer.lower(task.name, length).save(str(folder / f"train-{length}"))
    predictor = Predictor(
        *(trainer.model, data.kind), batch_size=eval_size, precision=training.precision
    )
    for length in output_lengths:
        predictor.lower(rows["dev"], length).save(str(folder / f"outputs-{length}"))
    for split, each in rows.items():
        np.savez_compressed(folder / f"{split}.npz", **_compact(each))
    heads = {}
    for seed in range(arguments.trials):
        weights = TaskModel(start, {task.name: data.kind}, seed=seed).weights()
        heads |= {
            f"{seed}/{name}": variable.numpy()
            for name, variable in weights.items()
            if name.startswith("heads/")
        }
    np.savez_compressed(folder / "heads.npz", **heads)
    print(
        f"{task.name}: train {rows['train'].groups:,} in {trainer.num_train_steps:,} steps of "
        f"{size} padded to {lengths}, dev {rows['dev'].groups:,} padded to {output_lengths}",
        flush=True,
    )
    return {
        "task": dataclasses.replace(data.task, training=training).to_dict(),
        "learning_rate": trainer.hyper.learning_rate,
        "layerwise_lr_decay": trainer.hyper.layerwise_lr_decay,
        "epoch_steps": trainer.epoch_steps,
        "num_train_steps": trainer.num_train_steps,
        "lengths": lengths,
        "output_lengths": output_lengths,
        "files": {split: list(paths) for split, paths in found.paths.items()},
        "trials": arguments.trials,
    }


def _lengths(kind: Any, rows: Any, plan: list[np.ndarray], epochs: int) -> tuple[int, ...]:
    """Returns the lengths that the batches of a plan are padded to."""
    from electra_zh.finetuning.encoding import batches

    most, of_batch = int(rows.group_lengths.max()), len(plan[0]) * rows.group
    return batches.choose_lengths(
        np.repeat(batches.longest_rows(rows, plan), epochs),
        most=most,
        max_seq_length=kind.max_seq_length,
        cost=_LENGTH_TOKENS / of_batch,
        at_most=_MOST_LENGTHS if of_batch * most > _FEW_TOKENS else 1,
    )


def _compact(rows: Any) -> dict[str, np.ndarray]:
    """Returns the rows as arrays of small types; `run_tasks.read_rows` reads them."""
    arrays = {
        "ids": rows.ids,
        "lengths": rows.ends - rows.starts,
        "segments": rows.segments,
        "example": rows.example,
        "group": np.array(rows.group),
        **{f"per_token/{name}": value for name, value in rows.per_token.items()},
        **{f"per_group/{name}": value for name, value in rows.per_group.items()},
    }
    return {name: _small(value) for name, value in arrays.items()}


def _small(value: np.ndarray) -> np.ndarray:
    """Returns integers in the smallest type."""
    if value.dtype.kind not in "iu" or not value.size:
        return value
    least, most = (np.min_scalar_type(each) for each in (value.min(), value.max()))
    return value.astype(np.result_type(least, most))


if __name__ == "__main__":
    raise SystemExit(main())
