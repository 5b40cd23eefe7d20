import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import BatchNorm, Chain, LeakyReLU, Repeat
from tests.bijectors.test_act_norm import check_normalised, data
from tests.bijectors.tools import random_variables


def axes(x):
    return tuple(range(x.ndim - 1))


def train(bijector, variables, x, method="forward_and_log_det"):
    return bijector.apply(variables, x, mutable=["batch_stats"], method=method)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("event", [(3,), (4, 5, 3)])
def test_init_normalises_each_channel_in_the_direction_it_runs(direction, event):
    x = data(event)
    (y, log_det), variables = BatchNorm().init_with_output(jax.random.key(0), x, method=f"{direction}_and_log_det")
    np.testing.assert_allclose(y.mean(axes(y)), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(axes(y)), 1, atol=1e-3)
    np.testing.assert_array_equal(BatchNorm().apply(variables, x, method=direction), y)
    expected = -np.log(np.std(x, axes(x))).sum() * np.prod(event[:-1])
    np.testing.assert_allclose(log_det, np.full(64, expected), rtol=1e-2)


@pytest.mark.parametrize("event", [(3,), (4, 5, 3)])
def test_training_takes_the_statistics_of_the_batch_and_moves_the_running_ones(event):
    layer, x = BatchNorm(momentum=0.75, epsilon=1e-3), data(event)
    variables = random_variables(layer, 0, x)
    (z, log_det), changed = train(layer, variables, x)
    x = np.asarray(x, np.float64)
    mean, var = x.mean(axes(x)), x.var(axes(x))
    log_gamma, beta = variables["params"]["log_gamma"], variables["params"]["beta"]
    scale = np.exp(log_gamma) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(z, (x - mean) * scale + beta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(log_det, np.full(64, np.prod(event[:-1]) * np.log(scale).sum()), rtol=1e-5)
    before, after = variables["batch_stats"]["running"], changed["batch_stats"]["running"]
    np.testing.assert_allclose(after["mean"], 0.75 * before["mean"] + 0.25 * mean, rtol=1e-5)
    np.testing.assert_allclose(after["var"], 0.75 * before["var"] + 0.25 * var, rtol=1e-5)


def test_outside_training_the_running_statistics_decide_whatever_the_batch():
    layer, x = BatchNorm(epsilon=1e-3), data((3,))
    variables = random_variables(layer, 0, x)
    z = layer.apply(variables, x, method="forward")
    running, parameters = variables["batch_stats"]["running"], variables["params"]
    scale = np.exp(parameters["log_gamma"]) / np.sqrt(running["var"] + 1e-3)
    np.testing.assert_allclose(z, (x - running["mean"]) * scale + parameters["beta"], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(layer.apply(variables, x[:5], method="forward"), z[:5])


def test_the_inverse_keeps_to_the_running_statistics_in_training_too():
    layer, z = BatchNorm(), data((3,))
    variables = random_variables(layer, 0, z)
    (x, log_det), changed = train(layer, variables, z, "inverse_and_log_det")
    for result, expected in zip((x, log_det), layer.apply(variables, z, method="inverse_and_log_det"), strict=True):
        np.testing.assert_array_equal(result, expected)
    jax.tree.map(np.testing.assert_array_equal, changed["batch_stats"], variables["batch_stats"])


def test_gradients_flow_through_the_statistics_of_the_batch():
    layer, x = BatchNorm(), data((3,))
    variables = random_variables(layer, 0, x)
    weights = np.random.default_rng(1).normal(size=x.shape)

    @jax.jit
    def gradient(x):
        def total(x):
            (z, log_det), _ = train(layer, variables, x)
            return (weights * z).sum() + log_det.sum()

        return jax.jit(jax.grad(total))(x)

    def total(x):
        mean, std = x.mean(0), np.sqrt(x.var(0) + 1e-5)
        gamma = np.exp(variables["params"]["log_gamma"])
        return (weights * (x - mean) / std * gamma).sum() - len(x) * np.log(std).sum()

    x64 = np.asarray(x, np.float64)
    expected = np.zeros_like(x64)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x64)
        step[i] = 1e-5
        expected[i] = (total(x64 + step) - total(x64 - step)) / 2e-5
    np.testing.assert_allclose(gradient(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_in_repeat_each_repetition_is_set_by_what_it_is_given(direction):
    kink, norm = LeakyReLU(0.3), BatchNorm(epsilon=1e-9)
    # normalisation comes last in either direction, so the output of the whole is normalised
    repeat = Repeat(Chain((kink, norm) if direction == "forward" else (norm, kink)), 3)
    x = data((3,))
    variables = jax.jit(lambda key, x: repeat.init(key, x, method=direction))(jax.random.key(0), x)
    check_normalised(repeat.apply(variables, x, method=direction))
    mean, var = jax.tree.leaves(variables["batch_stats"])
    assert mean.shape == var.shape == (3, 3) and np.abs(np.diff(var, axis=0)).min() > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_a_constant_channel_has_the_variance_of_the_batch(training):
    layer, x = BatchNorm(), data((3,)).at[:, 1].set(0.1)
    variables = jax.jit(layer.init)(jax.random.key(0), x)
    if training:
        # the variance of the batch it trains on, which is that of `init`: the running one stays
        log_det = layer.apply(variables, x, method="log_det")
        (_, training_log_det), variables = train(layer, variables, x)
        np.testing.assert_allclose(training_log_det, log_det, rtol=1e-5)
    own = np.var(x, 0)
    expected = np.asarray([own[0], (own[0] + own[2]) / 3, own[2]])
    np.testing.assert_allclose(variables["batch_stats"]["running"]["var"], expected, rtol=1e-5)


def test_in_repeat_each_repetition_trains_statistics_of_its_own():
    step = Chain((BatchNorm(momentum=0.5), LeakyReLU(0.3)))
    repeat, x = Repeat(step, 3), data((3,))
    variables = random_variables(repeat, 0, x)

    @jax.jit
    def loss_and_state(parameters, x):
        (z, log_det), state = train(repeat, {**variables, "params": parameters}, x)
        return (z**2).sum() - log_det.sum(), (z, state)

    (_, (z, state)), gradients = jax.jit(jax.value_and_grad(loss_and_state, has_aux=True))(variables["params"], x)

    def by_hand(parameters):
        h, total, states = x, 0, []
        for i in range(3):
            own = jax.tree.map(lambda a, i=i: a[i], {**variables, "params": parameters})
            own = {collection: tree["step"] for collection, tree in own.items()}
            (h, log_det), changed = train(step, own, h)
            total, states = total + log_det, [*states, {"batch_stats": {"step": changed["batch_stats"]}}]
        return (h**2).sum() - total.sum(), (h, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states))

    (_, (h, states)), expected = jax.jit(jax.value_and_grad(by_hand, has_aux=True))(variables["params"])
    np.testing.assert_allclose(z, h, rtol=1e-5, atol=1e-5)
    for result, by_hand_result in ((state, states), (gradients, expected)):
        assert jax.tree.structure(result) == jax.tree.structure(by_hand_result)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), result, by_hand_result)
    assert np.abs(np.diff(jax.tree.leaves(state)[1], axis=0)).min() > 1e-3
