"""Samples by inversion have the probabilities of the logits, and never a value of probability zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import chisquare

from jaxgen.distributions import sample_categorical


@pytest.mark.parametrize("values", [1, 2, 7, 25, 103])
def test_samples_have_the_probabilities(values):
    logits = 1.5 * np.random.default_rng(values).normal(size=(2, values)).astype(np.float32)
    drawn = np.asarray(sample_categorical(jax.random.key(0), jnp.broadcast_to(logits, (20_000, 2, values))))
    assert drawn.dtype == np.int32 and drawn.shape == (20_000, 2)
    for column, row in zip(drawn.T, logits, strict=True):
        counts, expected = np.bincount(column, minlength=values), 20_000 * softmax(np.float64(row))
        rare = expected < 5
        counts = np.append(counts[~rare], counts[rare].sum()) if rare.any() else counts
        expected = np.append(expected[~rare], expected[rare].sum()) if rare.any() else expected
        assert values == 1 or chisquare(counts, expected).pvalue > 0.01


def test_values_of_probability_zero_are_never_drawn():
    possible = np.array([3, 17, 18, 40])
    logits = np.full(43, -np.inf, np.float32)
    logits[possible] = [-200.0, -199, -201, -200.5]
    drawn = sample_categorical(jax.random.key(1), jnp.broadcast_to(logits, (5_000, 43)))
    np.testing.assert_array_equal(np.unique(drawn), possible)


@pytest.mark.parametrize("uniform", [0.0, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_the_ends_of_the_uniform_distribution_are_inside(uniform, monkeypatch):
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, uniform, dtype))
    logits = np.random.default_rng(2).normal(size=(200, 50)).astype(np.float32)
    logits[:, :4] = logits[:, -4:] = -np.inf
    drawn = sample_categorical(jax.random.key(0), jnp.asarray(logits))
    np.testing.assert_array_equal(drawn, 4 if uniform == 0 else 45)
