#!/usr/bin/env python3
"""Checks networks and optimizer against the reference and writes tests/golden/forward*.npz.

    python scripts/make_golden_forward.py GOLDEN_DIR

GOLDEN_DIR holds forward.npz and tf1_nano/. The figures were computed by running the code of
google-research/electra on a 2-layer model of width 64 that it had trained for 60 steps: on one
fixed batch of 4 sequences of length 64, dropout off, with masked positions and sampled tokens
fixed, the outputs of both networks, the losses, the gradients of all variables, and the variables
after one, two and three optimizer steps that start at step 100. tf1_nano/ is the checkpoint that it
wrote.

All of it is compared. The fixtures keep the weights (forward_weights.npz, by the reference's
names), the inputs, the losses and labels, and evenly spaced values of each large array (see
`thin_out`), of gradients with their norm.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from electra_zh.models import weight_names
from electra_zh.models.config import ModelConfig
from electra_zh.models.encoder import Encoder
from electra_zh.pretraining.config import PretrainConfig
from electra_zh.pretraining.mask_tensors import MaskedBatch, SpecialIds
from electra_zh.pretraining.objectives import build_objective
from electra_zh.pretraining.objectives.base import PretrainOutput
from electra_zh.training.optimizers.adamw import AdamWeightDecay
from electra_zh.training.schedules import learning_rate

CONFIG = PretrainConfig(
    model=ModelConfig(1200, 32, 64, 2, 4, 128),
    generator_hidden_size=0.5,
    max_seq_length=64,
    train_batch_size=4,
    learning_rate=2e-3,
    num_train_steps=1000,
    num_warmup_steps=200,
)
FOLDER = Path(__file__).parent.parent / "tests" / "golden"
WHOLE = (
    *("input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids"),
    *("masked_lm_weights", "replace_with_mask", "sampled_tokids", "gen_input_ids", "mlm_loss"),
    *("mlm_per_position_loss", "mlm_preds", "disc_input_ids", "disc_labels", "disc_logits"),
    *("disc_loss", "disc_per_example_loss", "total_loss", "grad_global_norm"),
)
THINNED = (
    *("gen_embedding_output", "gen_seq", "gen_logits"),
    *("disc_embedding_output", "disc_layer0", "disc_seq"),
)


def thin_out(values: np.ndarray) -> np.ndarray:
    """Returns about 512 values of an array, flat and evenly spaced by an odd step."""
    return np.ravel(values)[:: (np.size(values) // 512) | 1]


def _embed(encoder: Encoder, input_ids: tf.Tensor, segment_ids: tf.Tensor) -> tf.Tensor:
    """Returns the input of the first layer."""
    x = encoder.embeddings(input_ids, segment_ids, dtype=tf.float32, key=None, stream="")
    return x if encoder.projection is None else encoder.projection(x)


class Comparison:
    """The networks with the reference's weights, and its figures."""

    def __init__(self, folder: Path) -> None:
        self.figures = np.load(folder / "forward.npz")
        vocabulary = (folder / "tf1_nano" / "vocab.txt").read_text("utf-8").split("\n")
        ids = [vocabulary.index(token) for token in ("[PAD]", "[CLS]", "[SEP]", "[MASK]")]
        self.special = SpecialIds(*ids)
        self.objective: Any = build_objective(CONFIG, self.special)
        self.variables = self.objective.trainable_variables
        self.google_names = [
            weight_names.GOOGLE_ELECTRA.theirs(variable.name) for variable in self.variables
        ]
        checkpoint = tf.train.load_checkpoint(str(folder / "tf1_nano" / "model.ckpt-60"))
        slots = [f"{name}/{slot}" for name in self.google_names for slot in ("adam_m", "adam_v")]
        in_file = set(checkpoint.get_variable_to_shape_map())
        if in_file != {*self.google_names, *slots, "global_step"}:
            raise SystemExit("the checkpoint has other variables")
        for variable, name in zip(self.variables, self.google_names, strict=True):
            variable.assign(checkpoint.get_tensor(name))
            self.equal(variable, f"opt/before/{name}", relative=0, absolute=0)

    def equal(
        self, found: Any, name: str, *, relative: float = 1e-5, absolute: float = 1e-5
    ) -> float:
        """Returns the largest difference; stops if it is above what is allowed."""
        expected = self.figures[name]
        found = np.asarray(found).reshape(expected.shape)
        if not np.allclose(found, expected, rtol=relative, atol=absolute):
            raise SystemExit(f"{name} differs by {np.abs(found - expected).max()}")
        return float(np.abs(found - expected).max(initial=0.0))

    def compute(self) -> tuple[PretrainOutput, list[tf.Tensor]]:
        """Returns outputs and gradients for the fixed batch."""
        figures = self.figures
        kept = ("gen_input_ids", "masked_lm_positions", "masked_lm_ids", "masked_lm_weights")
        batch = {
            key: tf.constant(figures[key]) for key in ("input_ids", "input_mask", "segment_ids")
        }
        with tf.GradientTape() as tape:
            output = self.objective(
                batch,
                step=0,
                training=False,
                masked=MaskedBatch(*[tf.constant(figures[key]) for key in kept]),
                sampled_ids=tf.constant(figures["sampled_tokids"]),
            )
        gradients = tape.gradient(output.loss, self.variables)
        return output, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def check_outputs(self, output: PretrainOutput) -> None:
        """Compares losses, logits, labels and hidden states."""
        assert output.disc is not None
        wanted = ("input_mask", "segment_ids", "gen_input_ids", "disc_input_ids")
        mask, segments, gen_ids, disc_ids = (tf.constant(self.figures[key]) for key in wanted)
        generator, discriminator = self.objective.generator, self.objective.encoder
        embedded = _embed(discriminator, disc_ids, segments)
        bias = (1.0 - tf.cast(mask, tf.float32)[:, None, None, :]) * -10000.0
        real = tf.cast(mask, tf.float32)
        found = {
            "gen_embedding_output": _embed(generator, gen_ids, segments),
            "gen_seq": generator(gen_ids, mask, segments),
            "gen_logits": output.mlm.logits,
            "mlm_per_position_loss": output.mlm.losses,
            "mlm_loss": output.mlm.loss,
            "mlm_preds": tf.argmax(output.mlm.logits, -1),
            "disc_input_ids": output.disc.input_ids,
            "disc_labels": output.disc.is_replaced,
            "disc_embedding_output": embedded,
            "disc_layer0": discriminator.layers[0](embedded, bias, key=None, stream=""),
            "disc_seq": discriminator(disc_ids, mask, segments),
            "disc_logits": output.disc.logits,
            "disc_per_example_loss": tf.reduce_sum(output.disc.losses, 1) / tf.reduce_sum(real, 1),
            "disc_loss": output.disc.loss,
            "total_loss": output.loss,
        }
        for name, value in found.items():
            print(f"{name}: largest difference {self.equal(value, name):.1e}")

    def check_gradients(self, gradients: Sequence[tf.Tensor]) -> None:
        """Compares the gradients of all variables and their global norm."""
        worst = max(
            self.equal(gradient, f"grad/{name}")
            for gradient, name in zip(gradients, self.google_names, strict=True)
        )
        print(f"gradients of {len(gradients)} variables: largest difference {worst:.1e}")
        self.equal(tf.linalg.global_norm(gradients), "grad_global_norm")

    def check_optimizer(self) -> None:
        """Compares all variables after each of three steps, and the loss before it."""
        schedule = functools.partial(
            learning_rate,
            peak=CONFIG.learning_rate,
            num_train_steps=CONFIG.num_train_steps,
            num_warmup_steps=CONFIG.num_warmup_steps,
        )
        optimizer = AdamWeightDecay(self.variables, schedule)
        optimizer.step.assign(int(self.figures["opt/start_step"]))
        for update in (1, 2, 3):
            output, gradients = self.compute()
            self.equal(output.loss, f"opt/loss_before_update{update}")
            optimizer.apply(gradients)
            # A number near 2 has float32's last bit at 1.2e-7.
            worst = max(
                self.equal(variable, f"opt/after{update}/{name}", relative=1e-6, absolute=2e-7)
                for variable, name in zip(self.variables, self.google_names, strict=True)
            )
            print(f"variables after step {update}: largest difference {worst:.1e}")


def write(comparison: Comparison) -> None:
    """Writes the fixtures."""
    figures = comparison.figures
    weights = {name: figures[f"opt/before/{name}"] for name in comparison.google_names}
    fixture: dict[str, Any] = {name: figures[name] for name in WHOLE}
    fixture |= {name: thin_out(figures[name]) for name in THINNED}
    fixture["special_ids"] = np.array(comparison.special)
    losses = [figures[f"opt/loss_before_update{update}"] for update in (1, 2, 3)]
    fixture["losses_before_updates"] = np.array(losses)
    for name in comparison.google_names:
        gradient = figures[f"grad/{name}"]
        fixture[f"grad/{name}"] = thin_out(gradient)
        fixture[f"grad_norm/{name}"] = np.linalg.norm(np.float64(gradient).ravel())
        for update in (1, 3):
            fixture[f"after{update}/{name}"] = thin_out(figures[f"opt/after{update}/{name}"])
    for file, arrays in (("forward.npz", fixture), ("forward_weights.npz", weights)):
        np.savez_compressed(FOLDER / file, **arrays)
        print(f"wrote {file}, {(FOLDER / file).stat().st_size:,} bytes")


def main() -> None:
    """Compares, and writes the fixtures."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    comparison = Comparison(Path(sys.argv[1]))
    output, gradients = comparison.compute()
    comparison.check_outputs(output)
    comparison.check_gradients(gradients)
    comparison.check_optimizer()
    write(comparison)


if __name__ == "__main__":
    main()
