"""`predict` against transformers' pipeline with batches of similar length, as complete processes.

    python benchmarks/bench_predict.py --model FOLDER [--lines 100000] [--rounds 3] [--quick]
        [--json FILE]

FOLDER is a fine-tuned model of single texts, with an ElectraForSequenceClassification made of it by
`electra-zh convert FOLDER --to huggingface --output FOLDER/huggingface`. Lines are made of random
Chinese characters, as long as AFQMC's pairs. The peer sorts all lines by length, which is faster
than streaming them, and runs in float32; `predict` in the type of fine-tuning. A second run with a
quarter of the lines shows that memory does not grow.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile

import environment
from bench_finetune import make_pairs

BATCH = 64


def write_lines(path: str, count: int) -> None:
    """Writes lines of text."""
    with open(path, "w", encoding="utf-8") as file:
        for first, second, _ in make_pairs(count):
            file.write(f"{first}{second}\n")


def predict_peer(folder: str, source: str, output: str) -> None:
    """Labels the lines of a file with transformers' pipeline."""
    import json

    from transformers import pipeline

    with open(source, encoding="utf-8") as file:
        lines = file.read().splitlines()
    label = pipeline("text-classification", model=folder, device="cpu", batch_size=BATCH)
    order = sorted(range(len(lines)), key=lambda index: len(lines[index]))
    found: list[object] = [None] * len(lines)
    results = label([lines[index] for index in order], truncation=True, max_length=128)
    for index, result in zip(order, results, strict=True):
        found[index] = result
    with open(output, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(result, ensure_ascii=False) + "\n" for result in found)


def main() -> None:
    """Measures both in turn and prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="folder of the fine-tuned model")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    environment.add_flags(parser)
    parser.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        predict_peer(*args.peer)
        return
    if args.quick:
        args.lines, args.rounds = 4000, 1
    print(environment.header())
    found: dict[str, list[environment.Usage]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (args.lines // 4, args.lines):
            write_lines(f"{folder}/{count}.txt", count)
        for number in range(args.rounds):
            quarter = args.lines // 4
            for name, count in (("own", quarter), ("own", args.lines), ("peer", args.lines)):
                source, output = f"{folder}/{count}.txt", f"{folder}/{name}-{count}-{number}"
                command = [
                    *(sys.executable, "-m", "electra_zh", "predict", "--model", args.model),
                    *("--input", source, "--output", output, "--batch-size", str(BATCH)),
                ]
                if name == "peer":
                    command = [sys.executable, __file__, "--peer", f"{args.model}/huggingface"]
                    command += [source, output]
                usage, _ = environment.run_measured(command)
                found.setdefault(f"{name}, {count:,} lines", []).append(usage)
                print(name, count, usage, file=sys.stderr)
    medians = {
        name: environment.Usage(*map(statistics.median, zip(*taken, strict=True)))
        for name, taken in found.items()
    }
    for name, usage in medians.items():
        print(
            f"  {name:24s} {usage.seconds:8.1f} s {usage.cpu:8.1f} processor seconds "
            f"{usage.memory:6.0f} MiB"
        )
    environment.record(
        args.json, "predict", sys.argv, {name: usage._asdict() for name, usage in medians.items()}
    )


if __name__ == "__main__":
    main()
