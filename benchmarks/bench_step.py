"""The whole pretraining step against transformers + PyTorch, and against the machine's ceiling.

    python benchmarks/bench_step.py [--models tiny,small] [--rounds 5] [--steps 4] [--compiled]
        [--types float32,bfloat16] [--quick] [--json FILE]

Everything counted is the same work: masking, generator, vocabulary logits at the masked positions
only, sampling, discriminator, backward, clip, update; batch 32, length 128, dropout 0.1, weights
float32. The peer is ElectraForMaskedLM and ElectraForPreTraining with shared embeddings, scaled
dot product attention, fused AdamW, in float32 and under bfloat16 autocast; `--compiled` adds
torch.compile. Each variant runs in a separate process and they take turns, round by round, so
that a noisy moment affects all. A variant that is still warming up after `--patience` seconds is
hopeless: it is stopped and listed as such. Printed: medians of the rounds, and ratios within this
run.

The ceiling is a 2048^3 matrix product in the same run; the step's fraction of it counts the
floating-point operations of the matrix products alone, and only those that a variant computes:
electra-zh computes the generator's last layer at the masked positions alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import environment

from electra_zh import machine

BATCH, LENGTH, VOCAB, PREDICTIONS = 32, 128, 21128, 19
SIZE = 2048


def read_size(name: str) -> dict[str, int]:
    """Returns the model recipe's numbers and the generator's width as `generator`."""
    from electra_zh.settings import load_recipe

    size = load_recipe(name, kind="model")
    fraction = load_recipe(name, kind="pretrain").get("generator_hidden_size", 0.25)
    return {**size, "generator": round(size["hidden_size"] * fraction)}


def step_gflop(name: str, *, all_positions: bool) -> float:
    """Returns the 10^9 floating-point operations of a step's matrix products.

    Without `all_positions` the generator's last layer computes the masked positions alone, apart
    from keys and values.
    """
    size = read_size(name)
    tokens, masked = BATCH * LENGTH, BATCH * PREDICTIONS
    embedding, layers = size["embedding_size"], size["num_hidden_layers"]

    def network(width: int, inner: int, last: int) -> float:
        keys = 2 * width * width
        others = keys + 2 * width * inner + 2 * LENGTH * width
        projection = embedding * width if embedding != width else 0
        whole = tokens * (projection + layers * keys + (layers - 1) * others)
        return 2 * (whole + last * others)

    width, narrow = size["hidden_size"], size["generator"]
    generator = network(narrow, 4 * narrow, tokens if all_positions else masked)
    generator += 2 * masked * embedding * (narrow + VOCAB)
    discriminator = network(width, size["intermediate_size"], tokens)
    discriminator += 2 * tokens * width * (width + 1)
    # The backward pass has two products for each of the forward pass.
    return 3 * (generator + discriminator) / 1e9


def serve(run: Callable[[], object], steps: int) -> None:
    """Warms up, then runs `steps` steps for every line of standard input and prints seconds."""
    for _ in range(2):
        run()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            run()
        print(json.dumps((time.perf_counter() - start) / steps), flush=True)


def tensorflow_step(name: str, precision: str) -> Callable[[], object]:
    """Returns one training step of this project, as `electra-zh pretrain` runs it."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np

    from electra_zh.pretraining.config import resolve
    from electra_zh.pretraining.run import PretrainStep
    from electra_zh.pretraining.state import TrainState
    from electra_zh.text.vocabulary import Vocabulary
    from electra_zh.training import loop

    overrides = {"train_batch_size": str(BATCH), "precision": precision, "max_seq_length": "128"}
    config = resolve(name, overrides, vocab_size=VOCAB).settings
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = Vocabulary([*special, *(f"t{i}" for i in range(VOCAB - 5))])
    ids = np.random.default_rng(0).integers(5, VOCAB, [BATCH, LENGTH]).astype(np.int32)
    ids[:, 0], ids[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    batch = {
        "input_ids": ids,
        "input_mask": np.ones_like(ids),
        "segment_ids": np.repeat([[0] * 64 + [1] * 64], BATCH, 0).astype(np.int32),
    }
    step = PretrainStep(TrainState(config, vocabulary)).compiled()
    inner = loop.make_inner_loop(step, itertools.repeat(batch))
    return lambda: inner(1)


def torch_step(
    name: str, precision: str, *, compiled: bool, device: str = "cpu"
) -> Callable[[], object]:
    """Returns one training step of transformers + PyTorch."""
    import torch
    from torch.nn import functional
    from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

    torch.manual_seed(0)
    torch.set_default_device(device)
    size = read_size(name)
    common = {
        "vocab_size": VOCAB,
        "embedding_size": size["embedding_size"],
        "num_hidden_layers": size["num_hidden_layers"],
        "attn_implementation": "sdpa",
    }
    discriminator = ElectraForPreTraining(
        ElectraConfig(
            **common,
            hidden_size=size["hidden_size"],
            intermediate_size=size["intermediate_size"],
            num_attention_heads=size["num_attention_heads"],
        )
    )
    generator = ElectraForMaskedLM(
        ElectraConfig(
            **common,
            hidden_size=size["generator"],
            intermediate_size=4 * size["generator"],
            num_attention_heads=max(1, size["generator"] // 64),
        )
    )
    generator.electra.embeddings = discriminator.electra.embeddings
    generator.generator_lm_head.weight = discriminator.electra.embeddings.word_embeddings.weight
    weights = list({id(p): p for m in (generator, discriminator) for p in m.parameters()}.values())
    optimizer = torch.optim.AdamW(weights, lr=5e-4, eps=1e-6, weight_decay=0.01, fused=True)
    generator.train()
    discriminator.train()
    # Compiled code must not depend on the module's variables.
    batch, length, predictions = BATCH, LENGTH, PREDICTIONS
    ids = torch.randint(104, VOCAB, (batch, length))
    half = length // 2
    segments = torch.tensor([[0] * half + [1] * half] * batch)
    attention = torch.ones_like(ids)
    candidates = torch.ones(batch, length)
    candidates[:, 0] = candidates[:, -1] = 0

    def losses() -> torch.Tensor:
        positions = torch.multinomial(candidates, predictions)
        true = ids.gather(1, positions)
        is_shown = torch.rand(positions.shape, device=ids.device) >= 0.85
        shown = torch.where(is_shown, true, torch.full_like(true, 103))
        hidden = generator.electra(
            ids.scatter(1, positions, shown), attention_mask=attention, token_type_ids=segments
        ).last_hidden_state
        picked = hidden.gather(1, positions[..., None].expand(-1, -1, hidden.shape[-1]))
        logits = generator.generator_lm_head(generator.generator_predictions(picked)).float()
        masked_loss = functional.cross_entropy(logits.flatten(0, 1), true.flatten())
        with torch.no_grad():
            noise = -torch.empty_like(logits).exponential_().log()
            sampled = (logits + noise).argmax(-1)
        corrupted = ids.scatter(1, positions, sampled)
        found = discriminator(corrupted, attention_mask=attention, token_type_ids=segments).logits
        replaced = (corrupted != ids).float()
        detected = functional.binary_cross_entropy_with_logits(found.float(), replaced)
        return masked_loss + 50 * detected

    if compiled:
        losses = torch.compile(losses)

    def step() -> torch.Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            loss = losses()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        return loss.detach()

    return step


def matrix_product(library: str, precision: str) -> Callable[[], object]:
    """Returns one 2048^3 matrix product."""
    if library == "torch":
        import torch

        x = torch.ones(SIZE, SIZE, dtype=getattr(torch, precision))
        return lambda: x @ x
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    y = tf.ones([SIZE, SIZE], tf.as_dtype(precision))
    product = tf.function(lambda: tf.reduce_max(tf.matmul(y, y)[:1]))
    return lambda: product().numpy()


def work(words: list[str], steps: int) -> None:
    """Runs one variant as a server."""
    kind, *rest = words
    if kind == "ceiling":  # one operation on all cores
        os.environ["TF_NUM_INTRAOP_THREADS"] = str(machine.threads())
    machine.set_up()
    if kind == "ceiling":
        serve(matrix_product(rest[0], rest[1]), 4 * steps)
    elif kind == "tensorflow":
        serve(tensorflow_step(rest[0], rest[1]), steps)
    else:
        serve(torch_step(rest[0], rest[1], compiled=kind == "compiled"), steps)


def measure(
    variants: list[list[str]], rounds: int, steps: int, patience: float
) -> dict[str, float]:
    """Returns the median seconds of each variant over rounds in which they take turns.

    A variant that is not ready after `patience` seconds is skipped.
    """
    # Idle workers must not spin on the cores that the others are measured on.
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
    seconds: dict[str, list[float]] = {" ".join(words): [] for words in variants}
    workers: dict[str, subprocess.Popen[str]] = {}
    for words in variants:
        command = [sys.executable, __file__, "--steps", str(steps), "--work", *words]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        if wait_until_ready(worker, " ".join(words), patience):
            workers[" ".join(words)] = worker
    for _ in range(rounds):
        for name, worker in workers.items():
            assert worker.stdin is not None
            assert worker.stdout is not None
            worker.stdin.write("next\n")
            worker.stdin.flush()
            seconds[name].append(json.loads(worker.stdout.readline()))
    for worker in workers.values():
        worker.kill()
    return {name: statistics.median(times) for name, times in seconds.items() if times}


def wait_until_ready(worker: subprocess.Popen[str], name: str, patience: float) -> bool:
    """Returns whether a variant has warmed up within `patience` seconds; stops it otherwise."""
    timer = threading.Timer(patience, worker.kill)
    timer.start()
    assert worker.stdout is not None
    while (line := worker.stdout.readline()) not in ("ready\n", ""):
        pass
    timed_out = not timer.is_alive()
    timer.cancel()
    if line:
        return True
    if not timed_out:
        raise SystemExit(f"{name}: the process ended")
    print(f"{name}: stopped, not ready after {patience:.0f} s", flush=True)
    return False


def main() -> None:
    """Measures the models one after the other and prints a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="tiny,small")
    parser.add_argument("--types", default="float32,bfloat16", help="compute types")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a turn")
    parser.add_argument("--compiled", action="store_true", help="torch.compile too")
    parser.add_argument(
        "--patience", type=float, default=120, help="seconds for a variant's first two steps"
    )
    environment.add_flags(parser)
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.steps)
        return
    if args.quick:
        args.models, args.rounds, args.steps, args.patience = "tiny", 2, 1, 30
    print(environment.header())
    precisions = args.types.split(",")
    if not {*precisions} <= {"float32", "bfloat16"}:
        parser.error(f"--types takes float32, bfloat16 or both; received {args.types}")
    for model in args.models.split(","):
        kinds = ["tensorflow", "torch", *(["compiled"] if args.compiled else [])]
        variants = [
            ["ceiling", library, p] for library in ("tensorflow", "torch") for p in precisions
        ]
        variants += [[kind, model, precision] for kind in kinds for precision in precisions]
        seconds = measure(variants, args.rounds, args.steps, args.patience)
        report(model, seconds)
        environment.record(args.json, f"step {model}", sys.argv, seconds)


def report(model: str, seconds: dict[str, float]) -> None:
    """Prints one model's table."""
    ceilings = {n: 2 * SIZE**3 / 1e9 / s for n, s in seconds.items() if n.startswith("ceiling")}
    steps = {name: s for name, s in seconds.items() if not name.startswith("ceiling")}
    peers = {name: s for name, s in steps.items() if not name.startswith("tensorflow")}
    fastest = min(peers, key=lambda name: peers[name]) if peers else ""
    print(f"\n{model}: batch {BATCH}, length {LENGTH}")
    for name, rate in ceilings.items():
        print(f"  {name:32s} {rate:6.0f} GFLOP/s")
    for name, s in steps.items():
        own = "tensorflow" if name.startswith("tensorflow") else "torch"
        gflop = step_gflop(model, all_positions=own == "torch")
        rate = gflop / s
        ceiling = ceilings.get(f"ceiling {own} {name.split()[-1]}", math.nan)
        ratio = f"{peers[fastest] / s:5.2f} x the fastest peer" if fastest else "no peer"
        print(
            f"  {name:32s} {s:6.3f} s  {ratio}  {gflop:.0f} GFLOP, {rate:5.0f} GFLOP/s = "
            f"{rate / ceiling:.0%} of its ceiling"
        )


if __name__ == "__main__":
    main()
