"""Path lengths of known curves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial

from jaxgen.metrics.paths import perceptual_path_length, spherical_interpolation

RNG = np.random.default_rng(0)


def test_spherical_interpolation_is_scipys():
    a, b = RNG.normal(size=(2, 5, 3))
    for i in range(5):
        ends = np.stack([a[i] / np.linalg.norm(a[i]), b[i] / np.linalg.norm(b[i])])
        t = np.linspace(0, 1, 4)
        expected = scipy.spatial.geometric_slerp(*ends, t)
        points = spherical_interpolation(*(np.repeat(x[i : i + 1], 4, 0) for x in (a, b)), t)
        np.testing.assert_allclose(points, expected, atol=1e-5)


def test_spherical_interpolation_of_equal_and_of_nearly_equal_points():
    a = np.float32([[3.0, 4.0], [1.0, 0.0]])
    b = np.float32([[3.0, 4.0], [1.0, 1e-3]])
    points = spherical_interpolation(a, b, np.float32([0.3, 0.5]))
    np.testing.assert_allclose(points, [[0.6, 0.8], [1.0, 5e-4]], rtol=1e-4)
    gradient = jax.jacobian(lambda t: spherical_interpolation(a, b, t))(jnp.float32([0.3, 0.5]))
    assert np.isfinite(gradient).all()


def test_the_length_is_the_mean_squared_speed_and_that_of_small_differences():
    direction = np.float32([[1.0, 2.0], [3.0, 0.0]])
    length = perceptual_path_length(lambda t: t[:, None] * direction, np.float32([0.2, 0.7]), trim=0.0)
    assert float(length) == pytest.approx((5 + 9) / 2)

    def curve(t):
        return jnp.stack([jnp.sin(3 * t), t**2], -1)

    with jax.enable_x64(True):
        t = RNG.uniform(size=200)
        length = float(perceptual_path_length(curve, t, trim=0.0))
        differences = np.asarray(((curve(t + 1e-4) - curve(t)) ** 2).sum(-1)) / 1e-8
    assert length == pytest.approx(differences.mean(), rel=1e-3)


def test_the_extremes_are_left_out():
    t = np.arange(100, dtype=np.float32)
    # speeds 2 t: those of 0 and of 99 are left out, as the authors' code does with numpy's quantiles
    squared = (2 * t) ** 2
    low, high = np.quantile(squared, 0.02, method="lower"), np.quantile(squared, 0.98, method="higher")
    expected = squared[(squared >= low) & (squared <= high)].mean()
    assert float(perceptual_path_length(lambda t: t**2, t, trim=0.02)) == pytest.approx(expected, rel=1e-5)
    assert expected != pytest.approx(squared.mean(), rel=1e-3)
