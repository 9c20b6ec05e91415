"""Commands that pretrain, and look at what a run has learnt."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from electra_zh.commands.flags import add_command
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UsageError, UserError
from electra_zh.settings import load_recipe, parse_overrides

if TYPE_CHECKING:
    from electra_zh.commands.flags import Subparsers
    from electra_zh.pretraining.folder import Run


def add(subparsers: Subparsers) -> None:
    """Adds the commands of this group."""
    _add_pretrain(subparsers)
    _add_evaluate(subparsers)
    _add_fill_mask(subparsers)
    _add_detect(subparsers)
    _add_inspect(subparsers)


def _add_pretrain(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "pretrain",
        pretrain,
        summary="Pretrain a generator and a discriminator; started again, it goes on.",
    )
    command.add_argument("--config", help="a recipe (nano, tiny, small, ...) or a .yaml file")
    command.add_argument("--data", required=True, help="folder of build-data, or of shards")
    command.add_argument("--output", required=True, help="the run's folder")
    command.add_argument("--eval-data", help="held-out data, evaluated at every checkpoint")
    command.add_argument("--vocab", help="vocabulary file, for shards without a manifest")
    command.add_argument(
        "--init",
        metavar="SOURCE",
        help="a new run starts with the weights of a run, a fine-tuned model, a folder of "
        "Hugging Face or a TF1 checkpoint, ELECTRA or BERT; model=source takes its size too",
    )
    command.add_argument(
        "--init-layers", metavar="LAYERS", help="only these of its layers: first:3, or 0,5,11"
    )
    command.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings, as mask_prob=0.2"
    )


def pretrain(args: argparse.Namespace) -> int:
    """Runs `electra-zh pretrain`; exit code 1 when a signal stopped it before its last step."""
    overrides = parse_overrides(args.overrides)
    if args.config is not None:
        load_recipe(args.config, kind="pretrain")
    from electra_zh.pretraining.config import parse_init

    start = parse_init(args.init, args.init_layers)
    load_tensorflow()
    from electra_zh.pretraining import run

    finished = run.pretrain(
        output=args.output,
        data=args.data,
        recipe=args.config,
        overrides=overrides,
        eval_data=args.eval_data,
        vocab=args.vocab,
        start=start,
    )
    return 0 if finished else 1


def _add_run_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("model", metavar="RUN", help="the folder of a pretraining run")
    command.add_argument("--checkpoint", type=int, metavar="STEP", help="a kept step; the last")
    command.add_argument("--json", action="store_true", help="print JSON")


def _load_run(args: argparse.Namespace) -> Run:
    from electra_zh.pretraining import folder

    run = folder.load(args.model)
    load_tensorflow()
    return run


def _add_evaluate(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "evaluate",
        evaluate,
        summary="Evaluate a pretraining run on data kept apart.",
    )
    _add_run_flags(command)
    command.add_argument("--data", required=True, help="folder of build-data, or of shards")
    command.add_argument("--batches", type=int, default=0, help="batches at most; 0: all")


def evaluate(args: argparse.Namespace) -> int:
    """Runs `electra-zh evaluate`."""
    run = _load_run(args)
    from electra_zh.pretraining.evaluate import evaluate_run

    results = evaluate_run(run, args.data, checkpoint=args.checkpoint, max_batches=args.batches)
    if args.json:
        print(json.dumps(results))
    else:
        width = max(map(len, results))
        for name, value in sorted(results.items()):
            print(f"{name:{width}s}  {value:8.4f}")
    return 0


def _add_fill_mask(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "fill-mask",
        fill_mask,
        summary="Show the generator's fills for [MASK].",
    )
    _add_run_flags(command)
    command.add_argument("text", nargs="*", help="sentences with [MASK]; none: standard input")
    command.add_argument(
        "--top", type=int, default=5, help="fills shown for each [MASK] (%(default)s)"
    )


def fill_mask(args: argparse.Namespace) -> int:
    """Runs `electra-zh fill-mask`."""
    run = _load_run(args)
    from electra_zh.pretraining import inference

    sentences = _sentences(args)
    for filled in inference.fill_mask(run, sentences, top=args.top, checkpoint=args.checkpoint):
        if args.json:
            fills = [[fill._asdict() for fill in slot] for slot in filled.fills]
            print(json.dumps({"text": filled.text, "fills": fills}, ensure_ascii=False))
            continue
        print(filled.text)
        for slot in filled.fills:
            print("   ", "  ".join(f"{fill.token} {fill.probability:.1%}" for fill in slot))
    return 0


def _add_detect(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "detect",
        detect,
        summary="Show each token's probability of having been replaced, by the discriminator.",
    )
    _add_run_flags(command)
    command.add_argument("text", nargs="*", help="sentences; none: standard input")


def detect(args: argparse.Namespace) -> int:
    """Runs `electra-zh detect`."""
    run = _load_run(args)
    from electra_zh.pretraining import inference

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for detected in inference.detect(run, _sentences(args), checkpoint=args.checkpoint):
        if args.json:
            print(json.dumps(detected._asdict(), ensure_ascii=False))
            continue
        pairs = list(zip(detected.tokens, detected.probabilities, strict=True))
        if colour:
            print(" ".join(_coloured(token, probability) for token, probability in pairs))
        else:
            print(" ".join(f"{token}:{probability:.2f}" for token, probability in pairs))
    return 0


def _coloured(token: str, probability: float) -> str:
    """Returns a token on a background that goes from none over yellow to red."""
    if probability < 0.1:
        return token
    code = "30;43" if probability < 0.5 else "97;41"
    return f"\x1b[{code}m{token}\x1b[0m\x1b[2m{probability:.0%}\x1b[0m"


def _sentences(args: argparse.Namespace) -> Iterator[str]:
    """Yields the sentences of the command line, or the lines of standard input."""
    if args.text:
        yield from args.text
        return
    if sys.stdin.isatty():
        print("Type sentences, one a line; Ctrl-D ends.", file=sys.stderr)
    for line in sys.stdin.buffer:
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise UserError("standard input is not UTF-8 text") from None
        if text:
            yield text


def _add_inspect(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "inspect",
        inspect,
        summary="Look into pretraining data: counts, lengths, words, an example with its masking.",
    )
    command.add_argument("data", metavar="DIR", help="folder of build-data, or of shards")
    command.add_argument("--vocab", help="vocabulary file, for shards without a manifest")
    command.add_argument(
        "--example",
        type=int,
        metavar="N",
        help="show one example, by its number from 0",
    )
    command.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="how the example is masked: masking (whole_word where the data has words), mask_prob, "
        "mask_keep_prob, mask_random_prob, seed",
    )
    command.add_argument("--json", action="store_true", help="print JSON")


def inspect(args: argparse.Namespace) -> int:
    """Runs `electra-zh inspect`."""
    overrides = parse_overrides(args.overrides)
    if overrides and args.example is None:
        raise UsageError(f"{next(iter(overrides))} says how an example is masked: add --example N")
    load_tensorflow()
    from electra_zh import progress
    from electra_zh.pretraining import inspect as look

    data = look.open_data(args.data, vocab=args.vocab)
    if args.example is None:
        counts = look.count(data, show=progress.show)
        if args.json:
            print(json.dumps(look.counts_json(counts)))
        else:
            print("\n".join(look.report(data, counts)))
        return 0
    shown = look.show_example(data, args.example, settings=overrides)
    if args.json:
        print(json.dumps(shown._asdict(), ensure_ascii=False))
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print("\n".join(look.example_lines(shown, colour=colour)))
    return 0
