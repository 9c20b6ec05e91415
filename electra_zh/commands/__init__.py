"""The commands, by name. A command's module is imported when the command is called."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from electra_zh.commands.command import Command


class Entry(NamedTuple):
    """A command in the list of commands."""

    summary: str  # one line, for the help
    module: str  # name of its module in this package, whose `COMMANDS` has it
    group: str = "tools"  # heading in the list
    examples: tuple[str, ...] = ()  # the words after `electra-zh`


COMMANDS = {
    "clean": Entry(
        "Clean a corpus before build-data.",
        "cleaning",
        "data",
        ("clean corpus/ --output cleaned", "clean corpus/ --output cleaned --to-simplified"),
    ),
    "build-vocab": Entry(
        "Learn a WordPiece vocabulary or a SentencePiece model from text.",
        "vocabulary",
        "data",
        (
            "build-vocab cleaned/ --output vocab.txt --size 21128",
            "build-vocab cleaned/ --kind sentencepiece --size 32000 --output spm.model",
        ),
    ),
    "build-data": Entry(
        "Build pretraining data (TFRecord shards) from text.",
        "data",
        "data",
        (
            "build-data cleaned/ --vocab vocab.txt --output data --holdout-every 200",
            "build-data cleaned/ --vocab vocab.txt --output data --words jieba",
        ),
    ),
    "inspect": Entry(
        "Show pretraining data (counts, lengths, an example) or a model.",
        "inspection",
        "data",
        ("inspect data", "inspect data --example 3 masking=whole_word", "inspect data --check"),
    ),
    "pretrain": Entry(
        "Pretrain a model. Resumes if --output already holds the run.",
        "pretraining",
        "pretraining",
        (
            "pretrain --config small --data data --eval-data data/heldout --output run",
            "pretrain --config small --data data --output run --budget-hours 12",
            "pretrain --config base-domain --init SOURCE --data data --output run",
        ),
    ),
    "estimate": Entry(
        "Estimate a run's memory, disk and time; its step is measured.",
        "pretraining",
        "pretraining",
        ("estimate --config small", "estimate --config base --for gpu:h100:8"),
    ),
    "evaluate": Entry(
        "Evaluate a pretraining run on held-out data.",
        "pretraining",
        "pretraining",
        ("evaluate run --data data/heldout",),
    ),
    "fill-mask": Entry(
        "Show the generator's predictions for [MASK].",
        "inspection",
        "pretraining",
        ("fill-mask run 他把书放在桌子[MASK]。",),
    ),
    "detect": Entry(
        "Show each token's probability of being a replacement.",
        "inspection",
        "pretraining",
        ("detect run 孩子们在操场上踢足茶。",),
    ),
    "export-step": Entry(
        "Export a new run's step, for machines without TensorFlow.",
        "pretraining",
        "pretraining",
        ("export-step --config small --data data --output run",),
    ),
    "compile": Entry(
        "Compile a recipe's step for GPUs or TPUs: memory, operations.",
        "pretraining",
        "pretraining",
        ("compile --config base --for tpu:v5e:2x2",),
    ),
    "tasks": Entry(
        "List tasks and groups, and whether their data is found.",
        "finetuning",
        "tasks",
        ("tasks", "tasks --data clue_data"),
    ),
    "finetune": Entry(
        "Fine-tune on tasks and score them. Resumes in --output.",
        "finetuning",
        "tasks",
        (
            "finetune --model run --task tnews --data clue_data --output results",
            "finetune --model run --task clue --data clue_data --output results --trials 5",
        ),
    ),
    "predict": Entry(
        "Label new data with a fine-tuned model.",
        "finetuning",
        "tasks",
        ("predict --model results/tnews --input new.txt --output labels.jsonl",),
    ),
    "submission": Entry(
        "Check test predictions and pack them for the CLUE leaderboard.",
        "finetuning",
        "tasks",
        ("submission results --team NAME",),
    ),
    "results": Entry(
        "Print scores of fine-tuning side by side, with CLUE's mean.",
        "reporting",
        "reports",
        ("results tuned", "results tuned_a tuned_b --format markdown"),
    ),
    "report": Entry(
        "Draw runs and results as one HTML page.",
        "reporting",
        "reports",
        ("report run tuned --output report.html",),
    ),
    "runs": Entry(
        "List the pretraining runs below a folder, with their state.",
        "reporting",
        "reports",
        ("runs .",),
    ),
    "embed": Entry(
        "Write a vector per line of text to a NumPy file.",
        "embedding",
        "tools",
        ("embed run texts.txt --output vectors.npy", "embed hf - --output x.npy --pool cls"),
    ),
    "convert": Entry(
        "Convert a model for another tool.",
        "conversion",
        "tools",
        ("convert run --to huggingface --output hf",),
    ),
    "configs": Entry(
        "List recipes and settings, with the origin of each value.",
        "configs",
        "tools",
        ("configs", "configs small learning_rate=1e-4", "configs build-data"),
    ),
    "doctor": Entry(
        "Check the installation and the machine, and say what to do.",
        "doctor",
        "tools",
        ("doctor", "doctor --folder /data --json"),
    ),
    "completion": Entry(
        "Print the shell's completion of commands and flags.",
        "completion",
        "tools",
        ("completion bash > ~/.local/share/bash-completion/completions/electra-zh",),
    ),
    "demo": Entry(
        "Run every step on the sample corpus that ships with the package.",
        "demo",
        "tools",
        ("demo --output demo",),
    ),
}


def load_command(name: str) -> Command:
    """Returns the command of a name, importing its module."""
    module = importlib.import_module(f"{__name__}.{COMMANDS[name].module}")
    command: Command = module.COMMANDS[name]
    return command
