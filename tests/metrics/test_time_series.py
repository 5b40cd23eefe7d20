"""Metrics of series: closed forms, and the controls that other scores do not tell from data."""

import jax
import numpy as np
import pytest

from jaxgen.metrics import autocorrelation, autocorrelation_error, nearest_training_ratio

RNG = np.random.default_rng(0)


def autoregressive(rng, n, coefficient, steps=24):
    x = rng.normal(size=(n, steps + 50, 2))
    for t in range(1, steps + 50):
        x[:, t] += coefficient * x[:, t - 1]
    return x[:, 50:].astype(np.float32)


def test_autocorrelation_is_each_series_own():
    x = RNG.normal(size=(3, 7, 2)).astype(np.float32)
    expected = np.zeros((2, 2))
    for column in range(2):
        for lag in (1, 2):
            for one in x[:, :, column].astype(np.float64):
                c = one - one.mean()
                expected[lag - 1, column] += (c[lag:] * c[:-lag]).sum() / (c**2).sum() / 3
    np.testing.assert_allclose(autocorrelation(x, 2), expected, rtol=1e-4, atol=1e-6)
    # level and scale of a series do not matter, and a constant one counts as 0
    scaled = x * RNG.uniform(1, 9, (3, 1, 2)) + RNG.normal(size=(3, 1, 2))
    np.testing.assert_allclose(autocorrelation(scaled, 2), expected, rtol=1e-3, atol=1e-5)
    with_constant = np.concatenate([x, np.full((1, 7, 2), 0.7, np.float32)])
    np.testing.assert_allclose(autocorrelation(with_constant, 2), expected * 3 / 4, rtol=1e-4, atol=1e-6)


def test_the_error_tells_shuffled_time_and_constant_windows_from_data():
    real, again = autoregressive(RNG, 2000, 0.9), autoregressive(RNG, 2000, 0.9)
    shuffled = np.take_along_axis(again, RNG.permuted(np.tile(np.arange(24), (2000, 1)), axis=1)[..., None], 1)
    constant = again[:, :1] + 0.1 * RNG.normal(size=again.shape)
    reversed_in_time = again[:, ::-1]
    np.testing.assert_allclose(autocorrelation_error(real, again), 0, atol=0.01)
    np.testing.assert_allclose(autocorrelation_error(real, reversed_in_time), 0, atol=0.01)  # which it cannot see
    assert (autocorrelation_error(real, shuffled) > 0.2).all() and (autocorrelation_error(real, constant) > 0.2).all()
    # one column at a time
    half = np.stack([again[..., 0], shuffled[..., 1]], -1)
    error = autocorrelation_error(real, half)
    assert error.shape == (2,) and error[0] < 0.01 < 0.2 < error[1]
    # the expected value of independent steps
    np.testing.assert_allclose(autocorrelation(shuffled, 1), -1 / 24, atol=0.02)


def test_the_ratio_tells_copies_and_outliers_from_new_data():
    train, held_out, new = (RNG.normal(size=(n, 4, 2)).astype(np.float32) for n in (300, 200, 200))
    assert nearest_training_ratio(new, train, held_out) == pytest.approx(1, abs=0.08)
    assert nearest_training_ratio(train[:200], train, held_out) == 0
    assert nearest_training_ratio(new + 5, train, held_out) > 3
    # the medians of distances, by SciPy
    from scipy.spatial.distance import cdist

    medians = [np.median(cdist(x.reshape(len(x), -1), train.reshape(300, -1)).min(1)) for x in (new, held_out)]
    assert nearest_training_ratio(new, train, held_out) == pytest.approx(medians[0] / medians[1], rel=1e-5)


def test_lags_must_fit_and_the_metrics_can_be_traced():
    x = np.zeros((3, 5, 2), np.float32)
    with pytest.raises(ValueError, match="`lags` must be below the 5 steps of the series, got 5"):
        autocorrelation(x, 5)
    assert np.isfinite(jax.jit(lambda x: autocorrelation_error(x, x, 3))(x)).all()
    assert (jax.grad(lambda x: autocorrelation_error(x, x + 1, 3).sum())(x) == 0).all()
