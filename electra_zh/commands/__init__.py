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


COMMANDS = {
    "clean": Entry("Clean a corpus before build-data.", "cleaning"),
    "build-vocab": Entry(
        "Learn a WordPiece vocabulary or a SentencePiece model from text.", "vocabulary"
    ),
    "build-data": Entry("Build pretraining data (TFRecord shards) from text.", "data"),
    "inspect": Entry(
        "Show pretraining data: counts, lengths, words, an example with its masking.", "inspection"
    ),
    "pretrain": Entry(
        "Pretrain a generator and a discriminator. Resumes if --output already holds the run.",
        "pretraining",
    ),
    "estimate": Entry(
        "Estimate a run's memory, disk and time, and measure its step in ten seconds.",
        "pretraining",
    ),
    "export-step": Entry(
        "Export a new run's training step, for machines with JAX and without TensorFlow.",
        "pretraining",
    ),
    "compile": Entry(
        "Compile a recipe's training step for GPUs or TPUs ahead of time: memory, operations.",
        "pretraining",
    ),
    "evaluate": Entry("Evaluate a pretraining run on held-out data.", "pretraining"),
    "fill-mask": Entry("Show the generator's predictions for [MASK].", "inspection"),
    "detect": Entry(
        "Show each token's probability of being a replacement, by the discriminator.", "inspection"
    ),
    "tasks": Entry(
        "List the fine-tuning tasks and groups, and whether their data is found.", "finetuning"
    ),
    "finetune": Entry(
        "Fine-tune on tasks and score them. Resumes if --output already holds results.",
        "finetuning",
    ),
    "predict": Entry("Label new data with a fine-tuned model.", "finetuning"),
    "submission": Entry(
        "Check test predictions and pack them for the CLUE leaderboard.", "finetuning"
    ),
    "results": Entry(
        "Print the scores of fine-tuning again, several results side by side, and CLUE's mean.",
        "reporting",
    ),
    "report": Entry(
        "Draw runs and results as one HTML page: curves, tables, scores, examples.", "reporting"
    ),
    "runs": Entry("List the pretraining runs below a folder, with their state.", "reporting"),
    "convert": Entry("Convert a model for another tool.", "conversion"),
    "configs": Entry("List recipes and settings, with the origin of each value.", "configs"),
    "doctor": Entry(
        "Check the installation and the machine: what is wrong, and what to do.", "doctor"
    ),
    "demo": Entry("Run every step on the sample corpus that ships with the package.", "demo"),
}


def load_command(name: str) -> Command:
    """Returns the command of a name, importing its module."""
    module = importlib.import_module(f"{__name__}.{COMMANDS[name].module}")
    command: Command = module.COMMANDS[name]
    return command
