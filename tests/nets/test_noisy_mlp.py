import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.noisy_mlp import GaussianNoise, NoisyMLP, WeightNormDense
from tests.models.parameters import drawn

KEY = jax.random.key(0)


def test_a_weight_normalised_layer():
    layer, x = WeightNormDense(4), 3 + 2 * jax.random.normal(KEY, (50, 6))
    p = drawn(layer, x)["params"]
    expected = p["scale"] * (x @ p["direction"]) / np.linalg.norm(p["direction"], axis=0) + p["bias"]
    np.testing.assert_allclose(jax.jit(layer.apply)({"params": p}, x), expected, rtol=1e-3, atol=1e-3)
    # started by data
    y, variables = layer.init_with_output(KEY, x)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(0), 1, rtol=1e-3)
    later = jax.jit(layer.apply)(variables, x + 1)
    assert np.abs(later.mean(0)).min() > 1e-3


@pytest.mark.parametrize("rows", [1, 2])
def test_a_weight_normalised_layer_starts_from_few_rows_of_any_unit(rows):
    x = 1e-6 * jax.random.normal(KEY, (50, 6))
    y, variables = WeightNormDense(8).init_with_output(KEY, x[:rows])
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    spread = np.std(WeightNormDense(8).apply(variables, x), 0)
    assert 0.1 < spread.min() and spread.max() < 10


def test_noise_has_its_strength_and_needs_a_stream():
    layer, x = GaussianNoise(0.3), jnp.full((100, 100), 2.0)
    assert layer.apply({}, x) is x
    noise = layer.apply({}, x, rngs={"dropout": KEY}) - x
    assert np.std(noise) == pytest.approx(0.3, rel=0.05) and abs(np.mean(noise)) < 0.02


def test_a_noisy_mlp_is_its_layers():
    x = jax.random.normal(KEY, (5, 2, 3))
    network = NoisyMLP((4, 3))
    variables = drawn(network, x)
    h = x.reshape(5, 6)
    for i in range(2):
        p = variables["params"][f"WeightNormDense_{i}"]
        h = np.maximum(WeightNormDense(p["scale"].size).apply({"params": p}, h), 0)
    y = jax.jit(network.apply)(variables, x)
    np.testing.assert_allclose(y, h, rtol=1e-4, atol=1e-5)
    assert (y > 0).any()


@pytest.mark.parametrize(("first", "noise"), [(0.3, 0.0), (0.0, 0.5)])
def test_either_noise_of_a_noisy_mlp_reaches_its_output(first, noise):
    x = jax.random.normal(KEY, (5, 6))
    quiet, noisy = NoisyMLP((20, 20), 0.0, 0.0), NoisyMLP((20, 20), first, noise)
    variables = drawn(quiet, x)
    y, key = jax.jit(quiet.apply)(variables, x), {"dropout": KEY}
    np.testing.assert_allclose(quiet.apply(variables, x, rngs=key), y, rtol=1e-5)
    np.testing.assert_array_equal(jax.jit(noisy.apply)(variables, x), y)
    one, other = (noisy.apply(variables, x, rngs={"dropout": jax.random.key(i)}) for i in (0, 1))
    assert np.abs(one - y).max() > 1e-3 and np.abs(one - other).max() > 1e-3
