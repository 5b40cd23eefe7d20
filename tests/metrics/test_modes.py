import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import rel_entr

from jaxgen.metrics.modes import majority_modes, mode_collisions, mode_coverage, reverse_kl_of_modes, stacked_modes

CENTERS = ((0.0, 0.0), (10.0, 0.0), (0.0, 10.0), (10.0, 10.0))
coverage = jax.jit(functools.partial(mode_coverage, centers=CENTERS, std=1.0), static_argnames="fair")
divergence = jax.jit(reverse_kl_of_modes, static_argnums=1)
stacked = jax.jit(stacked_modes, static_argnames="num_classes")


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


def at_modes(counts):
    """Samples of low quality, the more so the later, nearest to the modes in these numbers."""
    rows = [np.full((n, 2), float(i)) + c for i, (n, c) in enumerate(zip(counts, CENTERS, strict=True))]
    return np.concatenate(rows).astype(np.float32)


def test_the_reverse_divergence_counts_samples_of_any_quality_at_their_nearest_mode():
    counts = np.array([5, 0, 3, 2])
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    samples = at_modes(counts)
    assert float(divergence(samples, CENTERS)) == pytest.approx(rel_entr(counts / 10, 0.25).sum(), rel=1e-5)
    assert float(divergence(samples, CENTERS, shares)) == pytest.approx(rel_entr(counts / 10, shares).sum(), rel=1e-5)
    figures = coverage(samples)
    # the last mode's are not of high quality, and count here
    assert float(figures["reverse_kl"]) == pytest.approx(rel_entr(counts / 10, 0.25).sum(), rel=1e-5)
    assert figures["modes"] == 2


def test_it_is_the_reverse_one_finite_where_modes_are_missed():
    # KL(uniform || samples) would be infinite
    assert float(divergence(at_modes([5, 0, 5, 0]), CENTERS)) == pytest.approx(np.log(2), rel=1e-5)
    assert divergence(at_modes([4, 2, 4, 0]), CENTERS, np.array([0.5, 0, 0.5, 0])) == np.inf


def test_few_samples_of_the_truth_diverge_from_it_by_about_what_is_said():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, (26_000, 3))
    figures = stacked(labels)
    assert figures["modes"] == 1000
    assert float(figures["reverse_kl"]) == pytest.approx(999 / (2 * 26_000), rel=0.15)


def test_stacked_digits_are_counted_by_their_combination():
    labels = np.array([[0, 0, 1], [0, 0, 1], [1, 0, 0], [9, 9, 9]], np.uint8)
    figures = stacked(labels)
    shares = np.array([0.5, 0.25, 0.25])
    assert figures["modes"] == 3
    assert float(figures["reverse_kl"]) == pytest.approx(rel_entr(shares, 0.001).sum(), rel=1e-5)
    reference = np.concatenate([labels, labels[:1], [[5, 5, 5]] * 3])
    expected = rel_entr(shares, np.array([3, 1, 1]) / 8).sum()
    assert float(stacked(labels, reference)["reverse_kl"]) == pytest.approx(expected, rel=1e-5)
    assert stacked(reference, labels)["reverse_kl"] == np.inf
    assert stacked(np.array([[0, 1, 2], [2, 1, 0]]), num_classes=3)["modes"] == 2


def test_labels_collide_whose_samples_are_mostly_nearest_to_one_mode():
    modes = [0, 0, 1, 3, 3, 2, 0, 0, 2, 3, 3, 1]
    labels = [0, 0, 0, 1, 1, 1, 3, 3, 3, 4, 4, 4]
    samples = np.float32(CENTERS)[modes]
    most = jax.jit(majority_modes, static_argnums=(2, 3))(samples, np.array(labels), 6, CENTERS)
    np.testing.assert_array_equal(most, [0, 3, -1, 0, 3, -1])
    collisions = jax.jit(mode_collisions, static_argnums=(2, 3))
    # labels 0 with 3, and 1 with 4; those without samples do not collide
    assert collisions(samples, np.array(labels), 6, CENTERS) == 2
    # three labels at one mode are three pairs
    assert collisions(samples[[0, 1, 6]], np.array([0, 1, 2]), 3, CENTERS) == 3
    assert collisions(samples[[0, 2, 5]], np.array([0, 1, 2]), 3, CENTERS) == 0
    with pytest.raises(ValueError, match="`labels` must be integers from 0 to 2"):
        mode_collisions(samples, np.array(labels), 3, CENTERS)
