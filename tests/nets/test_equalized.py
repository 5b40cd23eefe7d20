import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.nets.equalized import EqualizedConv, EqualizedDense, scaled_leaky_relu

KEY = jax.random.key(0)


@pytest.mark.parametrize("m", [1.0, 0.01])
def test_a_dense_layer_is_the_equation(m):
    x = jax.random.normal(KEY, (5, 30))
    layer = EqualizedDense(7, m, bias_init=0.5)
    params = layer.init(KEY, x)["params"]
    # weights are stored at 1/m, and a fresh bias is the one that was asked for
    np.testing.assert_allclose(params["kernel"].std(), 1 / m, rtol=0.1)
    np.testing.assert_allclose(m * params["bias"], 0.5, rtol=1e-6)
    params = {"kernel": params["kernel"], "bias": jnp.arange(7.0)}
    expected = m / np.sqrt(30) * x @ params["kernel"] + m * jnp.arange(7.0)
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-5)


def test_a_convolution_is_a_plain_one_with_a_scaled_kernel():
    x = jax.random.normal(KEY, (2, 6, 6, 5))
    layer = EqualizedConv(3, strides=2, padding="VALID", lr_multiplier=0.1)
    params = {"kernel": jax.random.normal(KEY, (3, 3, 5, 3)), "bias": jnp.array([1.0, 2.0, 3.0])}
    dimensions = ("NHWC", "HWIO", "NHWC")
    plain = jax.lax.conv_general_dilated(x, params["kernel"], (2, 2), "VALID", dimension_numbers=dimensions)
    expected = 0.1 / np.sqrt(45) * plain + 0.1 * params["bias"]
    np.testing.assert_allclose(layer.apply({"params": params}, x), expected, rtol=1e-4, atol=1e-5)


def test_fresh_layers_and_the_activation_keep_the_variance():
    x = jax.random.normal(KEY, (200, 8, 8, 16))
    y = EqualizedConv(16, use_bias=False).init_with_output(KEY, x)[0][:, 1:-1, 1:-1]
    assert float(y.var()) == pytest.approx(1, rel=0.1)
    # half of 2 (1 + 0.2^2), the mean square
    assert float((scaled_leaky_relu(x) ** 2).mean()) == pytest.approx(1.04, rel=0.02)


@pytest.mark.parametrize(("fan_in", "m"), [(4, 1.0), (400, 1.0), (400, 0.01)])
def test_adams_first_step_changes_weights_at_one_relative_speed(fan_in, m):
    """The effective weights are of size 1 / sqrt(fan_in), and so is the change, m times the rate."""
    layer, x = EqualizedDense(3, m, use_bias=False), jax.random.normal(KEY, (8, fan_in))
    before = layer.init(KEY, x)
    adam = optax.adam(0.01)
    gradient = jax.grad(lambda v: (layer.apply(v, x) ** 2).sum())(before)
    after = optax.apply_updates(before, adam.update(gradient, adam.init(before))[0])
    one = jnp.eye(fan_in)
    change, size = layer.apply(after, one) - layer.apply(before, one), layer.apply(before, one)
    assert float(jnp.abs(change).mean() / size.std()) == pytest.approx(0.01 * m, rel=0.15)
