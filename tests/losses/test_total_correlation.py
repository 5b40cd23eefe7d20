import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import stats
from scipy.special import logsumexp

from jaxgen.losses.total_correlation import (
    Aggregate,
    decompose,
    minibatch_stratified,
    minibatch_weighted,
    negative_decomposed_elbo,
    pairwise_log_density,
)

ESTIMATORS = (minibatch_weighted, minibatch_stratified)


# estimators as well-known code has them
def without_the_constant(log_density, n):
    return Aggregate(jax.nn.logsumexp(log_density.sum(-1), 1), jax.nn.logsumexp(log_density, 1))


def stratified(log_density, n, column_0_as_own=False, weights_for_each_dimension=False):
    batch, others = len(log_density), len(log_density) - 1
    weights, i = np.full((batch, batch), 1 / others), np.arange(batch)
    own = 0 if column_0_as_own else i
    weights[i, own], weights[i, (own + 1) % batch] = 1 / n, (n - others) / (n * others)
    weighted = jnp.log(weights)[..., None] + log_density
    joint = weighted.sum(-1) if weights_for_each_dimension else jnp.log(weights) + log_density.sum(-1)
    return Aggregate(jax.nn.logsumexp(joint, 1), jax.nn.logsumexp(weighted, 1))


def stratified_with_column_0_as_own(log_density, n):
    return stratified(log_density, n, column_0_as_own=True)


def stratified_with_weights_for_each_dimension(log_density, n):
    return stratified(log_density, n, weights_for_each_dimension=True)


def posteriors(seed, rows, dimensions):
    """z, mean and log-variance of each row, in float64."""
    rng = np.random.default_rng(seed)
    mean, log_variance, noise = rng.normal(size=(3, rows, dimensions))
    return mean + np.exp(log_variance / 2) * noise, mean, log_variance


def densities(z, mean, log_variance):
    """q(z_ij | x_k) by SciPy, [i, k, j]."""
    return stats.norm(mean, np.exp(log_variance / 2)).pdf(z[:, None])


def test_densities_are_of_each_rows_draw_under_each_row():
    given = posteriors(0, 4, 3)
    np.testing.assert_allclose(pairwise_log_density(*map(jnp.array, given)), np.log(densities(*given)), rtol=2e-4)


ROWS, DIMENSIONS, STD, BATCH, TRIALS = 2000, 4, 0.3, 64, 300


@pytest.fixture(scope="module")
def anchor():
    """Posteriors N(x_n, 0.3^2 I_4) of 2000 examples: the truth by enumeration, and both values of an estimator."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(ROWS, DIMENSIONS))
    z = mean + STD * rng.normal(size=mean.shape)
    log_density = -0.5 * (((z[:, None] - mean) / STD) ** 2 + np.log(2 * np.pi * STD**2))
    joint = logsumexp(log_density.sum(-1), axis=1) - np.log(ROWS)
    marginals = logsumexp(log_density, axis=1) - np.log(ROWS)

    batches = np.stack([rng.permutation(ROWS)[:BATCH] for _ in range(TRIALS)])
    log_variance = jnp.full((BATCH, DIMENSIONS), 2 * np.log(STD), jnp.float32)

    def figures(estimate):
        """Mean log q(z) and mean total correlation over all batches, by minibatch."""

        def one(given):
            rows, noise = given
            center = jnp.asarray(mean, jnp.float32)[rows]
            log_density = pairwise_log_density(center + STD * noise, center, log_variance)
            joint, marginals = estimate(log_density, ROWS)
            return joint.mean(), (joint - marginals.sum(-1)).mean()

        noise = jax.random.normal(jax.random.key(0), (TRIALS, BATCH, DIMENSIONS))
        return tuple(float(a.mean()) for a in jax.jit(lambda: jax.lax.map(one, (jnp.asarray(batches), noise)))())

    return (joint.mean(), (joint - marginals.sum(-1)).mean()), figures


def holds(estimate, anchor, log_q, correlation):
    """Whether an estimator's E log q(z) and total correlation are these, to what 19,200 draws tell."""
    found = anchor[1](estimate)
    return found == (pytest.approx(log_q, abs=0.06), pytest.approx(correlation, abs=0.06))


def test_the_anchors_truth(anchor):
    log_q, correlation = anchor[0]
    # a normal of variance 1 + 0.3^2, had it all rows there are
    assert log_q == pytest.approx(-2 * np.log(2 * np.pi * np.e * (1 + STD**2)), abs=0.2)
    assert log_q == pytest.approx(-5.709, abs=0.15) and correlation == pytest.approx(0.142, abs=0.03)


# E log q(z) and the total correlation: the truth is -5.70 and 0.14
KNOWN = {minibatch_weighted: (-12.14, 23.95), minibatch_stratified: (-6.51, -0.49)}


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_estimates_have_the_bias_that_they_are_known_for(estimate, anchor):
    assert holds(estimate, anchor, *KNOWN[estimate])


@pytest.mark.parametrize(
    ("mistake", "meant"),
    [
        (without_the_constant, minibatch_weighted),
        (stratified_with_column_0_as_own, minibatch_stratified),
        (stratified_with_weights_for_each_dimension, minibatch_stratified),
    ],
)
def test_known_mistakes_do_not_pass_for_what_is_meant(mistake, meant, anchor):
    assert not holds(mistake, anchor, *KNOWN[meant])
    with pytest.raises(AssertionError):
        averages_over_all_batches(mistake, meant)


def averages_over_all_batches(estimate, meant=None):
    """Asserts what an estimate of the densities themselves, no logarithm taken, is on average over all batches of 3 of
    5.

    Each batch holds row 2, at each of the three places, with every other two. Stratified sampling gives the truth;
    weighted sampling 1/(N B) of the row's own density and as much of the others' means.
    """
    rows, batch, own = 5, 3, 2
    given = posteriors(1, rows, 2)
    density = densities(*given)[own]
    rest = np.delete(density, own, 0)
    if (meant or estimate) is minibatch_stratified:
        expected = density.prod(-1).mean(), density.mean(0)
    else:
        parts = (density[own].prod() + 2 * rest.prod(-1).mean()), density[own] + 2 * rest.mean(0)
        expected = tuple(a / (rows * batch) for a in parts)
    others = list(itertools.permutations(np.delete(np.arange(rows), own), batch - 1))
    with jax.enable_x64(True):
        for place in range(batch):
            batches = jnp.array([[*pair[:place], own, *pair[place:]] for pair in others])
            take = jax.vmap(lambda rows: estimate(pairwise_log_density(*(jnp.array(a)[rows] for a in given)), 5))
            joint, marginals = jax.jit(take)(batches)
            np.testing.assert_allclose(jnp.exp(joint[:, place]).mean(), expected[0], rtol=1e-6)
            np.testing.assert_allclose(jnp.exp(marginals[:, place]).mean(0), expected[1], rtol=1e-6)


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_densities_on_average_over_all_batches(estimate):
    averages_over_all_batches(estimate)


def test_the_parts_are_those_of_the_divergence():
    (z, mean, log_variance), rng = posteriors(2, 6, 3), np.random.default_rng(3)
    log_density = pairwise_log_density(*map(jnp.array, (z, mean, log_variance)))
    log_posterior = stats.norm(mean, np.exp(log_variance / 2)).logpdf(z).sum(-1)
    log_prior = stats.norm().logpdf(z).sum(-1)
    q, q_j = rng.normal(size=6), rng.normal(size=(6, 3))
    np.testing.assert_allclose(jnp.diagonal(log_density).sum(0), log_posterior, rtol=1e-3)
    parts = decompose(jnp.array(log_posterior), Aggregate(jnp.array(q), jnp.array(q_j)), log_posterior - log_prior)
    expected = log_posterior - q, q - q_j.sum(-1), q_j.sum(-1) - log_prior
    for part, right in zip(parts, expected, strict=True):
        np.testing.assert_allclose(part, right, rtol=1e-4, atol=1e-5)

    log_likelihood = rng.normal(size=6)
    loss = negative_decomposed_elbo(jnp.array(log_likelihood), parts, 2.0, 3.0, 5.0)
    weighted = sum(w * part for w, part in zip((2, 3, 5), expected, strict=True))
    assert float(loss) == pytest.approx((weighted - log_likelihood).mean(), rel=1e-4)


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_gradients_are_those_of_finite_differences(estimate):
    def loss(noise, mean, log_variance, log_likelihood, kl):
        z = mean + jnp.exp(log_variance / 2) * noise
        log_density = pairwise_log_density(z, mean, log_variance)
        parts = decompose(jnp.diagonal(log_density).sum(0), estimate(log_density, 50), kl)
        return negative_decomposed_elbo(log_likelihood, parts, 2.0, 3.0, 5.0)

    with jax.enable_x64(True):
        rng = np.random.default_rng(4)
        arrays = [jnp.array(rng.normal(size=shape)) for shape in (*((5, 2),) * 3, (5,), (5,))]
        check_grads(jax.jit(loss), arrays, order=1, modes=["rev"], rtol=1e-6)


def test_what_does_not_fit_is_refused():
    for estimate in ESTIMATORS:
        with pytest.raises(ValueError, match="`dataset_size` must be at least the batch size 4, got 3"):
            estimate(jnp.zeros((4, 4, 2)), 3)
    with pytest.raises(ValueError, match="at least two examples, got one"):
        minibatch_stratified(jnp.zeros((1, 1, 2)), 10)
