"""Losses of sequences, against NumPy, closed forms over all sequences, and finite differences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgen.losses import (
    boundary_seeking,
    effective_sample_size,
    maligan,
    normalized_weights,
    policy_gradient,
    policy_gradient_terms,
    sequence_log_probs,
    teacher_forcing,
)

B, T = 3, 4
RNG = np.random.default_rng(0)
LOG_PROBS, REWARDS = -RNG.exponential(size=(B, T)), RNG.normal(size=(B, T))
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], float)


def test_sums_are_over_positions_and_means_over_the_batch():
    sums = [sum(LOG_PROBS[b, t] for t in range(n)) for b, n in enumerate((4, 2, 1))]
    np.testing.assert_allclose(sequence_log_probs(LOG_PROBS, MASK), sums, rtol=1e-6)
    assert teacher_forcing(LOG_PROBS, MASK) == pytest.approx(-np.mean(sums), rel=1e-6)
    assert teacher_forcing(LOG_PROBS) == pytest.approx(-LOG_PROBS.sum(1).mean(), rel=1e-6)
    expected = -sum(MASK[b, t] * (REWARDS[b, t] - 0.3) * LOG_PROBS[b, t] for b in range(B) for t in range(T)) / B
    assert policy_gradient(LOG_PROBS, REWARDS, MASK, 0.3) == pytest.approx(expected, rel=1e-6)
    terms = policy_gradient_terms(LOG_PROBS, REWARDS, MASK, 0.3)
    assert terms.shape == (B, T) and -terms.sum() / B == pytest.approx(expected, rel=1e-6)


def test_tokens_after_the_end_have_neither_value_nor_gradient():
    """A short row has the loss per token of a long one, whatever stands after its end."""
    log_probs, rewards = LOG_PROBS.copy(), REWARDS.copy()
    log_probs[MASK == 0], rewards[MASK == 0] = -np.inf, np.nan
    for loss in (teacher_forcing, lambda l, m: policy_gradient(l, rewards, m)):
        value, gradient = jax.jit(jax.value_and_grad(loss))(jnp.asarray(log_probs), MASK)
        assert np.isfinite(value)
        assert (np.asarray(gradient)[MASK == 0] == 0).all() and (np.asarray(gradient)[MASK == 1] != 0).all()
    short = policy_gradient(np.full((1, T), -2.0), np.ones((1, T)), np.array([[1.0, 1, 0, 0]]))
    assert short == pytest.approx(float(policy_gradient(np.full((1, 2), -2.0), np.ones((1, 2)))))


def test_rewards_baselines_and_weights_have_no_gradient():
    logits = jnp.asarray(RNG.normal(size=(B, T)))
    gradients = jax.jit(jax.grad(lambda r, b: policy_gradient(LOG_PROBS, r, MASK, b), (0, 1)))
    to_rewards, to_baseline = gradients(REWARDS, REWARDS)
    np.testing.assert_array_equal(to_rewards, 0)
    np.testing.assert_array_equal(to_baseline, 0)
    for loss in (maligan, boundary_seeking):
        to_log_probs, to_logits = jax.jit(jax.grad(loss, (0, 1)))(jnp.asarray(LOG_PROBS), logits)
        np.testing.assert_array_equal(to_logits, 0)
        assert (np.asarray(to_log_probs) < 0).all()


def test_baselines_are_per_position_or_per_token():
    by_position = np.arange(T, dtype=float)
    expected = float(policy_gradient(LOG_PROBS, REWARDS, MASK, np.tile(by_position, (B, 1))))
    assert policy_gradient(LOG_PROBS, REWARDS, MASK, by_position) == pytest.approx(expected)
    for shape in ((B,), (B, 1), (1, T)):
        with pytest.raises(ValueError, match="baseline"):
            policy_gradient(LOG_PROBS, REWARDS, MASK, np.zeros(shape))


def test_weights_are_normalised_over_the_axis_named():
    logits = RNG.normal(size=(3, 4))
    ratios = np.exp(logits)
    np.testing.assert_allclose(normalized_weights(logits), ratios / ratios.sum(0), rtol=1e-5)
    np.testing.assert_allclose(normalized_weights(logits, 1), ratios / ratios.sum(1, keepdims=True), rtol=1e-5)
    # in probabilities, 1 - D would be zero
    np.testing.assert_array_equal(normalized_weights(jnp.array([-500.0, 500.0])), [0, 1])
    with pytest.raises(ValueError, match="axis"):
        normalized_weights(logits, 2)


def test_the_effective_sample_size_counts_samples_of_equal_weight():
    one, all_equal, two = [0.0, -1e3, -1e3, -1e3], [2.0] * 4, [1.0, 1.0, -1e3, -1e3]
    sizes = effective_sample_size(jnp.array([one, all_equal, two]).T)
    np.testing.assert_allclose(sizes, [1, 4, 2], rtol=1e-6)


def test_maligan_weighs_the_batch():
    log_probs, logits = RNG.normal(size=5), RNG.normal(size=5)
    w = np.exp(logits) / np.exp(logits).sum()
    for b in (0.0, 0.5, 1.0):
        assert maligan(log_probs, logits, b) == pytest.approx(-((w - b / 5) * log_probs).sum(), rel=1e-5)
        coefficients = -jax.jit(jax.grad(maligan))(jnp.asarray(log_probs), logits, b)
        assert coefficients.sum() == pytest.approx(1 - b, abs=1e-6)
    with pytest.raises(ValueError, match="baseline"):
        maligan(log_probs, logits, 1.5)


def test_full_maligan_normalises_at_each_position():
    logits = RNG.normal(size=(B, T))
    by_position = sum(maligan(LOG_PROBS[:, t], logits[:, t], 0.5) for t in range(T))
    assert maligan(LOG_PROBS, logits, 0.5) == pytest.approx(float(by_position), rel=1e-5)
    with pytest.raises(ValueError, match="logits"):
        maligan(LOG_PROBS, logits[:, 0])


def test_boundary_seeking_weights_are_over_the_samples_of_each_latent():
    log_probs, logits = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    w = np.exp(logits)
    expected = -np.mean([sum(w[m, b] / w[:, b].sum() * log_probs[m, b] for m in range(3)) for b in range(4)])
    assert boundary_seeking(log_probs, logits) == pytest.approx(expected, rel=1e-5)
    to_log_probs = jax.jit(jax.grad(boundary_seeking))(jnp.asarray(log_probs), logits)
    np.testing.assert_allclose(to_log_probs, -w / w.sum(0) / 4, rtol=1e-5)
    # what a latent's samples have in common cancels; over the batch it would not
    shifted = boundary_seeking(log_probs, logits + np.array([0, 1, -2, 5.0]))
    assert shifted == pytest.approx(expected, rel=1e-5)
    # one logit per token
    log_probs, logits = RNG.normal(size=(3, 4, 2)), RNG.normal(size=(3, 4, 2))
    per_token = sum(boundary_seeking(log_probs[..., t], logits[..., t]) for t in range(2))
    assert boundary_seeking(log_probs, logits) == pytest.approx(float(per_token), rel=1e-5)


def test_the_policy_gradient_is_that_of_the_expected_reward():
    """Over all sequences of 3 tokens from 3 words, with rewards of prefixes that are exact expectations."""
    words, length = 3, 3
    rng = np.random.default_rng(1)
    sequences = np.array(list(itertools.product(range(words), repeat=length)))
    score = rng.normal(size=len(sequences))
    with jax.enable_x64(True):
        tables = [jnp.asarray(rng.normal(size=(words**t, words))) for t in range(length)]
        prefix = [
            np.ravel_multi_index(sequences[:, :t].T, (words,) * t) if t else 0 * sequences[:, 0] for t in range(3)
        ]

        def log_probs(tables):
            return jnp.stack([jax.nn.log_softmax(tables[t])[prefix[t], sequences[:, t]] for t in range(length)], 1)

        probabilities = np.exp(log_probs(tables).sum(1))
        rewards = np.zeros((len(sequences), length))
        for t in range(length):
            start = np.ravel_multi_index(sequences[:, : t + 1].T, (words,) * (t + 1))
            total, weight = np.bincount(start, probabilities * score), np.bincount(start, probabilities)
            rewards[:, t] = (total / weight)[start]
        # each sequence as often as g draws it: the mean over a batch of them
        count = np.tile(len(sequences) * probabilities[:, None], (1, length))
        for baseline in (0.0, 0.7, np.arange(3.0)):
            update = jax.jit(jax.grad(lambda x: policy_gradient(log_probs(x), rewards, count, baseline)))(tables)
            for table in range(length):
                for at in ((0, 0), (-1, 2)):
                    moved = []
                    for step in (1e-5, -1e-5):
                        changed = list(tables)
                        changed[table] = tables[table].at[at].add(step)
                        moved.append((np.exp(log_probs(changed).sum(1)) * score).sum())
                    np.testing.assert_allclose(-update[table][at], (moved[0] - moved[1]) / 2e-5, atol=1e-8)


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        logits = RNG.normal(size=(B, T))

        @jax.jit
        def weighted(log_probs):
            return (
                teacher_forcing(log_probs, MASK)
                + 2 * policy_gradient(log_probs, REWARDS, MASK, 0.1)
                + 3 * maligan(log_probs, logits, 0.5)
                + 5 * boundary_seeking(log_probs, logits)
            )

        check_grads(weighted, (jnp.asarray(LOG_PROBS),), order=1, modes=["rev"], rtol=1e-6)
