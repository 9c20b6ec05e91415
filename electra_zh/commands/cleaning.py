"""The command that cleans a corpus."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from electra_zh.commands.flags import add_command, add_input_flags

if TYPE_CHECKING:
    from electra_zh.commands.flags import Subparsers

# Flag, type and help of each rule; its default is that of the setting.
_RULES = (
    ("--max-replacement", float, "a line with a larger share of U+FFFD goes, else U+FFFD goes"),
    ("--min-line", int, "lines with fewer characters go"),
    ("--max-line", int, "lines with more characters go"),
    ("--min-line-chinese", float, "lines with a smaller share of Chinese characters go"),
    ("--max-line-symbols", float, "lines with a larger share of symbols, digits, punctuation go"),
    ("--max-run", int, "lines that repeat 1 to 4 characters over more characters go"),
    ("--repeated-lines", int, "lines this long that stood in their document before go"),
    ("--boilerplate", int, "lines in more documents go, everywhere"),
    ("--duplicate-lines", int, "lines this long that stood in the corpus before go"),
    ("--min-document", int, "documents with fewer characters left go"),
    ("--min-document-chinese", float, "documents with a smaller share of Chinese go"),
    ("--max-document-repeats", float, "documents with a larger share of repeated lines go"),
)


def add(subparsers: Subparsers) -> None:
    """Adds the commands of this group."""
    command = add_command(subparsers, "clean", clean, summary="Clean a corpus before build-data.")
    add_input_flags(command)
    command.add_argument("--output", required=True, help="the folder to write")
    command.add_argument(
        "--compress", default="none", help="gz or zst: compress the text (%(default)s)"
    )
    command.add_argument(
        "--unicode",
        default="nfc",
        help="nfc, nfkc (makes full-width punctuation ASCII) or none (%(default)s)",
    )
    command.add_argument(
        "--to-simplified", action="store_true", help="turn traditional characters simplified"
    )
    _add_rules(command)
    command.add_argument("--processes", type=int, help="worker processes; unless given, the cores")
    command.add_argument("--overwrite", action="store_true", help="replace cleaned text")


def _add_rules(command: argparse.ArgumentParser) -> None:
    from electra_zh.data.cleaning.settings import CleanSettings

    rules = command.add_argument_group(
        "rules",
        "A length or count of 0, a min share of 0 and a max share of 1 switch the rule off.",
    )
    for flag, kind, text in _RULES:
        default = getattr(CleanSettings, flag[2:].replace("-", "_"))
        rules.add_argument(flag, type=kind, default=default, help=f"{text} (%(default)s)")
    rules.add_argument(
        "--keep-duplicates", action="store_true", help="keep documents that stood there before"
    )
    rules.add_argument(
        "--near-duplicates",
        type=float,
        metavar="SIMILARITY",
        help="documents at least so similar to an earlier one go, as 0.8",
    )
    rules.add_argument(
        "--decontaminate",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="evaluation data (.json, .jsonl, .tsv, .txt): documents with a stretch of it go",
    )
    rules.add_argument(
        "--ngram",
        type=int,
        default=13,
        help="length of that stretch in ideographs and words (%(default)s)",
    )
    rules.add_argument(
        "--common-ngrams",
        type=int,
        default=10,
        help="stretches in more documents of the corpus are ignored (%(default)s)",
    )


def clean(args: argparse.Namespace) -> int:
    """Runs `electra-zh clean`."""
    from electra_zh import progress
    from electra_zh.data.cleaning import run
    from electra_zh.data.cleaning.report import summary_lines
    from electra_zh.data.cleaning.settings import CleanSettings

    settings = CleanSettings(
        inputs=tuple(args.input),
        output=args.output,
        unicode=args.unicode,
        to_simplified=args.to_simplified,
        max_replacement=args.max_replacement,
        min_line=args.min_line,
        max_line=args.max_line,
        min_line_chinese=args.min_line_chinese,
        max_line_symbols=args.max_line_symbols,
        max_run=args.max_run,
        repeated_lines=args.repeated_lines,
        boilerplate=args.boilerplate,
        duplicate_lines=args.duplicate_lines,
        min_document=args.min_document,
        min_document_chinese=args.min_document_chinese,
        max_document_repeats=args.max_document_repeats,
        keep_duplicates=args.keep_duplicates,
        near_duplicates=args.near_duplicates,
        decontaminate=tuple(args.decontaminate),
        ngram=args.ngram,
        common_ngrams=args.common_ngrams,
        compress=args.compress,
        text_field=args.text_field,
        strict=args.strict,
        num_processes=args.processes,
        overwrite=args.overwrite,
    )
    for line in summary_lines(run.clean(settings, show=progress.show)):
        print(line)
    return 0
