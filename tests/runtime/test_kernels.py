"""The kernels of GPUs, interpreted on the CPU, against the operations that they replace."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from electra_zh.models import layers, marked_attention
from electra_zh.models.layers import draw_dropout
from electra_zh.models.random import BatchPart, RandomKey
from electra_zh.runtime import compiling, kernels, lowering
from electra_zh.runtime.ahead import find_collectives
from electra_zh.runtime.kernels import Kernels, attention, norm, regions
from electra_zh.runtime.kernels.dropout import keep
from electra_zh.runtime.program import StepProgram

# Quick to compile.
compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
DRAW = np.array([123456789, 4123456789, 1, 0], np.uint32)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape).astype(jnp.bfloat16)


def kept(rows: int, width: int, rate: float, draw: Any = DRAW) -> jax.Array:
    """Returns bool [rows, width], the draws of a complete batch or of a part."""
    row, place = (jnp.arange(size, dtype=jnp.uint32) for size in (rows, width))
    return keep(jnp.asarray(draw), width, row[:, None], place[None], rate)


def error(found: jax.Array, expected: jax.Array) -> float:
    """Returns the relative error, by norms."""
    difference = jnp.linalg.norm(found.astype(jnp.float32) - expected)
    return float(difference / jnp.linalg.norm(expected))


@pytest.mark.parametrize("part", [None, BatchPart(1, 2, 3)])
def test_kernels_draw_what_layers_draw(part: BatchPart | None) -> None:
    key, shape = RandomKey(7, 3, part=part), [3, 2, 4, 4]
    dropped = draw_dropout(key, "stream", 0.1)
    assert dropped is not None
    found = kept(3, 32, 0.1, dropped.place().numpy()).reshape(shape)
    np.testing.assert_array_equal(found, dropped.keep(shape).numpy())


def plain_attention(
    qkv: jax.Array, bias: jax.Array, setting: attention.AttentionSetting
) -> jax.Array:
    batch, length, _, heads, _ = qkv.shape
    query, key, value = (qkv[:, :, index].transpose(0, 2, 1, 3) for index in range(3))
    scores = jnp.einsum("bhqs,bhks->bhqk", query, key) * setting.factor + bias
    draws = kept(batch, heads * length**2, setting.rate).reshape(scores.shape)
    probs = jnp.where(draws, jax.nn.softmax(scores) / (1 - setting.rate), 0)
    return jnp.einsum("bhqk,bhks->bqhs", probs, value)


@pytest.mark.parametrize("length", [64, 192])
def test_attention_and_its_gradient(length: int) -> None:
    """One block, and three; padding in the second row."""
    setting = attention.AttentionSetting(32**-0.5, 0.1, interpret=True)

    def results() -> Any:
        qkv, dcontext = normal(0, 2, length, 3, 2, 32), normal(1, 2, length, 2, 32)
        bias, draw = jnp.zeros((2, 1, 1, length)).at[1, :, :, -20:].set(-10000.0), jnp.asarray(DRAW)
        context, sums = attention.forward(qkv, bias, draw, setting=setting)
        found = attention.backward(qkv, bias, draw, sums, context, dcontext, setting=setting)
        plain = functools.partial(plain_attention, bias=bias, setting=setting)
        expected, derive = jax.vjp(plain, qkv.astype(jnp.float32))
        return context, expected, found, derive(dcontext.astype(jnp.float32))[0]

    context, expected, found, derivative = compiled(results)()
    assert error(context, expected) < 0.004
    assert error(found, derivative) < 0.004


@pytest.mark.parametrize(("width", "rows"), [(192, 64), (128, 4)])
def test_norm_and_its_gradient(width: int, rows: int) -> None:
    setting = norm.NormSetting(1e-12, 0.1, rows, interpret=True)

    def plain(x: jax.Array, y: jax.Array, gamma: jax.Array, beta: jax.Array) -> jax.Array:
        draws = kept(rows, 64 // rows * width, 0.1).reshape(y.shape)
        total = x + jnp.where(draws, y / 0.9, 0)
        centred = total - total.mean(-1, keepdims=True)
        scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + setting.eps)
        return centred * scale * gamma + beta

    def results() -> Any:
        x, y, dout = (normal(seed, 64, width) for seed in range(3))
        gamma, beta = (normal(seed, width).astype(jnp.float32) for seed in (3, 4))
        draw = jnp.asarray(DRAW)
        out, values, inverse = norm.forward(x, y, gamma, beta, draw, setting=setting)
        found = norm.backward(dout, values, inverse, gamma, draw, setting=setting)
        inputs = x.astype(jnp.float32), y.astype(jnp.float32), gamma, beta
        expected, derive = jax.vjp(plain, *inputs)
        return [out, *found], [expected, *derive(dout.astype(jnp.float32))]

    for found, expected in zip(*compiled(results)(), strict=True):
        assert error(found, expected) < 0.004


@pytest.fixture(scope="module")
def program() -> StepProgram:
    """Returns attention, a norm, and the derivative by what comes first."""
    layer = layers.LayerNorm("norm", 32, eps=1e-12)

    def step(batch: dict[str, tf.Tensor]) -> list[tf.Tensor]:
        key, bias = RandomKey(7, 3), tf.zeros([2, 1, 1, 64])
        with tf.GradientTape() as tape:
            tape.watch(batch["x"])
            qkv = tf.cast(batch["x"], tf.bfloat16)
            dropped = draw_dropout(key, "probabilities", 0.1)
            context = marked_attention.attend(qkv, bias, factor=32**-0.5, dropped=dropped)
            x = tf.reshape(context, [128, 32])
            out = layer.add(x, x, draw_dropout(key, "norm", 0.1))
            loss = tf.reduce_sum(tf.cast(out, tf.float32) ** 3)
        return [out, tape.gradient(loss, batch["x"])]

    shapes, types = {"x": [2, 64, 3, 1, 32]}, {"x": "float32"}
    variables = [layer.gamma, layer.beta]
    return lowering.lower(step, shapes, variables, full_precision=False, types=types)


def test_kernels_take_the_place_of_regions(program: StepProgram) -> None:
    plain = jax.export.deserialize(bytearray(program.exported)).mlir_module()
    assert plain.count("optimization_barrier") == 8
    assert "custom_call" not in plain
    found = Kernels(jax.devices("cpu")[:1], interpret=True)
    steps = [regions.load(program.exported, each) for each in (None, found)]
    assert found.used == {"attention", "attention_gradient", "norm", "norm_gradient"}
    modules = [step.mlir_module() for step in steps]
    assert not any("optimization_barrier" in module for module in modules)
    assert [module.count("call @kernel") > 0 for module in modules] == [False, True]
    inputs = normal(0, 2, 64, 3, 1, 32).astype(jnp.float32), jnp.ones(32), jnp.zeros(32)
    expected, replaced = (compiled(step.call)(*inputs) for step in steps)
    for a, b in zip(replaced, expected, strict=True):
        assert error(a, b.astype(jnp.float32)) < 0.01


def test_devices_split_the_batch_of_kernels(program: StepProgram) -> None:
    """They draw what one device draws, and exchange sums alone."""
    inputs = normal(0, 2, 64, 3, 1, 32).astype(jnp.float32), jnp.ones(32), jnp.zeros(32)
    found = [Kernels(jax.devices("cpu")[:count], interpret=True) for count in (1, 2)]
    one, two = (regions.load(program.exported, each) for each in found)
    assert all(len(each.used) == 4 for each in found)
    mesh = Mesh(np.array(jax.devices("cpu")[:2]), ("data",))
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    step = compiled(two.call, in_shardings=(rows, whole, whole), out_shardings=(rows, rows))
    text = step.lower(*inputs).compile().as_text()
    assert text is not None
    assert set(find_collectives(text)) <= {"all-reduce"}
    for a, b in zip(step(*inputs), compiled(one.call)(*inputs), strict=True):
        np.testing.assert_array_equal(a, b)


def on_cpu() -> NamedSharding:
    return NamedSharding(Mesh(np.array(jax.devices("cpu")[:1]), ("data",)), PartitionSpec())


@pytest.mark.parametrize(
    ("platform", "count", "switch", "expected"),
    [
        ("cuda", 1, "1", True),
        ("gpu", 1, "1", True),
        ("gpu", 1, None, False),
        ("cuda", 1, "0", False),
        ("cuda", 2, "1", True),
        ("cpu", 1, "1", False),
    ],
)
def test_gpus_have_kernels(
    monkeypatch: pytest.MonkeyPatch, platform: str, count: int, switch: str | None, expected: bool
) -> None:
    monkeypatch.delenv(kernels.SWITCH, raising=False)
    if switch is not None:
        monkeypatch.setenv(kernels.SWITCH, switch)
    devices = [SimpleNamespace(platform=platform)] * count
    assert kernels.allowed_on(devices) == expected
    assert (kernels.version(devices) != "none") == expected


def test_steps_whose_kernels_are_refused_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def lower(found: Kernels | None) -> jax.stages.Lowered:
        if found is not None:
            raise NotImplementedError("no such instruction\nand more")
        return jax.jit(lambda x: x + 1).lower(np.float32(1))

    warnings: list[str] = []
    monkeypatch.setattr(kernels, "allowed_on", lambda devices: True)
    monkeypatch.setattr(logging, "warning", lambda text, *args: warnings.append(text % args))
    assert compiling.compile_with_kernels(lower, on_cpu())(np.float32(1)) == 2
    assert warnings == ["The step is compiled without kernels: no such instruction"]
