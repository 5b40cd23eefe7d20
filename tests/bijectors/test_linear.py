import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import Chain, InvertibleLinear, Repeat
from jaxgen.bijectors.linear import inverse_of_lower
from tests.bijectors.tools import random_variables

KEY = jax.random.key(0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plu", "matrix"])
@pytest.mark.parametrize("size", [1, 2, 12])
def test_starts_as_a_rotation(kind, size):
    linear = InvertibleLinear(kind)
    x = jax.random.normal(KEY, (5, size))
    variables = jax.jit(linear.init)(KEY, x)
    matrix = linear.apply(variables, jnp.eye(size), method="forward")
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-5)
    np.testing.assert_allclose(linear.apply(variables, x)[1], 0.0, atol=1e-5)


def test_the_factors_are_those_of_the_matrix():
    linear, size = InvertibleLinear(), 6
    variables = random_variables(linear, 0, jnp.zeros((1, size)))
    lu, raw = (np.asarray(variables["params"][name], np.float64) for name in ("lu", "raw_log_scale"))
    permutation, sign = (np.asarray(variables["constants"][name]) for name in ("permutation", "sign"))
    scale = 1e-3 * (1 + np.exp(raw) * (1e3 - 1))
    product = (np.tril(lu, -1) + np.eye(size)) @ (np.triu(lu, 1) + np.diag(np.where(sign < 0, -1, 1) * scale))
    matrix = linear.apply(variables, jnp.eye(size), method="forward")
    np.testing.assert_allclose(matrix, product[permutation], rtol=1e-4, atol=1e-5)
    # one determinant for each of the six positions
    _, log_det = linear.apply(variables, jnp.zeros((2, 3, 2, size)))
    np.testing.assert_allclose(log_det, 6 * np.linalg.slogdet(product)[1], rtol=1e-4)


def test_only_the_factors_are_learned_and_each_repetition_has_its_own():
    step = Repeat(Chain((InvertibleLinear(),)), 3)
    variables = jax.jit(step.init)(KEY, jnp.zeros((2, 8)))
    shapes = jax.tree.map(jnp.shape, variables)
    (params,), (constants,) = (shapes[name]["step"].values() for name in ("params", "constants"))
    assert params == {"lu": (3, 8, 8), "raw_log_scale": (3, 8)}
    assert constants == {"permutation": (3, 8), "sign": (3, 8)}
    first, second, _ = jax.tree.leaves(variables["params"])[0]
    assert np.abs(first - second).max() > 0.1


def test_stays_invertible_where_a_scale_dies():
    linear = InvertibleLinear()
    variables = jax.jit(linear.init)(KEY, jnp.zeros((1, 4)))
    variables["params"]["raw_log_scale"] = jnp.full(4, -1e4)
    x = jax.random.normal(KEY, (3, 4))
    z, log_det = linear.apply(variables, x)
    np.testing.assert_allclose(log_det, 4 * np.log(1e-3), rtol=1e-6)
    assert np.isfinite(linear.apply(variables, z, method="inverse")).all()


def test_names_what_it_takes():
    with pytest.raises(ValueError, match=r"in \(0, 1\), got 1.0"):
        InvertibleLinear(min_scale=1.0).init(KEY, jnp.zeros((1, 2)))
    with pytest.raises(ValueError, match="'plu' or 'matrix', got 'qr'"):
        InvertibleLinear("qr").init(KEY, jnp.zeros((1, 2)))


@pytest.mark.parametrize("size", [1, 24, 25, 61])
def test_triangular_inverses_by_halves(size):
    matrix = np.tril(np.random.default_rng(0).normal(size=(size, size)) * 0.3, -1) + 2 * np.eye(size)
    inverse = jax.jit(inverse_of_lower)(jnp.asarray(matrix, jnp.float32))
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix), rtol=1e-4, atol=1e-5)
