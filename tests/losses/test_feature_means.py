"""Matching of mean features by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import averaged_means, feature_matching, match_class_means, no_averages

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(size=(9, 2, 3)).astype(np.float32), RNG.normal(size=(8, 2, 3)).astype(np.float32)
REAL_LABELS, FAKE_LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 0, 1]), np.array([0, 1, 1, 2, 2, 2, 1, 0])


def start(classes=3, features=6):
    return {kind: no_averages(classes, features) for kind in ("real", "fake")}


def means(x, labels, classes=3):
    return np.stack([x[labels == c].reshape(-1, 6).mean(0) for c in range(classes)])


def test_means_of_one_batch_are_matched_class_by_class():
    value, _ = match_class_means(REAL, FAKE, REAL_LABELS, FAKE_LABELS, start(), decay=0.0)
    expected = 0.5 * ((means(REAL, REAL_LABELS) - means(FAKE, FAKE_LABELS)) ** 2).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    # over the whole batch, as a public implementation has it, it would be another number
    zeros = np.zeros(9, int), np.zeros(8, int)
    whole, _ = match_class_means(REAL, FAKE, *zeros, start(1), decay=0.0)
    np.testing.assert_allclose(whole, 0.5 * feature_matching(REAL, FAKE), rtol=1e-5)
    assert abs(float(whole) - expected) > 0.5


def test_generated_examples_of_the_right_classes_in_other_numbers_cost_nothing():
    centres = RNG.normal(size=(3, 6)).astype(np.float32)
    value, _ = match_class_means(centres[REAL_LABELS], centres[FAKE_LABELS], REAL_LABELS, FAKE_LABELS, start())
    np.testing.assert_allclose(value, 0, atol=1e-9)
    # a permutation of the classes costs, although the mean of all features is the same
    wrong = centres[(FAKE_LABELS + 1) % 3]
    assert match_class_means(centres[REAL_LABELS], wrong, REAL_LABELS, FAKE_LABELS, start())[0] > 1


def test_averages_over_batches_weight_each_example_by_its_age():
    averages, rng, decay = start(), np.random.default_rng(1), 0.7
    sums, counts = np.zeros((2, 3, 6)), np.zeros((2, 3))
    for step in range(6):
        # class 2 comes in the third batch for the first time, class 0 is missing in the last
        batches, labels = rng.normal(size=(2, 5, 6)), rng.integers(0 if step < 5 else 1, 3 if step >= 2 else 2, (2, 5))
        for kind in range(2):
            member = np.eye(3)[labels[kind]]
            sums[kind] = decay * sums[kind] + (1 - decay) * member.T @ batches[kind]
            counts[kind] = decay * counts[kind] + (1 - decay) * member.sum(0)
        value, averages = match_class_means(*np.float32(batches), *labels, averages, decay)
        known = (counts > 0).all(0)
        found = sums[:, known] / counts[:, known][..., None]
        np.testing.assert_allclose(value, 0.5 * ((found[0] - found[1]) ** 2).sum(), rtol=1e-4)
        assert step != 1 or not known[2]
    assert known.all()
    np.testing.assert_allclose(averaged_means(averages["real"]), sums[0] / counts[0][:, None], rtol=1e-4)


def test_the_gradient_is_that_of_the_batchs_means_by_the_averages_difference():
    """Not shrunk by the averaging, and none in real features."""
    _, averages = match_class_means(REAL[:4], FAKE[2:6], REAL_LABELS[:4], FAKE_LABELS[2:6], start(), 0.9)
    loss = jax.jit(lambda real, fake: match_class_means(real, fake, REAL_LABELS, FAKE_LABELS, averages, 0.9))
    _, after = loss(REAL, FAKE)
    by_real, by_fake = jax.grad(lambda *x: loss(*x)[0], (0, 1))(REAL, FAKE)
    np.testing.assert_array_equal(by_real, 0)
    towards = averaged_means(after["fake"]) - averaged_means(after["real"])
    expected = towards[FAKE_LABELS] / np.bincount(FAKE_LABELS)[FAKE_LABELS][:, None]
    np.testing.assert_allclose(by_fake.reshape(8, 6), expected, rtol=1e-4, atol=1e-6)


def test_what_is_malformed_is_refused():
    with pytest.raises(ValueError, match="`real_labels` must have shape"):
        match_class_means(REAL, FAKE, REAL_LABELS[:4], FAKE_LABELS, start())
    with pytest.raises(TypeError, match="`fake_labels` must be integers"):
        match_class_means(REAL, FAKE, REAL_LABELS, np.float32(FAKE_LABELS), start())
    with pytest.raises(ValueError, match="`codes` must be integers from 0 to 1, got 2"):
        match_class_means(REAL, FAKE, REAL_LABELS, FAKE_LABELS, start(2))
    assert jnp.isfinite(match_class_means(REAL, FAKE, REAL_LABELS, FAKE_LABELS, start())[0])
