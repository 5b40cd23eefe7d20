import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxgen.bijectors import LogisticMixtureCDF
from tests.bijectors.tools import check_derivatives, quick

ROWS, CHANNELS = 40, 3


def random_parameters(transformer, scale=1.0, seed=0, dtype=np.float32):
    noise = np.random.default_rng(seed).normal(size=(ROWS, CHANNELS, transformer.num_params))
    return jnp.asarray(np.asarray(transformer.initial_params()) + scale * noise, dtype)


def points(scale=3.0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(1).normal(size=(ROWS, CHANNELS)) * scale, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("transformer", [
    LogisticMixtureCDF(), LogisticMixtureCDF(1), LogisticMixtureCDF(3, 0.2, 0.5),
])
def test_is_the_logit_of_the_mixtures_distribution_function_scaled_and_shifted(transformer):
    k, limit = transformer.components, -np.log(transformer.min_scale)
    with jax.enable_x64(True):
        x, parameters = points(dtype=np.float64), random_parameters(transformer, dtype=np.float64)
        z, log_derivative = transformer.forward(x, parameters)
        logits, means, raw, s, b = np.split(np.asarray(parameters), [k, 2 * k, 3 * k, 3 * k + 1], -1)
    u = (np.asarray(x)[..., None] - means) / np.exp(limit * np.tanh(raw / limit))
    cdf, rest = ((special.softmax(logits, -1) * special.expit(v)).sum(-1) for v in (u, -u))
    s = transformer.bound * np.tanh(s[..., 0] / transformer.bound)
    np.testing.assert_allclose(z, np.log(cdf / rest) * np.exp(s) + b[..., 0], rtol=1e-8, atol=1e-8)
    slope = jax.jit(jax.grad(lambda x, parameters: transformer.forward(x, parameters)[0].sum()))(
        *(jnp.asarray(a, jnp.float32) for a in (x, parameters))
    )
    np.testing.assert_allclose(log_derivative, np.log(slope), rtol=1e-3, atol=1e-4)


def test_a_fresh_one_has_components_of_scale_one_spread_evenly():
    transformer = LogisticMixtureCDF()
    assert transformer.num_params == len(transformer.initial_params()) == 14
    x = np.linspace(-4, 4, 9)
    parameters = jnp.broadcast_to(jnp.asarray(transformer.initial_params()), (9, 14))
    z, _ = transformer.forward(jnp.asarray(x, jnp.float32), parameters)
    cdf = special.expit(x[:, None] - np.asarray([-1.5, -0.5, 0.5, 1.5])).mean(-1)
    np.testing.assert_allclose(z, special.logit(cdf), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 4e-15)])
@pytest.mark.parametrize("components", [1, 4])
def test_inverts_to_float_precision(dtype, tolerance, components):
    transformer = LogisticMixtureCDF(components)
    with jax.enable_x64(dtype is np.float64):
        x, parameters = points(dtype=dtype), random_parameters(transformer, dtype=dtype)
        z, log_derivative = jax.jit(transformer.forward)(x, parameters)
        back, back_log_derivative = jax.jit(transformer.inverse)(z, parameters)
    assert back.dtype == back_log_derivative.dtype == dtype
    # to the precision of x, or to what the inverse must make of the rounding of z
    scale = np.abs(x) + (1 + np.abs(z)) * np.exp(-log_derivative)
    assert (np.abs(back - x) / scale).max() < tolerance
    np.testing.assert_allclose(back_log_derivative, -log_derivative, rtol=0, atol=100 * tolerance)


def test_inverts_from_brackets_that_are_wide_beside_the_root():
    transformer = LogisticMixtureCDF(2)
    # equal weights at -1000 and 0, of scales 100 and 0.01: F reaches 0.75 near 0
    parameters = jnp.zeros((1, transformer.num_params)).at[0, 2].set(-1000.0).at[0, 4:6].set(jnp.asarray([6.0, -6.0]))
    x = jnp.asarray([0.01])
    z, _ = transformer.forward(x, parameters)
    np.testing.assert_allclose(transformer.inverse(z, parameters)[0], x, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_first_and_second_derivatives_are_those_of_differences(direction):
    transformer = LogisticMixtureCDF(2)
    with jax.enable_x64(True):
        point = jnp.append(0.3, random_parameters(transformer, dtype=np.float64)[0, 0])
        check_derivatives(lambda p: jnp.stack(getattr(transformer, direction)(p[0], p[1:])), point)


@pytest.mark.slow
def test_gradients_of_the_inverse_are_the_same_by_row_and_in_a_batch():
    transformer = LogisticMixtureCDF(2)
    z, parameters = points()[:4], random_parameters(transformer)[:4]
    gradient = jax.grad(lambda z, parameters: sum(a.sum() for a in transformer.inverse(z, parameters)), (0, 1))
    together, by_row = quick(gradient)(z, parameters), quick(jax.vmap(gradient))(z, parameters)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), together, by_row)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 10.0, 1e3])
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_float32_values_and_gradients_are_finite_far_out(direction, scale):
    transformer = LogisticMixtureCDF()
    parameters = random_parameters(transformer, scale)

    @quick
    def results(x):
        outputs, pull_back = jax.vjp(getattr(transformer, direction), x, parameters)
        one, zero = (jax.tree.map(f, outputs) for f in (jnp.ones_like, jnp.zeros_like))
        return outputs, pull_back((one[0], zero[1])), pull_back((zero[0], one[1]))

    for x in (-1e3, -30.0, 0.0, 30.0, 1e3):
        for leaf in jax.tree.leaves(results(jnp.full((ROWS, CHANNELS), x))):
            assert np.isfinite(leaf).all()


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_half_precision_parameters_give_float32_results(direction):
    transformer = LogisticMixtureCDF()
    rounded, x = random_parameters(transformer).astype(jnp.bfloat16), points()
    results = (getattr(transformer, direction)(x, p) for p in (rounded, rounded.astype(jnp.float32)))
    for half, single in zip(*results, strict=True):
        assert half.dtype == jnp.float32
        np.testing.assert_array_equal(half, single)


@pytest.mark.parametrize(("fields", "message"), [
    ({"components": 0}, "`components` must be at least 1, got 0"),
    ({"min_scale": 0.0}, r"`min_scale` must be in \(0, 1\), got 0.0"),
    ({"min_scale": 1.0}, r"`min_scale` must be in \(0, 1\), got 1.0"),
    ({"bound": 0.0}, "`bound` must be positive, got 0.0"),
])
def test_refuses_impossible_fields(fields, message):
    with pytest.raises(ValueError, match=message):
        LogisticMixtureCDF(**fields)
