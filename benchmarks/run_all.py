"""All benchmarks one after the other, into one JSON file for the results page.

    python benchmarks/run_all.py --json FILE --vocab VOCAB --pairs AFQMC_TRAIN [--quick] TEXT...
    python benchmarks/run_all.py --json FILE --table

Each entry of the file has its command, the machine, versions and figures; `--table` prints them as
Markdown. A benchmark that fails is reported at the end, and the others run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def commands(args: argparse.Namespace) -> list[list[str]]:
    """Returns the benchmarks with their arguments."""
    whole = "500" if args.quick else "500,5000"
    found = [
        ["bench_startup.py"],
        ["bench_tokenizer.py", args.vocab, *args.text],
        ["bench_build.py", args.vocab, *args.text],
        ["bench_clean.py", *args.text],
        ["bench_memory.py", "--vocab", args.vocab, *args.text],
        ["bench_machine.py"],
        ["bench_step.py"],
        ["bench_masking.py"],
        ["bench_finetune.py", "--pairs", args.pairs],
        ["bench_finetune.py", "--pairs", args.pairs, "--whole", whole],
    ]
    if args.tuned:
        found.append(["bench_predict.py", "--model", args.tuned])
    return found


def rows(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the figures of an entry with the path of their names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from rows(inner, f"{name}, {key}" if name else str(key))
    else:
        yield name, value


def table(path: str) -> str:
    """Returns the figures of a file as Markdown."""
    lines = []
    for name, entry in json.loads(Path(path).read_text(encoding="utf-8")).items():
        machine = entry["machine"]
        facts = f"{machine['cpu']}, {machine['threads']} threads, commit {machine['commit']}"
        lines += [
            f"**{name}** (`{entry['command']}`; {facts})",
            "",
            "| what | figure |",
            "|---|---|",
        ]
        for what, figure in rows(entry["figures"]):
            shown = f"{figure:.4g}" if isinstance(figure, float) else figure
            lines.append(f"| {what} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Runs all benchmarks, or prints the table of their figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", nargs="*", help="files of the corpus")
    parser.add_argument("--json", required=True)
    parser.add_argument("--vocab")
    parser.add_argument("--pairs", default="", help="AFQMC's train.json")
    parser.add_argument("--tuned", help="a fine-tuned model, as bench_predict.py takes it")
    parser.add_argument("--quick", action="store_true", help="the short form of each")
    parser.add_argument("--table", action="store_true", help="print the figures of the file")
    args = parser.parse_args()
    if args.table:
        print(table(args.json))
        return
    if not args.vocab or not args.text:
        parser.error("give --vocab and files of text, or --table")
    failed = []
    for command in commands(args):
        name, *rest = command
        flags = ["--json", args.json, *(["--quick"] if args.quick else [])]
        print(f"== {name}", flush=True)
        if subprocess.run([sys.executable, str(FOLDER / name), *rest, *flags]).returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
