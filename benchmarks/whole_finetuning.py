"""Fine-tuning from the command to the printed score, against transformers' Trainer.

Both start from the same folder of a model with random weights, read the same JSON lines, train with
the same batch size, epochs, rates and lengths, evaluate after each epoch, and print a score. What
is measured is the complete process: imports, tokenizing, tracing, compiling, saving.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import environment

LENGTH, BATCH, RATE = 128, 32, 3e-4
TASK = """
kind: classification
reader: json_lines
folders: [pairs]
files: {train: train.json, dev: dev.json}
fields: {text_a: sentence1, text_b: sentence2, label: label}
metric: accuracy
"""


def write_start(folder: str, name: str, tokens: list[str]) -> None:
    """Writes a model with random weights as transformers does, and its vocabulary."""
    from transformers import BertTokenizerFast, ElectraConfig, ElectraForSequenceClassification

    from electra_zh.settings import load_recipe

    size = load_recipe(name, kind="model")
    config = ElectraConfig(vocab_size=len(tokens), **size)
    ElectraForSequenceClassification(config).save_pretrained(folder)
    vocabulary = Path(folder, "vocab.txt")
    vocabulary.write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    BertTokenizerFast(str(vocabulary)).save_pretrained(folder)


def write_data(folder: str, pairs: list[tuple[str, str, int]]) -> None:
    """Writes pairs as a training set, and a fifth as many, at most 4,000, as development set."""
    Path(folder, "pairs").mkdir()
    Path(folder, "task.yaml").write_text(TASK, encoding="utf-8")
    held_out = min(len(pairs) // 6, 4000)
    for split, part in (("dev", pairs[:held_out]), ("train", pairs[held_out:])):
        with open(f"{folder}/pairs/{split}.json", "w", encoding="utf-8") as file:
            for first, second, label in part:
                fields = {"sentence1": first, "sentence2": second, "label": str(label)}
                file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def own_command(folder: str, output: str, precision: str, epochs: int) -> list[str]:
    """Returns the command of this project."""
    return [
        *(sys.executable, "-m", "electra_zh", "finetune", "--model", f"{folder}/model"),
        *("--task", f"{folder}/task.yaml", "--data", folder, "--output", output),
        *(f"train_batch_size={BATCH}", f"num_train_epochs={epochs}", f"learning_rate={RATE}"),
        *("layerwise_lr_decay=1", f"max_seq_length={LENGTH}", "dropout=0.1"),
        f"precision={precision}",
    ]


def peer_command(folder: str, output: str, precision: str, epochs: int) -> list[str]:
    """Returns the command of the peer, which is `train_peer` in this file."""
    return [sys.executable, __file__, folder, output, precision, str(epochs)]


COMMANDS = {"electra-zh": own_command, "Trainer": peer_command}


def train_peer(folder: str, output: str, precision: str, epochs: str) -> None:
    """Fine-tunes with transformers' Trainer and prints the accuracy."""
    import numpy as np
    from transformers import (
        AutoTokenizer,
        DataCollatorWithPadding,
        ElectraForSequenceClassification,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(f"{folder}/model")
    model = ElectraForSequenceClassification.from_pretrained(f"{folder}/model")

    def load(split: str) -> list[dict[str, Any]]:
        with open(f"{folder}/pairs/{split}.json", encoding="utf-8") as file:
            examples = [json.loads(line) for line in file]
        sides = [[example[name] for example in examples] for name in ("sentence1", "sentence2")]
        found = tokenizer(*sides, truncation=True, max_length=LENGTH)
        return [
            {**{name: found[name][index] for name in found}, "label": int(example["label"])}
            for index, example in enumerate(examples)
        ]

    arguments = TrainingArguments(
        output_dir=output,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        num_train_epochs=int(epochs),
        learning_rate=RATE,
        weight_decay=0.01,
        warmup_steps=0.1,  # a fraction
        bf16=precision == "bfloat16",
        use_cpu=True,
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        model,
        arguments,
        DataCollatorWithPadding(tokenizer),
        train_dataset=load("train"),
        eval_dataset=load("dev"),
        compute_metrics=lambda found: {
            "accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))
        },
    )
    trainer.train()
    trainer.save_model(output)
    print("accuracy", trainer.evaluate()["eval_accuracy"])


def measure(
    folder: str,
    model: str,
    tokens: list[str],
    pairs: list[tuple[str, str, int]],
    *,
    rounds: int,
    epochs: int,
    precisions: list[str],
) -> dict[str, dict[str, float]]:
    """Returns the medians of both in each type, whose runs take turns."""
    os.makedirs(folder)
    write_start(f"{folder}/model", model, tokens)
    random.Random(0).shuffle(pairs)
    write_data(folder, pairs)
    found: dict[str, list[environment.Usage]] = {}
    quiet = {"TOKENIZERS_PARALLELISM": "true", "OMP_WAIT_POLICY": "passive"}
    for number in range(rounds):
        for precision in precisions:
            for name, command in COMMANDS.items():
                output = f"{folder}/{name}-{precision}-{number}"
                usage, out = environment.run_measured(
                    command(folder, output, precision, epochs), environment=quiet
                )
                what = f"{name}, {precision}"
                found.setdefault(what, []).append(usage)
                print(
                    f"round {number + 1}: {what}: {usage}", out.splitlines()[-1:], file=sys.stderr
                )
    return {
        name: {
            "seconds": statistics.median(usage.seconds for usage in taken),
            "cpu": statistics.median(usage.cpu for usage in taken),
        }
        for name, taken in found.items()
    }


if __name__ == "__main__":
    train_peer(*sys.argv[1:])
