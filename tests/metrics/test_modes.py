import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.metrics.modes import mode_coverage

CENTERS = ((0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (10.0, 10.0))
coverage = jax.jit(functools.partial(mode_coverage, centers=CENTERS, std=1.0), static_argnames="fair")


def test_samples_are_counted_at_their_nearest_mode():
    # ten samples: six good at the first mode, one at the second, the rest beyond three standard deviations
    samples = [(0.5, 0.5)] * 5 + [(0.0, 2.99)] + [(10.0, -2.9)] + [(0.0, 6.9)] + [(2.2, 2.2)] + [(50.0, 50.0)]
    figures = coverage(jnp.array(samples))
    assert figures["high_quality"] == pytest.approx(0.7)
    assert figures["modes"] == 2
    # a quarter of the fair share is 0.625 of a sample
    assert figures["fair_modes"] == 2


def test_fair_modes_want_a_quarter_of_their_share():
    first, second, third = jnp.zeros((90, 2)), jnp.full((7, 2), 10.0), jnp.tile(jnp.array([[0.0, 10.0]]), (6, 1))
    figures = coverage(jnp.concatenate([first, second, third]))
    # 103 samples, four modes: a quarter of the fair share is 6.4
    assert figures["modes"] == 3 and figures["fair_modes"] == 2
    assert coverage(jnp.concatenate([first, third]), fair=0.5)["fair_modes"] == 1


def test_the_mixtures_own_samples_are_nearly_all_good():
    rng = np.random.default_rng(0)
    samples = np.asarray(CENTERS)[rng.integers(4, size=20_000)] + rng.normal(size=(20_000, 2))
    figures = coverage(jnp.array(samples, jnp.float32))
    # the squared radius is chi-squared with two degrees of freedom: 1 - exp(-9 / 2)
    assert figures["high_quality"] == pytest.approx(1 - np.exp(-4.5), abs=4 * 0.105 / 20_000**0.5)
    assert figures["modes"] == figures["fair_modes"] == 4
