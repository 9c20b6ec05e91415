"""Commands from text to pretraining data."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from electra_zh.commands.flags import (
    add_command,
    add_input_flags,
    add_tokenizer_flags,
    tokenizer_settings,
)
from electra_zh.commands.loading import load_tensorflow
from electra_zh.errors import UsageError, UserError, did_you_mean

if TYPE_CHECKING:
    from electra_zh.commands.flags import Subparsers
    from electra_zh.text.training import VocabularySettings
    from electra_zh.text.words.segmenter import WordSettings

_KINDS = ("wordpiece", "wordpiece-words", "sentencepiece")


def add(subparsers: Subparsers) -> None:
    """Adds the commands of this group."""
    _add_build_vocab(subparsers)
    _add_build_data(subparsers)


def _add_build_vocab(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "build-vocab",
        build_vocab,
        summary="Learn a WordPiece vocabulary or a SentencePiece model from text.",
    )
    add_input_flags(command)
    command.add_argument("--output", required=True, help="the vocabulary file to write")
    command.add_argument("--size", type=int, default=21128, help="number of tokens (%(default)s)")
    command.add_argument(
        "--kind",
        choices=_KINDS,
        default=_KINDS[0],
        help="wordpiece: a token for each ideograph (%(default)s is the default); wordpiece-words: "
        "the same, with pieces by tensorflow-text's learner, for text rich in Latin (minutes); "
        "sentencepiece: a model whose pieces are words and parts of phrases, Chinese too",
    )
    _add_sentencepiece_flags(command)
    command.add_argument("--overwrite", action="store_true", help="replace an existing file")
    add_tokenizer_flags(command)


def _add_sentencepiece_flags(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("for --kind sentencepiece")
    group.add_argument("--model-type", choices=["unigram", "bpe"], help="(unigram)")
    group.add_argument(
        "--character-coverage",
        type=float,
        metavar="SHARE",
        help="share of the text's characters that get pieces, 0.98 to 1 (0.9995)",
    )
    group.add_argument(
        "--byte-fallback",
        action="store_true",
        default=None,
        help="the other characters become bytes instead of [UNK]; takes 256 of the pieces",
    )
    group.add_argument(
        "--sentences", type=int, help="learn from so many, drawn at random (200000): bounds memory"
    )
    group.add_argument("--seed", type=int, help="what is drawn follows from it (0)")


def build_vocab(args: argparse.Namespace) -> int:
    """Runs `electra-zh build-vocab`."""
    from electra_zh import progress
    from electra_zh.data import documents, input_files
    from electra_zh.data.bad_lines import report_bad_lines
    from electra_zh.text.training import train_vocabulary

    settings = _vocabulary_settings(args)
    _check_vocabulary_name(args.output, overwrite=args.overwrite)
    inputs = input_files.find_inputs(args.input)
    units = documents.plan_units(inputs)
    readers = [
        documents.UnitReader(unit, text_field=args.text_field, strict=args.strict) for unit in units
    ]
    total = sum(unit.size for unit in units)
    with progress.show("build-vocab", total=total, unit=progress.BYTES) as bar:

        def blocks() -> Iterator[str]:
            for reader in readers:
                for block in reader:
                    yield block.text
                    bar.update(block.stored_bytes)

        if settings.kind == "wordpiece-words":
            load_tensorflow()
        trained = train_vocabulary(blocks(), settings, say=_say)
    trained.vocabulary.save(args.output)
    print(f"{args.output}: {trained.summary()}")
    logs = [reader.bad_lines for reader in readers]
    for bad in report_bad_lines(logs, [file.path for file in inputs]):
        print(f"skipped: {bad.count:,} lines, {bad.reason}, first {bad.first[0]}")
    return 0


def _check_vocabulary_name(output: str, *, overwrite: bool) -> None:
    """Checks, before all the text is read, that a file can be written under a name."""
    from electra_zh import files

    if not output:
        raise UserError("--output is empty; it names the vocabulary file to write")
    if files.is_dir(output):
        raise UserError(f"{output} is a folder; --output names the vocabulary file to write")
    if files.exists(output) and not overwrite:
        raise UserError(f"{output} exists; --overwrite replaces it")
    parent = os.path.dirname(output) or "."
    if not files.is_remote(output) and not files.is_dir(parent):
        what = "is a file" if files.exists(parent) else "does not exist"
        raise UserError(f"--output {output}: {parent} {what}, and must be a folder")


def _vocabulary_settings(args: argparse.Namespace) -> VocabularySettings:
    """Returns the settings that the flags give."""
    from electra_zh.text.training import VocabularySettings

    names = ("model_type", "character_coverage", "byte_fallback", "sentences", "seed")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return VocabularySettings(args.kind, args.size, tokenizer_settings(args), **given)


def _say(line: str) -> None:
    print(f"build-vocab: {line}", file=sys.stderr, flush=True)


def _add_build_data(subparsers: Subparsers) -> None:
    command = add_command(
        subparsers,
        "build-data",
        build_data,
        summary="Build pretraining data (TFRecord shards) from text.",
        aliases=["build_tfrecords"],
    )
    add_input_flags(command)
    command.add_argument(
        "--vocab", required=True, help="the vocabulary file, or a SentencePiece model"
    )
    command.add_argument("--output", required=True, help="the folder to write")
    command.add_argument(
        "--max-seq-length", type=int, default=128, help="tokens of a sequence (%(default)s)"
    )
    command.add_argument(
        "--packing",
        choices=["full", "reference"],
        default="full",
        help="full keeps every token; reference is the official example builder, which cuts off",
    )
    command.add_argument("--num-shards", type=int, help="chosen from the corpus unless given")
    command.add_argument("--gzip", action="store_true", help="compress the shards")
    command.add_argument(
        "--seed", type=int, default=0, help="same input and seed, same bytes (%(default)s)"
    )
    command.add_argument("--processes", type=int, help="worker processes; unless given, the cores")
    command.add_argument(
        "--holdout-every", type=int, help="keep one document in so many apart, in OUTPUT/heldout"
    )
    command.add_argument(
        "--map-punctuation",
        action="store_true",
        help="map punctuation that the vocabulary lacks (curly quotes, dashes, ellipsis) to ASCII",
    )
    command.add_argument("--overwrite", action="store_true", help="replace a finished folder")
    _add_cluster_flags(command)
    add_tokenizer_flags(command)
    _add_word_flags(command)


def _add_word_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--words",
        default="none",
        metavar="jieba|none|spaces|FILE",
        help="store where words begin, for runs that mask whole words: cut by jieba, at the spaces "
        "of the text, or by a file of words, one a line (%(default)s)",
    )
    command.add_argument(
        "--words-dict",
        action="append",
        default=[],
        metavar="FILE",
        help="further words for jieba, lines of: word [frequency] [tag]; may be repeated",
    )
    command.add_argument(
        "--no-hmm", action="store_true", help="jieba by its dictionary alone, without its model"
    )
    command.add_argument(
        "--check-words",
        type=int,
        metavar="N",
        help="have jieba itself cut one line in N as well, and report differences",
    )


def _word_settings(args: argparse.Namespace) -> WordSettings | None:
    """Returns how text is cut into words; None for data without words."""
    from electra_zh.text.words.segmenter import JIEBA, WordSettings

    given = {
        "--words-dict": bool(args.words_dict),
        "--no-hmm": args.no_hmm,
        "--check-words": args.check_words is not None,
    }
    for flag, is_given in given.items():
        if is_given and args.words != JIEBA:
            raise UsageError(
                f"{flag} is for --words {JIEBA} only; --words is {args.words}"
                f"{did_you_mean(args.words, [JIEBA])}"
            )
    if args.words == "none":
        return None
    return WordSettings(
        kind=args.words,
        hmm=not args.no_hmm,
        dictionaries=tuple(args.words_dict),
        check_every=args.check_words,
    )


def _add_cluster_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--runner",
        metavar="{local,dask}",
        default="local",
        help="who does the work: processes of this machine, or a Dask cluster (%(default)s)",
    )
    command.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="a running Dask scheduler (tcp://host:8786) or its scheduler file (.json); unless "
        "given, --runner dask starts --processes workers on this machine",
    )
    command.add_argument(
        "--part",
        metavar="i/n",
        help="do the i-th of n shares, for machines that share the output folder but no engine",
    )


def build_data(args: argparse.Namespace) -> int:
    """Runs `electra-zh build-data`."""
    from electra_zh import progress
    from electra_zh.data.build.run import build, build_part
    from electra_zh.data.build.settings import BuildSettings, Part
    from electra_zh.data.manifest import summary_lines

    settings = BuildSettings(
        inputs=tuple(args.input),
        output=args.output,
        vocabulary=args.vocab,
        max_seq_length=args.max_seq_length,
        packing=args.packing,
        num_shards=args.num_shards,
        gzip=args.gzip,
        seed=args.seed,
        tokenizer=tokenizer_settings(args),
        text_field=args.text_field,
        strict=args.strict,
        num_processes=args.processes,
        overwrite=args.overwrite,
        holdout_every=args.holdout_every,
        words=_word_settings(args),
        runner=args.runner,
        scheduler=args.scheduler,
        part=None if args.part is None else Part.parse(args.part),
    )
    if settings.part is None:
        lines = summary_lines(build(settings, show=progress.show))
    else:
        lines = [build_part(settings, show=progress.show)]
    for line in lines:
        print(line)
    return 0
