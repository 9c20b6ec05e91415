"""Fine-tuning on short text pairs against transformers' Trainer, and against padding to 128.

    python benchmarks/bench_finetune.py [--models tiny,small] [--pairs train.json] [--rounds 5]
        [--examples 2000] [--batch 32] [--precision bfloat16] [--quick] [--json FILE]
    python benchmarks/bench_finetune.py --whole 500,5000 [--pairs train.json] [--rounds 3]
        [--epochs 3] [--precision bfloat16]

`--whole` measures complete processes, from the command to the score (whole_finetuning.py): each in
float32, and in bfloat16 too if asked for. Ratios in brackets are of processor time.

The work is the same for all: the same pairs and token ids, a classifier of two labels with random
weights of the same size, dropout 0.1, batch 32, weights float32, forward, backward, clip, update.
Variants: batches of similar length padded to one of a few lengths (the default of `electra-zh
finetune`), everything padded to 128, and transformers' Trainer, which pads to a batch's longest,
with random batches and batches of similar length; with bfloat16 the Trainer runs in float32 too.

Pairs are JSON lines with sentence1, sentence2, label, as CLUE's AFQMC has them, or are made of
random Chinese characters, as long as AFQMC's. A turn is one variant in a separate process; in
each round every variant has one. A turn has two figures:

- from the start: everything from making the network to the end of the first epoch, tracing and
  compiling included; imports and tokenization are not;
- warm: the epochs after it, when every shape is compiled. `start` is the extra time of the first
  epoch.

Printed: medians of the rounds, and ratios within this run. PyTorch's threads wait for each other by
spinning, so that on a busy machine the Trainer is slowed down most; OMP_WAIT_POLICY=passive helps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import environment
import numpy as np
import whole_finetuning

if TYPE_CHECKING:
    from electra_zh.finetuning.encoding.batches import EncodedSplit
    from electra_zh.finetuning.kinds.base import TaskKind
    from electra_zh.finetuning.pretrained import Pretrained

# A gamma distribution with the quantiles of AFQMC's training pairs, special tokens included: mean
# 29.6, and 19, 23, 27, 33, 48, 67 tokens at 5, 25, 50, 75, 95, 99 %; none is longer than 128.
SHAPE, SCALE, LEAST, LONGEST = 1.218, 9.114, 18.46, 128
VOCAB = 21128
BUCKETED, PADDED = "electra-zh, by length", "electra-zh, padded to 128"
RANDOM, GROUPED = "Trainer", "Trainer, by length"


class Setting(NamedTuple):
    """Settings of a turn, in addition to its variant."""

    model: str  # name of a model recipe
    rows: str  # path of the tokenized pairs
    examples: int  # pairs of an epoch
    batch: int  # pairs of a step
    epochs: int  # warm epochs of a turn


class Turn(NamedTuple):
    """Figures of a turn."""

    first: float  # seconds from making the network to the end of the first epoch
    warm: float  # median seconds of the epochs after it
    positions: float  # computed for an example, padding included, on average
    shapes: int  # different lengths of batches


def vocabulary_tokens() -> list[str]:
    """Returns 21128 tokens: the special ones, ASCII alone and as pieces, and Chinese characters."""
    ascii_tokens = [chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper()]
    pieces = [f"##{token}" for token in ascii_tokens if token.isalnum()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ascii_tokens, *pieces]
    chinese = [chr(code) for code in range(0x4E00, 0x9FA6)]
    tokens = [*tokens, "，", "。", "？", "！", *chinese][:VOCAB]
    return [*tokens, *(f"[unused{number}]" for number in range(VOCAB - len(tokens)))]


def make_pairs(count: int) -> list[tuple[str, str, int]]:
    """Returns pairs of texts of random characters, and labels."""
    generator = np.random.default_rng(0)
    lengths = np.rint(LEAST + generator.gamma(SHAPE, SCALE, count)).astype(int)
    pairs = []
    for length in np.minimum(lengths, LONGEST) - 3:
        text = "".join(map(chr, generator.integers(0x4E00, 0x9FA6, length)))
        cut = int(np.clip(generator.binomial(length, 0.5), 1, length - 1))
        pairs.append((text[:cut], text[cut:], int(generator.integers(2))))
    return pairs


def read_pairs(path: str, count: int) -> list[tuple[str, str, int]]:
    """Returns the first pairs of a file of JSON lines."""
    pairs = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            fields = json.loads(line)
            pairs.append((fields["sentence1"], fields["sentence2"], int(fields["label"])))
            if len(pairs) == count:
                return pairs
    raise SystemExit(f"{path} has {len(pairs):,} pairs; --examples asks for {count:,}")


def write_rows(path: str, pairs: list[tuple[str, str, int]]) -> None:
    """Tokenizes pairs and writes them, so that no turn has to."""
    from electra_zh.finetuning.encoding.sequences import RaggedTokens, build_pairs
    from electra_zh.text.settings import TokenizerSettings
    from electra_zh.text.vocabulary import Vocabulary
    from electra_zh.text.wordpiece.tokenizer import WordPieceTokenizer

    vocabulary = Vocabulary(vocabulary_tokens())
    tokenizer = WordPieceTokenizer(vocabulary, TokenizerSettings())
    first, second, labels = zip(*pairs, strict=True)
    sides = [tokenizer.encode_batch(side) for side in (first, second)]
    built = build_pairs(
        *(RaggedTokens(side.ids, side.text_ends) for side in sides),
        cls_id=vocabulary.cls_id,
        sep_id=vocabulary.sep_id,
        max_seq_length=LONGEST,
    )
    label = np.array(labels, np.int32)
    np.savez(path, **built._asdict(), example=np.arange(len(label)), label=label)


def read_rows(path: str) -> EncodedSplit:
    """Returns the rows that `write_rows` wrote."""
    from electra_zh.finetuning.encoding.batches import EncodedSplit

    with np.load(path) as saved:
        arrays = {name: saved[name] for name in saved.files}
    return EncodedSplit(per_group={"label": arrays.pop("label")}, **arrays)


def make_start(name: str) -> tuple[Pretrained, TaskKind[Any, Any]]:
    """Returns a start with random weights, and the kind of a task of pairs."""
    from electra_zh.finetuning.kinds.classification import Classification
    from electra_zh.finetuning.pretrained import Pretrained
    from electra_zh.finetuning.tasks import Labels, TaskConfig
    from electra_zh.models.config import ModelConfig
    from electra_zh.settings import build_settings, load_recipe
    from electra_zh.text.settings import TokenizerSettings
    from electra_zh.text.vocabulary import Vocabulary

    size = {**load_recipe(name, kind="model"), "vocab_size": VOCAB}
    model = build_settings(ModelConfig, size, where=name)
    vocabulary = Vocabulary(vocabulary_tokens())
    start = Pretrained("", model, vocabulary, TokenizerSettings())
    task = TaskConfig("pairs", "classification", "", "accuracy", labels=Labels(("0", "1")))
    return start, Classification(task, max_seq_length=LONGEST)


def tensorflow_turn(setting: Setting, precision: str, *, by_length: bool) -> Turn:
    """Trains as `electra-zh finetune` does, without evaluation."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    from electra_zh import machine

    machine.set_up()
    from electra_zh.finetuning.encoding.batches import bucket
    from electra_zh.finetuning.tasks import Training
    from electra_zh.finetuning.trainer import TaskTrainer

    start, kind = make_start(setting.model)
    rows, name = read_rows(setting.rows), kind.task.name
    training = Training(
        train_batch_size=setting.batch,
        num_train_epochs=1 + setting.epochs,
        bucket_by_length=by_length,
        precision=precision,  # type: ignore[arg-type]
        keep_best=False,
    )

    def padded(groups: np.ndarray) -> int:
        return bucket(int(rows.group_lengths[groups].max()), trainer.lengths[name])

    begin = time.perf_counter()
    trainer = TaskTrainer(start, {name: kind}, {name: rows}, training, what="benchmark")
    trainer.reset(0)
    seconds: list[float] = []
    lengths: list[int] = []
    for epoch in range(1 + setting.epochs):
        plan = trainer.plan(0, epoch)
        if epoch:
            # Lengths that no epoch before this one had are traced before the clock starts.
            new = {padded(groups): groups for _, groups in plan if padded(groups) not in lengths}
            for groups in new.values():
                trainer.train_step(name, groups)
            begin = time.perf_counter()
        for task, groups in plan:
            float(trainer.train_step(task, groups))
        seconds.append(time.perf_counter() - begin)
        lengths.extend(padded(groups) for _, groups in plan)
    warm = statistics.median(seconds[1:])
    return Turn(seconds[0], warm, statistics.mean(lengths), len(set(lengths)))


def trainer_turn(setting: Setting, precision: str, *, by_length: bool) -> Turn:
    """Trains with transformers' Trainer, which logs, saves and evaluates nothing."""
    from transformers import (
        BertTokenizer,
        DataCollatorWithPadding,
        ElectraConfig,
        ElectraForSequenceClassification,
        Trainer,
        TrainerCallback,
    )

    from electra_zh.settings import load_recipe

    size = load_recipe(setting.model, kind="model")
    examples = peer_examples(read_rows(setting.rows))
    pad = DataCollatorWithPadding(BertTokenizer())  # only its [PAD] is used, which is 0
    lengths: list[int] = []
    begins: list[float] = []
    ends: list[float] = []

    def collate(features: list[dict[str, Any]]) -> Any:
        batch = pad(features)
        lengths.append(batch["input_ids"].shape[1])
        return batch

    class Clock(TrainerCallback):
        """Notes when each epoch begins and ends."""

        def on_epoch_begin(self, *args: Any, **kwargs: Any) -> None:
            begins.append(time.perf_counter())

        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        arguments = peer_arguments(setting, precision, by_length=by_length, folder=folder)
        begin = time.perf_counter()
        settings = ElectraConfig(vocab_size=VOCAB, attn_implementation="sdpa", **size)
        model = ElectraForSequenceClassification(settings)
        Trainer(model, arguments, collate, train_dataset=examples, callbacks=[Clock()]).train()
    seconds = [end - start for start, end in zip(begins, ends, strict=True)]
    warm = statistics.median(seconds[1:])
    return Turn(ends[0] - begin, warm, statistics.mean(lengths), len(set(lengths)))


def peer_examples(rows: EncodedSplit) -> list[dict[str, Any]]:
    """Returns the rows as the Trainer takes them; a plain list is its fastest data set."""
    return [
        {
            "input_ids": rows.ids[begin:end].tolist(),
            "token_type_ids": rows.segments[begin:end].tolist(),
            "attention_mask": [1] * int(end - begin),
            "label": int(label),
        }
        for begin, end, label in zip(rows.starts, rows.ends, rows.per_group["label"], strict=True)
    ]


def peer_arguments(setting: Setting, precision: str, *, by_length: bool, folder: str) -> Any:
    """Returns the Trainer's arguments: its own AdamW, clip and schedule, and nothing but steps."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=setting.batch,
        num_train_epochs=1 + setting.epochs,
        learning_rate=3e-4,
        weight_decay=0.01,
        bf16=precision == "bfloat16",
        use_cpu=True,
        train_sampling_strategy="group_by_length" if by_length else "random",
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def measure(
    variants: list[tuple[str, str]], setting: Setting, *, rounds: int
) -> dict[tuple[str, str], Turn]:
    """Returns the medians of each variant over rounds in which they take turns."""
    turns: dict[tuple[str, str], list[Turn]] = {variant: [] for variant in variants}
    for number in range(rounds):
        for variant in variants:
            task = json.dumps([*variant, setting])
            command = [sys.executable, __file__, "--work", task]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                raise SystemExit(f"{', '.join(variant)}: the process ended\n{result.stderr}")
            turn = Turn(*json.loads(result.stdout.splitlines()[-1]))
            print(f"round {number + 1}: {', '.join(variant)}: {turn}", file=sys.stderr, flush=True)
            turns[variant].append(turn)
    return {
        variant: Turn(*(statistics.median(values) for values in zip(*taken, strict=True)))
        for variant, taken in turns.items()
    }


def report(setting: Setting, precision: str, turns: dict[tuple[str, str], Turn]) -> None:
    """Prints one model's table."""
    peers = [turn for (name, _), turn in turns.items() if name in (RANDOM, GROUPED)]
    padded = turns[PADDED, precision]
    print(f"\n{setting.model}: {setting.examples:,} pairs per epoch, batch {setting.batch}")
    print(f"{'':37s} {'examples/s':>10s} {'from the start':>14s} {'start':>8s} {'positions':>9s}")
    for (name, own), turn in turns.items():
        print(
            f"  {name:26s}{own:8s} {setting.examples / turn.warm:10.1f} "
            f"{setting.examples / turn.first:14.1f} {turn.first - turn.warm:6.1f} s "
            f"{turn.positions:9.1f}  ({turn.shapes:g} lengths)"
        )
    bucketed = turns[BUCKETED, precision]
    for what, warm, first in (
        (PADDED, padded.warm, padded.first),
        ("fastest Trainer", min(t.warm for t in peers), min(t.first for t in peers)),
    ):
        print(
            f"  {BUCKETED} is {warm / bucketed.warm:.2f} x {what} "
            f"({first / bucketed.first:.2f} x from the start)"
        )


def measure_whole(args: argparse.Namespace) -> None:
    """Measures complete processes for each number of pairs and prints a table."""
    for count in map(int, args.whole.split(",")):
        # A sixth is held out as the development set.
        needed = count + min(count // 5, 4000)
        pairs = read_pairs(args.pairs, needed) if args.pairs else make_pairs(needed)
        with tempfile.TemporaryDirectory() as folder:
            found = whole_finetuning.measure(
                *(f"{folder}/work", args.models, vocabulary_tokens(), pairs),
                rounds=args.rounds,
                epochs=args.epochs or 3,
                precisions=list(dict.fromkeys(("float32", args.precision))),
            )
        print(f"\n{args.models}: {count:,} pairs, {args.epochs or 3} epochs, to the score")
        peers = {name: usage for name, usage in found.items() if name.startswith("Trainer")}
        for name, usage in found.items():
            ratios = "".join(
                f"; {peer['seconds'] / usage['seconds']:.2f} x {of}"
                f" ({peer['cpu'] / usage['cpu']:.2f})"
                for of, peer in peers.items()
                if name not in peers
            )
            print(f"  {name:22s} {usage['seconds']:8.1f} s {usage['cpu']:8.1f} processor s{ratios}")
        environment.record(args.json, f"finetune whole {args.models} {count}", sys.argv, found)


def main() -> None:
    """Measures the models one after the other and prints a table for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="tiny")
    parser.add_argument("--pairs", default="", help="JSON lines; made pairs by default")
    parser.add_argument("--examples", type=int, default=2000, help="pairs per epoch")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--epochs", type=int, help="epochs of a process (3), or warm ones of a turn (1)"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--whole", default="", help="numbers of pairs, as 500,5000")
    environment.add_flags(parser)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        variant, precision, setting = json.loads(args.work)
        take = tensorflow_turn if variant in (BUCKETED, PADDED) else trainer_turn
        by_length = variant in (BUCKETED, GROUPED)
        print(json.dumps(take(Setting(*setting), precision, by_length=by_length)))
        return
    print(environment.header())
    if args.quick:
        args.rounds, args.examples = 1, 256
    if args.whole:
        measure_whole(args)
        return
    variants = [(BUCKETED, args.precision), (PADDED, args.precision)]
    for precision in dict.fromkeys(("float32", args.precision)):
        variants += [(RANDOM, precision), (GROUPED, precision)]
    with tempfile.TemporaryDirectory() as folder:
        rows = f"{folder}/rows.npz"
        count = args.examples
        write_rows(rows, read_pairs(args.pairs, count) if args.pairs else make_pairs(count))
        for model in args.models.split(","):
            setting = Setting(model, rows, count, args.batch, args.epochs or 1)
            turns = measure(variants, setting, rounds=args.rounds)
            report(setting, args.precision, turns)
            figures = {", ".join(variant): turn._asdict() for variant, turn in turns.items()}
            environment.record(args.json, f"finetune {model}", sys.argv, figures)


if __name__ == "__main__":
    main()
