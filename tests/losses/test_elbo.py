import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxgen.losses.elbo import (
    cyclical,
    doubly_reparameterized_bound,
    elbo,
    free_bits,
    importance_weighted_bound,
    kl_between_normals,
    kl_per_dimension,
    kl_to_standard_normal,
    mean_log_weight,
    negative_elbo,
    warm_up,
)


def test_the_bound_misses_log_p_by_the_divergence_to_the_posterior():
    # z ~ N(0, I), x|z ~ N(W z + b, s^2 I): marginal and posterior are known normals, with full covariances
    rng = np.random.default_rng(0)
    w, b, s, x = rng.normal(size=(5, 2)), rng.normal(size=5), 0.7, rng.normal(size=(3, 5))
    mean, log_variance = rng.normal(size=(3, 2)), rng.normal(size=(3, 2))
    log_p = stats.multivariate_normal(b, w @ w.T + s**2 * np.eye(5)).logpdf(x)
    covariance = np.linalg.inv(np.eye(2) + w.T @ w / s**2)
    gaps, expected_log_likelihood = [], []
    for row, m, v in zip(x, mean, np.exp(log_variance), strict=True):
        posterior_mean = covariance @ w.T @ (row - b) / s**2
        precision, difference = np.linalg.inv(covariance), posterior_mean - m
        trace = np.trace(precision @ np.diag(v)) + difference @ precision @ difference
        gaps.append(0.5 * (trace - 2 + np.linalg.slogdet(covariance)[1] - np.log(v).sum()))
        at_mean = stats.multivariate_normal(w @ m + b, s**2 * np.eye(5)).logpdf(row)
        expected_log_likelihood.append(at_mean - np.trace(w @ np.diag(v) @ w.T) / (2 * s**2))
    bound = elbo(jnp.array(expected_log_likelihood), kl_to_standard_normal(jnp.array(mean), jnp.array(log_variance)))
    np.testing.assert_allclose(log_p - bound, gaps, rtol=2e-4)
    assert np.min(gaps) > 0.1


def divergence_by_quadrature(m, v, other_m, other_v):
    q, p = stats.norm(m, np.sqrt(v)), stats.norm(other_m, np.sqrt(other_v))
    low, high = q.ppf(1e-15), q.ppf(1 - 1e-15)
    return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), low, high, limit=200)[0]


def test_divergences_of_normals_are_the_integrals_summed_over_the_event():
    rng = np.random.default_rng(1)
    m, lv, other_m, other_lv = rng.normal(size=(4, 2, 3, 2))
    by_coordinate = np.vectorize(divergence_by_quadrature)
    general = by_coordinate(m, np.exp(lv), other_m, np.exp(other_lv)).sum((1, 2))
    standard = by_coordinate(m, np.exp(lv), 0.0, 1.0).sum((1, 2))
    np.testing.assert_allclose(kl_between_normals(m, lv, other_m, other_lv), general, rtol=1e-5)
    np.testing.assert_allclose(kl_to_standard_normal(jnp.array(m), jnp.array(lv)), standard, rtol=1e-5)


def test_the_divergence_of_nearly_equal_normals_keeps_its_digits():
    lv = jnp.full((1, 1), 1e-3)
    # 1/2 (e^t - 1 - t) = t^2 / 4 + t^3 / 12 + ...
    np.testing.assert_allclose(kl_to_standard_normal(jnp.zeros((1, 1)), lv)[0], 1e-6 / 4 + 1e-9 / 12, rtol=2e-3)


def test_the_loss_is_the_weighted_bound_turned_round_and_averaged():
    log_likelihood, kl = jnp.array([-3.0, -5.0, -10.0]), jnp.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(elbo(log_likelihood, kl, 0.5), [-3.5, -6.0, -13.0])
    assert negative_elbo(log_likelihood, kl, 0.5) == pytest.approx(7.5)
    assert negative_elbo(log_likelihood, kl) == pytest.approx(9.0)


def test_columns_are_refused_before_they_broadcast():
    with pytest.raises(ValueError):
        elbo(jnp.zeros((3, 1)), jnp.zeros(3))
    with pytest.raises(ValueError):
        elbo(jnp.zeros(3), jnp.zeros(1))


def test_importance_weighted_bound():
    rng = np.random.default_rng(2)
    log_weights = rng.normal(size=(7, 3))
    expected = np.log(np.exp(log_weights).mean(0))
    np.testing.assert_allclose(importance_weighted_bound(jnp.array(log_weights)), expected, rtol=1e-5)
    far = importance_weighted_bound(jnp.array(log_weights - 1e4))
    np.testing.assert_allclose(far, expected - 1e4, atol=2e-3)
    # its gradient with respect to the log-weights is the normalised weights (Burda et al. 2016, equation 14)
    weights = np.exp(log_weights) / np.exp(log_weights).sum(0)
    grad = jax.grad(lambda a: importance_weighted_bound(a).sum())(jnp.array(log_weights))
    np.testing.assert_allclose(grad, weights, rtol=1e-5)


def test_the_mean_log_weight_is_a_bound_below():
    log_weights = jnp.array([[0.0, 1.0], [2.0, 1.0], [-5.0, 1.0]])
    np.testing.assert_allclose(mean_log_weight(log_weights), [-1.0, 1.0])
    assert mean_log_weight(log_weights)[0] < importance_weighted_bound(log_weights)[0]


def test_the_doubly_reparameterized_bound_is_the_bound_and_squares_the_weights_of_the_path():
    log_weights = np.random.default_rng(2).normal(size=(7, 3)) - 100
    given = jnp.array(log_weights)
    np.testing.assert_allclose(doubly_reparameterized_bound(given, given), importance_weighted_bound(given), rtol=1e-6)
    by_weights, by_path = jax.grad(lambda *a: doubly_reparameterized_bound(*a).sum(), (0, 1))(given, given)
    weights = np.exp(log_weights + 100) / np.exp(log_weights + 100).sum(0)
    np.testing.assert_allclose(by_weights, weights, rtol=1e-4)
    np.testing.assert_allclose(by_path, weights**2, rtol=1e-4)


def test_warm_up():
    np.testing.assert_allclose([warm_up(jnp.int32(i), steps=10) for i in (0, 5, 10, 1000)], [0, 0.5, 1, 1])


def test_free_bits_are_of_the_batchs_mean():
    kl = jnp.array([[0.0, 1.0, 0.1], [0.8, 3.0, 0.1]])
    # means 0.4, 2.0, 0.1; the maximum of each row's instead would be 0.3 + ... = 0.55, 2.0, 0.3
    assert float(free_bits(kl, 0.3)) == pytest.approx(0.4 + 2.0 + 0.3)
    gradient = jax.grad(free_bits)(kl, 0.3)
    np.testing.assert_allclose(gradient, [[0.5, 0.5, 0], [0.5, 0.5, 0]])


def test_terms_of_a_divergence_add_up_to_it():
    m, lv, other_m, other_lv = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3, 2)), jnp.float32)
    terms = kl_per_dimension(m, lv, other_m, other_lv)
    exact = np.vectorize(divergence_by_quadrature)(m, np.exp(lv), other_m, np.exp(other_lv))
    np.testing.assert_allclose(terms, exact, rtol=1e-4)
    np.testing.assert_allclose(kl_per_dimension(m, lv).sum(-1), kl_to_standard_normal(m, lv), rtol=1e-5)


def test_cycles_rise_stay_and_start_again():
    weights = [float(cyclical(jnp.int32(step), 8, weight=2.0, rising=0.5)) for step in (0, 2, 4, 7, 8, 9, 14)]
    assert weights == [0, 1, 2, 2, 0, 0.5, 2]
