"""Adam as the reference has it and LAMB, against plain statements of their rules."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from electra_zh.training.optimizers import optimizer_class, optimizer_names
from electra_zh.training.optimizers.adamw import AdamWeightDecay
from electra_zh.training.optimizers.base import Moments
from electra_zh.training.optimizers.lamb import Lamb
from electra_zh.training.optimizers.muon import Muon
from electra_zh.training.schedules import layerwise_factors, learning_rate
from support.networks import load_golden, thin_out

# Name -> whether it is decayed.
DECAYED = {
    "encoder/embeddings/word_embeddings": True,
    "encoder/layers/0/attention/query/kernel": True,
    "encoder/layers/0/attention/query/bias": False,
    "encoder/layers/0/layer_norm/gamma": False,
    "encoder/layers/0/layer_norm/beta": False,
    "masked_lm_head/output_bias": False,
    "old/LayerNorm/gamma": False,
}
SHAPE = [5, 3]


def _variables(seed: int = 0) -> list[tf.Variable]:
    generator = np.random.default_rng(seed)
    return [tf.Variable(generator.normal(size=SHAPE), dtype=tf.float32, name=n) for n in DECAYED]


def _gradients(seed: int, scale: float = 1.0) -> list[tf.Tensor]:
    generator = np.random.default_rng(seed)
    return [tf.constant(scale * generator.normal(size=SHAPE), tf.float32) for _ in DECAYED]


def _schedule(step: tf.Tensor) -> tf.Tensor:
    return 0.01 * tf.cast(step, tf.float32)


class Plain:
    """The rule, in float64 NumPy."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        self.values = [variable.numpy().astype(np.float64) for variable in variables]
        self.m = [np.zeros(SHAPE) for _ in variables]
        self.v = [np.zeros(SHAPE) for _ in variables]

    def apply(self, gradients: list[np.ndarray], rate: float) -> float:
        norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
        for index, decayed in enumerate(DECAYED.values()):
            gradient = gradients[index] * min(1.0, 1.0 / norm)
            self.m[index] = 0.9 * self.m[index] + 0.1 * gradient
            self.v[index] = 0.999 * self.v[index] + 0.001 * gradient**2
            update = self.m[index] / (np.sqrt(self.v[index]) + 1e-6)
            if decayed:
                update = update + 0.01 * self.values[index]
            self.values[index] = self.values[index] - rate * update
        return float(norm)


class PlainCorrected(Plain):
    """Adam as published (Kingma and Ba 2015, algorithm 1), with decoupled decay."""

    def apply(self, gradients: list[np.ndarray], rate: float) -> float:
        self.step = getattr(self, "step", 0) + 1
        norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
        for index, decayed in enumerate(DECAYED.values()):
            gradient = gradients[index] / max(norm, 1.0)
            self.m[index] = 0.8 * self.m[index] + 0.2 * gradient
            self.v[index] = 0.98 * self.v[index] + 0.02 * gradient**2
            m_hat = self.m[index] / (1 - 0.8**self.step)
            v_hat = self.v[index] / (1 - 0.98**self.step)
            update = m_hat / (np.sqrt(v_hat) + 1e-3)
            if decayed:
                update = update + 0.01 * self.values[index]
            self.values[index] = self.values[index] - rate * update
        return float(norm)


class PlainLamb(Plain):
    """Algorithm 2 of You et al. (2020), in float64 NumPy, the gradients clipped before it."""

    def apply(self, gradients: list[np.ndarray], rate: float) -> float:
        self.step = getattr(self, "step", 0) + 1
        norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
        for index, decayed in enumerate(DECAYED.values()):
            gradient = gradients[index] / max(norm, 1.0)
            self.m[index] = 0.9 * self.m[index] + 0.1 * gradient
            self.v[index] = 0.999 * self.v[index] + 0.001 * gradient**2
            m_hat = self.m[index] / (1 - 0.9**self.step)
            v_hat = self.v[index] / (1 - 0.999**self.step)
            update, ratio = m_hat / (np.sqrt(v_hat) + 1e-6), 1.0
            if decayed:
                update = update + 0.01 * self.values[index]
                ratio = float(np.linalg.norm(self.values[index]) / np.linalg.norm(update))
            self.values[index] = self.values[index] - rate * ratio * update
        return float(norm)


class PlainMuon(Plain):
    """Jordan's iteration for the one matrix of a layer, Adam with bias correction for the rest."""

    def apply(self, gradients: list[np.ndarray], rate: float) -> float:
        self.step = getattr(self, "step", 0) + 1
        norm = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients))
        for index, (name, decayed) in enumerate(DECAYED.items()):
            gradient = gradients[index] / max(norm, 1.0)
            self.m[index] = 0.9 * self.m[index] + 0.1 * gradient
            self.v[index] = 0.999 * self.v[index] + 0.001 * gradient**2
            if "layers/0/attention/query/kernel" in name:
                u, s, v = np.linalg.svd(self.m[index], full_matrices=False)
                s = s / np.linalg.norm(s)
                for _ in range(5):
                    s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
                update = 0.2 * max(SHAPE) ** 0.5 * (u * s) @ v
            else:
                m_hat = self.m[index] / (1 - 0.9**self.step)
                v_hat = self.v[index] / (1 - 0.999**self.step)
                update = m_hat / (np.sqrt(v_hat) + 1e-6)
            update = update + (0.01 * self.values[index] if decayed else 0.0)
            self.values[index] = self.values[index] - rate * update
        return float(norm)


RULES = [(AdamWeightDecay, Plain), (Lamb, PlainLamb), (Muon, PlainMuon)]


def _assert_equal(found: list[tf.Variable], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


def test_moments_and_bias_correction_are_settings() -> None:
    variables = _variables()
    moments = Moments(beta_1=0.8, beta_2=0.98, epsilon=1e-3, bias_correction=True)
    plain = PlainCorrected(variables)
    optimizer = AdamWeightDecay(variables, _schedule, moments=moments)
    for step in range(1, 5):
        gradients = _gradients(step)
        optimizer.apply(gradients)
        plain.apply([each.numpy().astype(np.float64) for each in gradients], 0.01 * step)
        _assert_equal(variables, plain.values)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_gradients_of_parts_are_added(count: int) -> None:
    """The first is sparse, with repeated rows, and the last is missing."""
    variables = _variables()
    optimizer = AdamWeightDecay(variables, _schedule)
    parts: list[list[tf.Tensor | tf.IndexedSlices | None]] = []
    expected = [np.zeros(SHAPE) for _ in variables]
    for part in range(count):
        values, indices = tf.fill([3, SHAPE[1]], 1.0 + part), [part, 4, 4]
        rows = tf.IndexedSlices(values, tf.constant(indices), tf.constant(SHAPE))
        dense = _gradients(part)[1:-1]
        parts.append([rows, *dense, None])
        np.add.at(expected[0], indices, values.numpy())
        for total, value in zip(expected[1:], dense, strict=False):
            total += value.numpy()
    _assert_equal(tf.function(optimizer.total, autograph=False)(parts), expected)


def test_a_tensor_of_old_values_keeps_them() -> None:
    """Updates in place must not reach what was read before."""
    variables = _variables()
    optimizer = AdamWeightDecay(variables, _schedule)
    for values in (variables, optimizer.m, optimizer.v):
        read, before = values[0].read_value(), values[0].numpy()
        optimizer.apply(_gradients(0))
        np.testing.assert_array_equal(read, before)
        assert not np.array_equal(values[0], before)


@pytest.mark.parametrize("scale", [1e-3, 1.0], ids=["below the clip", "clipped"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("kind", "rule"), RULES, ids=["adam", "lamb", "muon"])
def test_steps_follow_the_rule(
    kind: type[AdamWeightDecay], rule: type[Plain], scale: float, compiled: bool
) -> None:
    variables = _variables()
    plain, optimizer = rule(variables), kind(variables, _schedule)
    apply = tf.function(optimizer.apply, jit_compile=True) if compiled else optimizer.apply
    for step in range(1, 5):
        gradients = _gradients(step, scale)
        norm = apply(gradients)
        exact = plain.apply(
            [gradient.numpy().astype(np.float64) for gradient in gradients], 0.01 * step
        )
        assert (exact > 1.0) == (scale == 1.0)
        assert float(norm) == pytest.approx(exact, rel=1e-6)
        assert int(optimizer.step) == step
        _assert_equal(variables, plain.values)
    _assert_equal(optimizer.m, plain.m)
    _assert_equal(optimizer.v, plain.v)


def test_only_kernels_and_embeddings_decay() -> None:
    """With no gradient at all, the decay is all that is left."""
    variables = _variables()
    before = [variable.numpy() for variable in variables]
    optimizer = AdamWeightDecay(variables, lambda step: tf.constant(0.5))
    norm = optimizer.apply([None] * len(variables))
    assert float(norm) == 0.0
    for variable, start, decayed in zip(variables, before, DECAYED.values(), strict=True):
        expected = start * (1 - 0.5 * 0.01) if decayed else start
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


def test_weight_decay_can_be_off() -> None:
    variables = _variables()
    before = [variable.numpy() for variable in variables]
    optimizer = AdamWeightDecay(variables, lambda step: tf.constant(0.5), weight_decay_rate=0.0)
    optimizer.apply([None] * len(variables))
    for variable, start in zip(variables, before, strict=True):
        assert np.array_equal(variable, start)


def test_repeated_rows_of_a_sparse_gradient_are_summed() -> None:
    """In the update and in the norm."""
    rows = [4, 0, 4, 4]
    values = np.random.default_rng(1).normal(size=[len(rows), SHAPE[1]]).astype(np.float32)
    dense = np.zeros(SHAPE, np.float32)
    np.add.at(dense, rows, values)
    results = []
    for gradient in (tf.IndexedSlices(values, rows, dense_shape=SHAPE), tf.constant(dense)):
        variables = _variables()
        optimizer = AdamWeightDecay(variables, _schedule)
        norm = optimizer.apply([gradient, *[None] * (len(variables) - 1)])
        assert float(norm) == pytest.approx(np.linalg.norm(dense), rel=1e-6)
        results.append([variable.numpy() for variable in (*variables, *optimizer.v)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_rate_is_that_of_the_update_s_own_number() -> None:
    seen = []

    def schedule(step: tf.Tensor) -> tf.Tensor:
        seen.append(int(step))
        return tf.constant(0.0)

    variables = _variables()
    optimizer = AdamWeightDecay(variables, schedule)
    for _ in range(3):
        optimizer.apply(_gradients(0))
    assert seen == [1, 2, 3]


def test_the_number_of_gradients_must_fit() -> None:
    optimizer = AdamWeightDecay(_variables(), _schedule)
    with pytest.raises(ValueError, match="zip"):
        optimizer.apply(_gradients(0)[:-1])


@pytest.mark.parametrize("kind", [AdamWeightDecay, Lamb, Muon])
def test_moments_that_start_later_are_corrected_by_their_own_updates(
    kind: type[AdamWeightDecay],
) -> None:
    """As in a new optimizer, next to variables whose moments are older."""
    moments, gradients = Moments(bias_correction=True), _gradients(0, 1e-2)
    names, found = list(DECAYED), []
    for before in (0, 5):
        variables = _variables()
        optimizer = kind(variables, lambda step: tf.constant(0.1), moments=moments)
        optimizer.set_starts(dict.fromkeys(names[1::2], before))
        for _ in range(before):
            optimizer.apply([gradients[0], *[None] * (len(names) - 1)])
        for variable, start in zip(variables[1:], _variables()[1:], strict=True):
            variable.assign(start)
        optimizer.apply(gradients)
        found.append([variable.numpy() for variable in variables])
    pairs = zip(*found, strict=True)
    is_same = [np.allclose(one, other, rtol=1e-6, atol=0.0) for one, other in pairs]
    assert is_same == [index % 2 == 1 for index in range(len(names))]
    assert optimizer.progress() == {
        "optimizer_step": 6,
        "optimizer_starts": dict.fromkeys(names[1::2], 5),
    }


# --- LAMB ------------------------------------------------------------------------------------


def test_a_variable_moves_by_the_rate_s_share_of_its_norm() -> None:
    """Layer norms and biases move as Adam with bias correction moves them: by the rate."""
    variables = _variables()
    before = [variable.numpy() for variable in variables]
    optimizer = Lamb(variables, lambda step: tf.constant(0.125), weight_decay_rate=0.0)
    optimizer.apply(_gradients(0, 1e-2))
    for variable, start, scaled in zip(variables, before, DECAYED.values(), strict=True):
        moved = np.linalg.norm(variable - start)
        norm = np.linalg.norm(start) if scaled else np.prod(SHAPE) ** 0.5
        assert moved == pytest.approx(0.125 * norm, rel=3e-3)


def test_a_variable_of_one_small_number_moves_by_its_share() -> None:
    variable = tf.Variable([0.01], name="a/kernel")
    optimizer = Lamb([variable], lambda step: tf.constant(0.125), weight_decay_rate=0.0)
    optimizer.apply([tf.constant([0.1])])
    np.testing.assert_allclose(variable, [0.01 * (1 - 0.125)], rtol=1e-5)


@pytest.mark.parametrize("gradient", [0.0, 0.1])
def test_zeros_have_no_ratio(gradient: float) -> None:
    """Variables of zeros start to move; updates of zeros leave everything finite."""
    variables = [
        tf.Variable(tf.zeros(3), name="a/kernel"),
        tf.Variable(tf.ones(3), name="b/kernel"),
    ]
    optimizer = Lamb(variables, lambda step: tf.constant(0.125), weight_decay_rate=0.0)
    optimizer.apply([tf.fill([3], gradient)] * 2)
    expected = -0.125 if gradient else 0.0
    np.testing.assert_allclose(variables[0], np.full(3, expected), rtol=1e-4)
    np.testing.assert_allclose(variables[1], np.full(3, 1 + expected), rtol=1e-4)


# --- Muon ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_the_update_of_a_matrix_is_nearly_orthogonal(
    shape: tuple[int, int], dtype: tf.DType
) -> None:
    """Its singular values are about 0.2 times the root of the longer side."""
    generator = np.random.default_rng(3)
    u, _ = np.linalg.qr(generator.normal(size=[shape[0], min(shape)]))
    v, _ = np.linalg.qr(generator.normal(size=[shape[1], min(shape)]))
    gradient = (u * np.geomspace(1, 0.05, min(shape))) @ v.T
    variable = tf.Variable(tf.zeros(shape), name="generator/encoder/layers/11/output/kernel")
    optimizer = Muon([variable], lambda step: tf.constant(-1.0), compute_type=dtype)
    optimizer.apply([tf.constant(gradient, tf.float32)])
    values = np.linalg.svd(variable.numpy(), compute_uv=False) / (0.2 * max(shape) ** 0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_weights_outside_of_the_layers_have_adam() -> None:
    moments, gradients = Moments(bias_correction=True), _gradients(0)
    found = []
    for kind in (AdamWeightDecay, Muon):
        variables = _variables()
        kind(variables, lambda step: tf.constant(0.1), moments=moments).apply(gradients)
        found.append([variable.numpy() for variable in variables])
    pairs = zip(DECAYED, *found, strict=True)
    different = [name for name, one, other in pairs if not np.array_equal(one, other)]
    assert different == ["encoder/layers/0/attention/query/kernel"]


# --- The reference's steps -------------------------------------------------------------------


def test_three_steps_are_the_reference_s() -> None:
    golden = load_golden()
    variables = list(golden.variables.values())
    optimizer = AdamWeightDecay(
        variables,
        lambda step: learning_rate(step, 2e-3, num_train_steps=1000, num_warmup_steps=200),
    )
    optimizer.step.assign(100)
    for update in (1, 2, 3):
        output, gradients = golden.compute()
        norm = optimizer.apply(gradients)
        expected = golden.figures["losses_before_updates"][update - 1]
        assert float(output.loss) == pytest.approx(expected, rel=1e-5)
        if update == 1:
            assert float(norm) == pytest.approx(golden.figures["grad_global_norm"], rel=1e-5)
        if update == 2:
            continue
        for name, variable in golden.variables.items():
            # Next to numbers of about 2, whose last bit is 1.2e-7.
            found, expected = thin_out(variable.numpy()), golden.figures[f"after{update}/{name}"]
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-7, err_msg=name)
    assert int(optimizer.step) == 103


@pytest.mark.parametrize(("top", "exponents"), [(2, [4, 4, 3, 2, 0]), (1, [3, 3, 2, 1, 0])])
def test_layerwise_factors_fall_from_head_to_embeddings(top: int, exponents: list[int]) -> None:
    names = [
        "encoder/embeddings/word_embeddings:0",
        "encoder/projection/kernel:0",
        "encoder/layers/0/output/kernel:0",
        "encoder/layers/1/attention/query/bias:0",
        "heads/tnews/dense/kernel:0",
    ]
    factors = layerwise_factors(names, num_hidden_layers=2, decay=0.8, top_layer_decay=top)
    assert factors == pytest.approx([0.8**exponent for exponent in exponents])


def test_a_rate_factor_scales_the_update_of_its_variable() -> None:
    variables = [tf.Variable([1.0, 2.0], name="a/bias"), tf.Variable([1.0, 2.0], name="b/bias")]
    optimizer = AdamWeightDecay(variables, lambda step: 0.1, rate_factors=[1.0, 0.25])
    gradients = [tf.constant([0.3, -0.1])] * 2
    before = [variable.numpy() for variable in variables]
    optimizer.apply(gradients)
    moved = [variable.numpy() - old for variable, old in zip(variables, before, strict=True)]
    np.testing.assert_allclose(moved[1], 0.25 * moved[0], rtol=1e-5)


def test_an_optimizer_is_registered_by_its_module() -> None:
    assert {name: optimizer_class(name) for name in optimizer_names()} == {
        "adamw": AdamWeightDecay,
        "lamb": Lamb,
        "muon": Muon,
    }


@pytest.mark.parametrize("name", optimizer_names())
def test_reset_is_a_new_optimizer(name: str) -> None:
    found = []
    for is_new in (False, True):
        variables = _variables()
        optimizer = optimizer_class(name)(variables, _schedule)
        if not is_new:
            optimizer.apply(_gradients(1))
            optimizer.reset()
            for variable, value in zip(variables, _variables(), strict=True):
                variable.assign(value)
        optimizer.apply(_gradients(2))
        slots = optimizer.state_tensors()
        assert set(slots) == {f"{slot}/{name}" for slot in "mv" for name in DECAYED}
        values = [*slots.values(), *variables, optimizer.step]
        found.append([value.numpy().tolist() for value in values])
    assert found[0] == found[1]
