import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgen.losses.penalties import (
    consistency_penalty,
    dragan_points,
    gradient_norm,
    gradient_penalty,
    interpolate,
    norm_penalty,
    orthonormality,
    pixel_gradient_penalty,
    proximal,
    squared_slopes,
    zero_centred_penalty,
)

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
    np.testing.assert_allclose(jax.jit(jax.grad(penalty))(w), 20 * (norm - 1) * w / norm, rtol=1e-4)


def test_each_pixel_pays_for_the_slope_of_the_sum_of_scores():
    w = normals(20, 2)  # a score per pixel, a linear function of its channels
    real, fake = normals(21, 5, *EVENT), normals(22, 5, *EVENT)
    pixel = np.linalg.norm(w)
    found = pixel_gradient_penalty(lambda x: x @ w, real, fake, KEY, weight=3.0)
    assert found == pytest.approx(3 * (pixel - 1) ** 2, rel=1e-5)
    # where only the left half is scored, the right one has no slope
    half = pixel_gradient_penalty(lambda x: (x @ w)[:, :2], real, fake, KEY, weight=1.0)
    assert half == pytest.approx(((pixel - 1) ** 2 + 1) / 2, rel=1e-5)
    penalty = jax.grad(lambda w: pixel_gradient_penalty(lambda x: (x @ w)[:, :2], real, fake, KEY, weight=1.0))
    gradient = jax.jit(penalty)(w)
    np.testing.assert_allclose(gradient, (pixel - 1) * w / pixel, rtol=1e-4)
    with pytest.raises(ValueError, match="`real` must be images"):
        pixel_gradient_penalty(lambda x: x, real[..., 0], fake[..., 0], KEY)


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
        jacobian = jax.jit(jax.jacrev(second))(w)
        return of_scale(a), first(a), jax.jit(jax.grad(first))(a), of_weights(w), second(w), jacobian

    got = with_two_derivatives(2.0, jnp.zeros(3))
    for value, expected in zip(got, (10, 0, 0, 10, np.zeros(3), np.zeros((3, 3))), strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_critic_with_columns_for_outputs_is_refused():
    with pytest.raises(ValueError):
        gradient_norm(lambda x: x.sum(1, keepdims=True), jnp.ones((3, 2)))


def test_one_sided_penalties_let_slopes_be_small():
    norms = jnp.array([0.5, 1.0, 3.0])
    assert norm_penalty(norms, weight=6.0) == pytest.approx(6 * (0.25 + 4) / 3)
    assert norm_penalty(norms, weight=6.0, one_sided=True) == pytest.approx(6 * 4 / 3)
    np.testing.assert_allclose(jax.grad(lambda n: norm_penalty(n, 1.0, 6.0, True))(norms), [0, 0, 8], rtol=1e-6)
    real, fake = normals(3, 5, 4), normals(4, 5, 4)
    for slope, expected in ((0.3, 0.0), (2.5, 10 * 1.5**2)):
        w = jnp.array([0.0, slope, 0.0, 0.0])
        got = gradient_penalty(lambda x, w=w: x @ w, real, fake, KEY, one_sided=True)
        assert got == pytest.approx(expected, rel=1e-5)


def test_dragan_points_lie_around_the_real_rows():
    real = 3 * normals(7, 500, *EVENT) + 5
    std = float(np.asarray(real).std())
    noise = np.asarray(dragan_points(real, KEY) - real)
    # uniform on [0, std / 2): of half the variance it would reach 4.5, of U - 1/2 below zero
    assert noise.min() > -1e-5 and noise.max() < std / 2 + 1e-5
    at = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(np.quantile(noise, at), std / 2 * at, atol=0.03)
    # each value has its own, and no row less of it than another
    assert np.abs(np.corrcoef(noise.reshape(500, -1).T) - np.eye(24)).max() < 0.25
    rows = noise.reshape(500, -1).mean(1)
    assert rows.min() > 0.5 * rows.mean() and rows.max() < 1.5 * rows.mean()
    # shrunk, a row's noise reaches to a part of std / 2 that is uniform too
    shrunk = np.asarray(dragan_points(real, KEY, shrink=True) - real).reshape(500, -1)
    np.testing.assert_allclose(np.quantile(shrunk.mean(1) / (std / 4), at), at, atol=0.09)


def test_zero_centred_penalties_are_half_the_weighted_squared_slope():
    w, x = normals(2, *EVENT), normals(3, 5, *EVENT)
    got = zero_centred_penalty(lambda x: (x * w).sum((1, 2, 3)), x, 6.0)
    assert got == pytest.approx(3 * float((w**2).sum()), rel=1e-5)
    # of a curved critic it is each row's own slope, squared before the mean; no root, so flat critics are smooth
    rows = np.asarray(squared_slopes(lambda x: (x**2).sum((1, 2, 3)) / 2, x))
    np.testing.assert_allclose(rows, (np.asarray(x) ** 2).sum((1, 2, 3)), rtol=1e-5)
    curved = zero_centred_penalty(lambda x: (x**2).sum((1, 2, 3)) / 2, x, 6.0)
    assert curved == pytest.approx(3 * rows.mean(), rel=1e-5)
    hessian = jax.jit(jax.hessian(lambda w: zero_centred_penalty(lambda x: x @ w, x[:, 0, 0], 6.0)))(jnp.zeros(2))
    np.testing.assert_allclose(hessian, 6 * np.eye(2), atol=1e-6)


def test_consistency_is_the_squared_distance_of_answers():
    a, b = normals(0, 5), normals(1, 5)
    assert consistency_penalty(a, b, 4.0) == pytest.approx(4 * float(((a - b) ** 2).mean()), rel=1e-5)
    a, b = normals(0, 5, 3), normals(1, 5, 3)
    assert consistency_penalty(a, b, 4.0) == pytest.approx(4 * float(((a - b) ** 2).sum(1).mean()), rel=1e-5)


def test_orthonormal_tangents_cost_nothing():
    j = np.random.default_rng(0).normal(size=(4, 6, 3))
    expected = np.mean([np.linalg.norm(a.T @ a - np.eye(3), "fro") ** 2 for a in j])
    assert float(orthonormality(jnp.asarray(j))) == pytest.approx(expected, rel=1e-5)
    q = np.linalg.qr(j)[0]
    assert float(orthonormality(jnp.asarray(q))) == pytest.approx(0, abs=1e-10)
    # of length two, and in one direction
    assert float(orthonormality(jnp.asarray(2 * q))) == pytest.approx(3 * 9, rel=1e-5)
    assert float(orthonormality(jnp.asarray(q[:, :, [0, 0]]))) == pytest.approx(2, rel=1e-5)


def test_the_proximal_term_holds_the_new_to_the_old():
    new, old = normals(0, 5, *EVENT), normals(1, 5, *EVENT)
    expected = 0.3 * np.mean([float(((new[i] - old[i]) ** 2).sum()) for i in range(5)])
    assert proximal(new, old, 0.3) == pytest.approx(expected, rel=1e-5)
    to_new, to_old = jax.jit(jax.grad(proximal, argnums=(0, 1)))(new, old, 0.3)
    np.testing.assert_allclose(to_new, 0.3 * 2 * (new - old) / 5, rtol=1e-5)
    np.testing.assert_array_equal(to_old, 0)


def test_an_earlier_self_renewed_at_each_move_does_nothing():
    z = normals(0, 5, 3)

    def moves(every, weight):
        """Six moves of the generator z @ w down its own loss and the term."""
        w = old = jnp.ones(3)
        for i in range(6):
            old = w if i % every == 0 else old
            w = w - 0.1 * jax.jit(jax.grad(lambda w, old=old: (z @ w).mean() + proximal(z @ w, z @ old, weight)))(w)
        return w

    np.testing.assert_array_equal(moves(1, 5.0), moves(1, 0.0))
    assert np.abs(moves(2, 5.0) - moves(2, 0.0)).max() > 1e-3


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        rng = np.random.default_rng(8)
        w, real, fake = jnp.asarray(rng.normal(size=3)), jnp.asarray(rng.normal(size=(4, 3))), rng.normal(size=(4, 3))

        def critic(w):
            return lambda x: jnp.tanh(x @ w) + (x**2).sum(1) * w[0]

        @jax.jit
        def weighted(w):
            values = (
                gradient_penalty(critic(w), real, fake, KEY),
                gradient_penalty(critic(w), real, fake, KEY, target=0.7, one_sided=True),
                zero_centred_penalty(critic(w), real),
                norm_penalty(gradient_norm(critic(w), dragan_points(real, KEY))),
                orthonormality(w * real[..., None] + fake[:, None]),
            )
            return sum(np.sqrt(i + 2) * value for i, value in enumerate(values))

        check_grads(weighted, (w,), order=1, modes=["rev"], rtol=1e-5)
