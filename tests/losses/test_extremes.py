"""Losses of log-variances, scores and log-weights as extreme as a diverging network gives them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import losses
from jaxgen.numerics import bounded_exp, bounded_expm1
from jaxgen.losses import F_DIVERGENCES

MEAN = jnp.array([[0.3, -1.0], [2.0, 0.5], [-0.7, 0.1]])


def finite(tree):
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def correlation(estimate):
    def loss(z, mean, log_variance):
        log_density = losses.pairwise_log_density(z, mean, log_variance)
        aggregate = estimate(log_density, 10)
        own = jnp.diagonal(log_density.sum(-1))
        parts = losses.decompose(own, aggregate, losses.kl_to_standard_normal(mean, log_variance))
        return losses.negative_decomposed_elbo(jnp.zeros(len(z)), parts)

    return loss


OF_LOG_VARIANCES = {
    "standard normal": lambda z, m, v: losses.kl_to_standard_normal(m, v).mean(),
    "normals": lambda z, m, v: losses.kl_between_normals(z, 0 * v, m, v).mean(),
    "both": lambda z, m, v: losses.kl_between_normals(z, v, m, -v).mean(),
    "per dimension": lambda z, m, v: losses.free_bits(losses.kl_per_dimension(m, v, z, -v), 0.1),
    "codes": lambda z, m, v: losses.normal_information(m, v, z),
    "weighted": correlation(losses.minibatch_weighted),
    "stratified": correlation(losses.minibatch_stratified),
}


@pytest.mark.slow
@pytest.mark.parametrize("apart", [0.0, 1.0])
@pytest.mark.parametrize("log_variance", [-1000.0, -200.0, 200.0, 1000.0])
@pytest.mark.parametrize("loss", OF_LOG_VARIANCES)
def test_losses_of_extreme_log_variances_and_their_gradients_are_finite(loss, log_variance, apart):
    """exp of one is infinite in float32, and infinity times the zero between a draw and its mean is not a number."""
    v = jnp.full_like(MEAN, log_variance)
    value, gradients = jax.value_and_grad(OF_LOG_VARIANCES[loss], (0, 1, 2))(MEAN + apart, MEAN, v)
    assert finite((value, gradients)), (value, gradients)


def test_the_total_correlation_of_narrow_posteriors_is_known():
    """B rows of N that do not overlap: log q(z) and each log q(z_j) are the row's own density and -log(N B)."""
    z = jnp.arange(8.0).reshape(4, 2) ** 2
    v = jnp.full_like(z, -200.0)
    joint, marginals = losses.minibatch_weighted(losses.pairwise_log_density(z, z, v), 10)
    own = 100 - 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(marginals, own - math.log(40), rtol=1e-6)
    np.testing.assert_allclose(joint - marginals.sum(-1), math.log(40), rtol=1e-4)


@pytest.mark.parametrize("v", [-1000.0, -200.0, 200.0, 1000.0])
@pytest.mark.parametrize("name", F_DIVERGENCES)
def test_f_divergences_of_extreme_scores_and_their_gradients_are_finite(name, v):
    scores = jnp.array([v, v / 2, 0.5])
    critic = jax.value_and_grad(losses.f_gan_critic, (0, 1))(scores, scores, F_DIVERGENCES[name])
    generator = jax.value_and_grad(losses.f_gan_generator)(scores, F_DIVERGENCES[name], True)
    assert finite((critic, generator)), (critic, generator)


@pytest.mark.parametrize("difference", [-1000.0, -200.0, 200.0, 1000.0])
def test_divergences_by_samples_far_from_each_other_are_finite(difference):
    log_q, log_p = jnp.full((2, 3), difference), jnp.zeros((2, 3))
    assert finite(jax.value_and_grad(lambda q: losses.kl_by_samples(q, log_p, nonnegative=True).sum())(log_q))


def test_excluded_classes_add_nothing_to_a_bound():
    """Classes of q = (1/4, 3/4, 0) with bounds 1, 2, 3: 7/4 and the entropy of two classes."""
    log_classes = jnp.log(jnp.array([[0.25, 0.75, 0.0]]))
    bounds = jnp.array([[1.0, 2.0, 3.0]])
    value, gradients = jax.value_and_grad(lambda *a: losses.marginal_bound(*a).sum(), (0, 1))(log_classes, bounds)
    assert float(value) == pytest.approx(1.75 - 0.25 * math.log(0.25) - 0.75 * math.log(0.75), rel=1e-6)
    assert finite(gradients)
    # where data are impossible in a class that q excludes too
    assert float(losses.marginal_bound(log_classes, bounds.at[0, 2].set(-jnp.inf))[0]) == pytest.approx(float(value))


def test_impossible_draws_add_nothing_to_the_doubly_reparameterized_bound():
    log_weights = jnp.array([[1.0, -jnp.inf], [-jnp.inf, -jnp.inf], [2.0, 0.5]])
    value = losses.doubly_reparameterized_bound(log_weights, log_weights)
    np.testing.assert_allclose(value, np.log([(math.e + math.e**2) / 3, math.exp(0.5) / 3]), rtol=1e-6)
    gradient = jax.grad(lambda path: losses.doubly_reparameterized_bound(log_weights, path).sum())(log_weights)
    share = 1 / (1 + math.e)
    expected = [[share**2, 0], [0, 0], [(1 - share) ** 2, 1]]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)
    assert float(losses.doubly_reparameterized_bound(log_weights[1:2], log_weights[1:2])[0]) == -math.inf


def test_bounded_exponentials_are_exact_below_the_bound_and_tangents_above():
    bound = 0.75 * math.log(float(jnp.finfo(jnp.float32).max))
    x = jnp.array([-1000.0, -1e-4, 0.0, 1e-4, 3.0, 66.0])
    np.testing.assert_array_equal(bounded_exp(x), jnp.exp(x))
    np.testing.assert_array_equal(bounded_expm1(x), jnp.expm1(x))
    for function in (bounded_exp, bounded_expm1):
        value, slope = jax.value_and_grad(function)(jnp.float32(144.0))
        assert float(slope) == pytest.approx(math.exp(bound), rel=1e-5)
        assert float(value) == pytest.approx(math.exp(bound) * (145 - bound), rel=1e-5)
