"""A TF1 checkpoint with the official code's weights reproduces that code's recorded outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from electra_zh.convert.source import open_source
from electra_zh.models.weight_names import variable_name
from support.networks import load_golden


def _write_tf1(prefix: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes tensors under their names, as TF1's Saver does."""
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )


def test_the_official_checkpoint_reproduces_its_outputs(tmp_path: Path) -> None:
    golden = load_golden()
    weights = {name: variable.numpy() for name, variable in golden.variables.items()}
    slots = {f"{name}/adam_m": np.zeros_like(value) for name, value in weights.items()}
    slots |= {f"{name}/adam_v": np.zeros_like(value) for name, value in weights.items()}
    step = {"global_step": np.array(60, np.int64)}
    _write_tf1(tmp_path / "model.ckpt-60", {**weights, **slots, **step})
    sizes = {"num_attention_heads": golden.config.model.num_attention_heads}
    (tmp_path / "discriminator.json").write_text(json.dumps(sizes))
    source = open_source(str(tmp_path))
    assert source.step == 60
    assert len(source.tensors) == len(weights)
    for variable in golden.objective.trainable_variables:
        variable.assign(tf.zeros_like(variable))
        variable.assign(source.tensors[variable_name(variable.name)])
    output, _ = golden.compute()
    np.testing.assert_allclose(output.loss, golden.figures["total_loss"], rtol=1e-6)
