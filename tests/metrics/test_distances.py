import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel

from jaxgen.metrics.distances import (
    data_bandwidth,
    frechet_distance,
    frechet_distance_of_moments,
    kernel_distance,
    mmd_squared,
    sample_distances,
    sliced_wasserstein,
    wasserstein_1d,
    wasserstein_exact,
)

KEY = jax.random.key(0)


@pytest.mark.parametrize("n, m", [(50, 50), (50, 20), (1, 30)])
def test_wasserstein_1d_is_scipys(n, m):
    rng = np.random.default_rng(0)
    # rounded, so that there are ties
    x, y = np.round(rng.normal(size=n), 1), np.round(rng.normal(1, 2, size=m), 1)
    distance = jax.jit(wasserstein_1d)(np.float32(x), np.float32(y))
    assert float(distance) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-5)


def test_the_sliced_distance_of_a_shift_is_its_mean_projection():
    x = jax.random.normal(KEY, (300, 2, 1))
    shift = jnp.array([3.0, 4.0])[:, None]
    # |5 cos t| over a uniform angle has mean 10 / pi, standard deviation 1.54
    expected, projections = 10 / np.pi, 1000
    distance = jax.jit(sliced_wasserstein, static_argnums=3)
    assert float(distance(x, x + shift, KEY, projections)) == pytest.approx(expected, abs=4 * 1.54 / projections**0.5)
    assert float(distance(x, x[::-1], KEY, projections)) == pytest.approx(0, abs=1e-6)


def test_integers_are_measured_in_their_own_units():
    black, white = jnp.zeros((20, 1), jnp.uint8), jnp.full((30, 1), 255, jnp.uint8)
    for real, fake in ((black, white), (white, black)):
        assert float(jax.jit(sample_distances)(real, fake)["sliced_wasserstein"]) == pytest.approx(255)


def test_mmd_is_unbiased():
    # x ~ N(0, a^2 I), y ~ N(shift, b^2 I), bandwidth h in d dimensions: closed forms of the three expectations
    d, a, b, h, shift, n, m, repeats = 3, 1.0, 0.5, 1.2, 0.8, 6, 4, 4000

    def expected_kernel(variance, squared_distance):
        return (h**2 / (h**2 + variance)) ** (d / 2) * np.exp(-squared_distance / (2 * (h**2 + variance)))

    far = d * shift**2
    truth = expected_kernel(2 * a**2, 0) + expected_kernel(2 * b**2, 0) - 2 * expected_kernel(a**2 + b**2, far)

    def draw(key):
        x_key, y_key = jax.random.split(key)
        x, y = a * jax.random.normal(x_key, (n, d)), shift + b * jax.random.normal(y_key, (m, d))
        # far from the origin, where squares have few digits left
        return mmd_squared(x + 3000, y + 3000, h)

    estimates = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(KEY, repeats)), np.float64)
    error = estimates.std() / repeats**0.5
    assert error < 0.01 and estimates.mean() == pytest.approx(truth, abs=4 * error)


def discrepancy(kernel, x, y, biased=False):
    """By loops over all pairs."""

    def within(a):
        k = kernel(a, a)
        return k.mean() if biased else (k.sum() - np.trace(k)) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


# more rows than are held at a time, and other numbers of them
@pytest.mark.parametrize("biased", [False, True])
def test_mmd_is_that_of_all_pairs(biased):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 2, 2)), rng.normal(0.3, 1.5, size=(270, 2, 2))
    gamma, flat = 1 / (2 * 1.3**2), (x.reshape(300, 4), y.reshape(270, 4))
    expected = discrepancy(lambda a, b: rbf_kernel(a, b, gamma), *flat, biased)
    found = jax.jit(mmd_squared, static_argnames="biased")(np.float32(x), np.float32(y), 1.3, biased=biased)
    assert float(found) == pytest.approx(expected, abs=2e-6)


def test_the_unbiased_mmd_may_be_negative_and_the_biased_one_is_not():
    x, y = (jax.random.normal(key, (2, 20, 3)) for key in jax.random.split(KEY))
    # and of rows with their copies, which are pairs across the sets alone
    pairs = jnp.concatenate([x, x[:1]]), jnp.concatenate([y, x[:1]])
    unbiased, biased = (
        np.asarray(jax.jit(jax.vmap(functools.partial(mmd_squared, biased=kind)))(*pairs)) for kind in (False, True)
    )
    assert unbiased[2] < -0.01 and biased[2] == pytest.approx(0, abs=1e-6)
    assert (biased[:2] > 0).all() and (biased > unbiased + 0.02).all()


def test_the_bandwidth_is_the_mean_squared_distance_of_two_rows():
    x = np.random.default_rng(0).normal(5, 2, size=(30, 3))
    expected = np.mean(pdist(x) ** 2) ** 0.5
    assert float(data_bandwidth(np.float32(x))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_kernel_distance_is_the_unbiased_mmd_of_its_cubic_kernel():
    rng = np.random.default_rng(0)
    x, y = np.abs(rng.normal(size=(40, 6))), np.abs(rng.normal(0.5, 2, size=(40, 6)))
    expected = discrepancy(lambda a, b: polynomial_kernel(a, b, 3, 1 / 6, 1), x, y)
    kid = jax.jit(kernel_distance, static_argnums=(3, 4))
    # subsets without replacement: of all rows they are all the same, whatever their order
    mean, std = kid(np.float32(x), np.float32(y), KEY, 3, 40)
    assert float(mean) == pytest.approx(expected, rel=1e-4) and float(std) < 1e-4 * float(mean)
    # subsets of few rows have the same expectation, and differ
    mean, std = kid(np.float32(x), np.float32(y), KEY, 2000, 5)
    assert float(std) > expected / 2 and float(mean) == pytest.approx(expected, abs=4 * float(std) / 2000**0.5)


def test_subsets_are_no_larger_than_the_sets():
    with pytest.raises(ValueError, match="fake.*size=11.*10"):
        kernel_distance(np.zeros((20, 2)), np.zeros((10, 2)), KEY, 3, 11)


def normals(d=4):
    """Means and covariances of two normals that do not commute."""
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(2, d, d))
    return rng.normal(size=(2, d)), factors @ factors.transpose(0, 2, 1)


def test_the_frechet_distance_of_normals():
    (m, n), (s, t) = normals()
    expected = ((m - n) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    found = frechet_distance_of_moments(m, s, n, t)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == pytest.approx(frechet_distance_of_moments(n, t, m, s), rel=1e-9)
    # a transport map's cost: A = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2 takes the first to the second
    root = linalg.sqrtm(s).real
    transport = np.linalg.solve(root, linalg.sqrtm(root @ t @ root).real) @ np.linalg.inv(root) - np.eye(4)
    assert found == pytest.approx(((m - n) ** 2).sum() + np.trace(transport @ s @ transport), rel=1e-8)
    # in one dimension (m - n)^2 + (sigma - tau)^2: squared, no root of it
    assert frechet_distance_of_moments([1.0], [[4.0]], [4.0], [[25.0]]) == pytest.approx(9 + 9)


def test_the_frechet_distance_of_rows_takes_covariances_over_one_row_less():
    x, y = np.array([[0.0], [2.0]]), np.array([[5.0], [9.0], [7.0]])
    # variances of 2 and 4, not of 1 and 8/3
    assert frechet_distance(x, y) == pytest.approx(36 + (2 - 2**0.5) ** 2)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(50, 3)), rng.normal(1, 2, size=(40, 3))
    s, t = np.cov(real.T), np.cov(fake.T)
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(s + t - 2 * linalg.sqrtm(s @ t).real)
    assert frechet_distance(jnp.asarray(real), jnp.asarray(fake)) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="`real` must have at least 2 examples"):
        frechet_distance(real[:1], fake)


def test_the_frechet_distance_of_samples_approaches_that_of_their_normals():
    (m, n), (s, t) = normals(2)
    rng = np.random.default_rng(0)
    x, y = rng.multivariate_normal(m, s, 200_000), rng.multivariate_normal(n, t, 200_000)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance_of_moments(m, s, n, t), rel=0.02)


def test_singular_covariances_have_a_frechet_distance():
    rng = np.random.default_rng(0)
    # fewer rows than dimensions, far from the origin: float32 would lose all of it
    x = 100 + rng.normal(size=(10, 30))
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(x, x + 0.1) == pytest.approx(30 * 0.01, abs=1e-5)


def test_the_exact_distance_is_that_of_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2, 2)), rng.normal(1, 2, size=(6, 2, 2))
    cost = cdist(x.reshape(6, 4), y.reshape(6, 4))
    best = min(cost[range(6), list(order)].mean() for order in itertools.permutations(range(6)))
    assert wasserstein_exact(x, y) == pytest.approx(best, rel=1e-12)
    line, other = rng.normal(size=(50, 1)), rng.normal(1, 2, size=(50, 1))
    expected = stats.wasserstein_distance(line[:, 0], other[:, 0])
    assert wasserstein_exact(line, other) == pytest.approx(expected)
    assert float(wasserstein_1d(np.float32(line[:, 0]), np.float32(other[:, 0]))) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="6 and 5"):
        wasserstein_exact(x, y[:5])
