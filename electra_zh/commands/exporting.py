"""Models in the form of other tools, and the demo."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from electra_zh.commands.flags import add_command
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UserError

if TYPE_CHECKING:
    from electra_zh.commands.flags import Subparsers


def add(subparsers: Subparsers) -> None:
    """Adds the commands of this group."""
    _add_convert(subparsers)
    _add_demo(subparsers)


def _add_convert(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "convert",
        convert,
        summary="Write a model in the form of another tool.",
    )
    command.add_argument(
        "source",
        metavar="SOURCE",
        help="a run, a fine-tuned model, a folder of Hugging Face (ELECTRA or BERT), or a TF1 "
        "checkpoint of Google's code (folder or prefix)",
    )
    command.add_argument(
        "--to",
        required=True,
        choices=["huggingface", "google", "saved-model", "onnx"],
        help="folders that transformers loads, a TF1 checkpoint under the reference's names, "
        "a SavedModel or an ONNX file to serve",
    )
    command.add_argument("--output", required=True, help="the folder to write; must not exist")
    command.add_argument("--checkpoint", type=int, metavar="STEP", help="a kept step; the last")


def convert(args: argparse.Namespace) -> int:
    """Runs `electra-zh convert`."""
    from electra_zh import files

    if files.exists(args.output):
        raise UserError(f"{args.output} exists; choose another --output")
    files.check_output(args.output)
    load_tensorflow()
    from electra_zh.convert.forms import writers
    from electra_zh.convert.source import open_source

    weights = open_source(args.source, checkpoint=args.checkpoint)
    for line in weights.lines():
        print(line)
    for line in writers()[args.to].write(weights, args.output):
        print(line)
    return 0


def _add_demo(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "demo",
        demo,
        summary="Run the whole job on the sample corpus that ships with the package.",
    )
    command.add_argument("--output", default="demo", help="the folder to write (%(default)s)")


def demo(args: argparse.Namespace) -> int:
    """Runs `electra-zh demo`."""
    from electra_zh import demo as demo_job

    demo_job.run(args.output)
    return 0
