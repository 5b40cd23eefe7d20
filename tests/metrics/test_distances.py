import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.metrics.distances import mmd_squared, sample_distances, sliced_wasserstein, wasserstein_1d

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
