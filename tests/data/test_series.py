import itertools

import numpy as np
import pytest

from jaxgen.data import series, source
from jaxgen.data.series import TRANSITIONS, chains, log_prob_of_chains, sines


@pytest.mark.parametrize("name", series.SERIES)
def test_series_are_fixed_draws_with_independent_splits(name):
    splits, again = source(name), source(name)
    assert [len(part) for part in splits] == [20_000, 2_000, 2_000]
    for part, other in zip(splits, again, strict=True):
        np.testing.assert_array_equal(part.arrays["x"], other.arrays["x"])
        assert part.levels == series.SERIES[name].levels and part.num_classes == series.SERIES[name].num_classes
    rows = np.concatenate([part.arrays["x"] for part in splits])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_sines_are_sines_in_noise():
    x = sines(np.random.default_rng(0), 3000)["x"]
    assert x.shape == (3000, 48, 1) and x.dtype == np.float32
    # a row is orthogonal to what is neither noise nor a sine of its frequency
    t = np.arange(48)
    periods = np.linspace(1, 4, 61)
    left = []
    for f in periods:
        basis = np.linalg.qr(np.stack([np.sin(2 * np.pi * f * t / 48), np.cos(2 * np.pi * f * t / 48)], 1))[0]
        left.append(((x[..., 0] - x[..., 0] @ basis @ basis.T) ** 2).sum(1))
    left = np.stack(left)
    # 45 degrees of freedom: 48 less the frequency, the phase and the amplitude
    assert left.min(0).mean() == pytest.approx(45 * 0.1**2, rel=0.05)
    best = periods[left.argmin(0)]
    assert best.mean() == pytest.approx(2.5, abs=0.05) and best.std() == pytest.approx(3 / 12**0.5, rel=0.05)
    # E a^2 / 2 with a uniform in 0.5 .. 1.5
    assert (x**2).mean() == pytest.approx((1 + 1 / 12) / 2 + 0.1**2, rel=0.04)


def test_chains_step_as_their_transitions_say():
    batch = chains(np.random.default_rng(0), 20_000)
    x, label = batch["x"], batch["label"]
    assert x.shape == (20_000, 48) and x.dtype == np.uint8 and x.max() == 7
    np.testing.assert_allclose(np.bincount(x[:, 0]) / len(x), 1 / 8, atol=0.01)
    np.testing.assert_allclose(np.bincount(label) / len(x), 1 / 8, atol=0.01)
    np.testing.assert_allclose(TRANSITIONS.sum(-1), 1)
    for chain in (0, 7):
        rows, counts = x[label == chain], np.zeros((8, 8))
        np.add.at(counts, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1)
        np.testing.assert_allclose(counts / counts.sum(1, keepdims=True), TRANSITIONS[chain], atol=0.02)


def test_the_density_of_chains_is_one():
    x = np.array(list(itertools.product(range(8), repeat=4)))
    assert np.exp(log_prob_of_chains(x)).sum() == pytest.approx(1, rel=1e-9)
    # and the rows' own: their frequencies
    drawn = chains(np.random.default_rng(1), 50_000)["x"][:, :2]
    expected = np.exp(log_prob_of_chains(x[::64, :2])).reshape(8, 8)
    counts = np.zeros((8, 8))
    np.add.at(counts, (drawn[:, 0], drawn[:, 1]), 1)
    np.testing.assert_allclose(counts / 50_000, expected, atol=0.004)
