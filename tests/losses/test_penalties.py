import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses.penalties import gradient_norm, gradient_penalty, interpolate, norm_penalty

KEY = jax.random.key(0)
EVENT = (4, 3, 2)


def normals(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_interpolation_is_uniform_on_the_line_of_each_pair():
    real, fake = normals(0, 2000, *EVENT), normals(1, 2000, *EVENT)
    e = np.asarray((interpolate(real, fake, KEY) - fake) / (real - fake)).reshape(2000, -1)
    of_row = np.median(e, 1)
    # the same all over a row, up to the division's round-off
    assert np.quantile(np.abs(e - of_row[:, None]), 0.99) < 1e-4
    # and another in each
    assert len(np.unique(of_row)) > 1900
    at = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(np.quantile(of_row, at), at, atol=0.04)


def test_a_linear_critic_pays_for_its_weights_norm():
    w = normals(2, *EVENT)
    real, fake = normals(3, 5, *EVENT), normals(4, 5, *EVENT)

    @jax.jit
    def penalty(w, **options):
        return gradient_penalty(lambda x: (x * w).sum((1, 2, 3)), real, fake, KEY, **options)

    norm = np.linalg.norm(w)
    np.testing.assert_allclose(gradient_norm(lambda x: (x * w).sum((1, 2, 3)), real), np.full(5, norm), rtol=1e-5)
    assert penalty(w) == pytest.approx(10 * (norm - 1) ** 2, rel=1e-5)
    assert penalty(w, target=0.5, weight=3.0) == pytest.approx(3 * (norm - 0.5) ** 2, rel=1e-5)
    np.testing.assert_allclose(jax.grad(penalty)(w), 20 * (norm - 1) * w / norm, rtol=1e-4)


def test_a_quadratic_critic_pays_for_where_it_is_asked():
    # |x|^2 / 2 has slope |x|; on the lines from 0 to points at distance 3 the mean of (3 e - 1)^2 is 9/3 - 3 + 1 = 1
    rows = 4000
    real = normals(5, rows, *EVENT)
    real = 3 * real / jnp.linalg.norm(real.reshape(rows, -1), axis=1).reshape(-1, 1, 1, 1)
    penalty = gradient_penalty(lambda x: (x**2).sum((1, 2, 3)) / 2, real, jnp.zeros_like(real), KEY, weight=1.0)
    # (3 e - 1)^2 has standard deviation 1.16; one e for all rows gives anything from 0 to 4, one a pixel 0.5
    assert penalty == pytest.approx(1.0, abs=4 * 1.16 / rows**0.5)


def test_norms_belong_to_rows():
    x = normals(6, 3, *EVENT)
    expected = np.linalg.norm(np.asarray(x).reshape(3, -1), axis=1)
    np.testing.assert_allclose(gradient_norm(lambda x: (x**2).sum((1, 2, 3)) / 2, x), expected, rtol=1e-5)
    assert norm_penalty(jnp.array([1.0, 3.0]), weight=10.0) == pytest.approx(20.0)


def test_flat_critics_have_finite_penalties_and_derivatives():
    zeros = jnp.zeros((4, 3))

    def of_scale(a):
        return gradient_penalty(lambda x: a * (x**2).sum(1), zeros, zeros, KEY)

    def of_weights(w):
        return gradient_penalty(lambda x: x @ w, zeros, zeros, KEY)

    @jax.jit
    def with_two_derivatives(a, w):
        first, second = jax.grad(of_scale), jax.grad(of_weights)
        jacobian = jax.jacrev(second)(w)
        return of_scale(a), first(a), jax.grad(first)(a), of_weights(w), second(w), jacobian

    got = with_two_derivatives(2.0, jnp.zeros(3))
    for value, expected in zip(got, (10, 0, 0, 10, np.zeros(3), np.zeros((3, 3))), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_critic_with_columns_for_outputs_is_refused():
    with pytest.raises(AssertionError):
        gradient_norm(lambda x: x.sum(1, keepdims=True), jnp.ones((3, 2)))
