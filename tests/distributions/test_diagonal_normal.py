import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.distributions import DiagonalNormal

RNG = np.random.default_rng(0)
MEAN, LOG_VARIANCE = (RNG.normal(size=(4, 3)).astype(np.float32) for _ in range(2))
NORMAL = DiagonalNormal(jnp.asarray(MEAN), jnp.asarray(LOG_VARIANCE))
SCIPY = stats.norm(MEAN, np.exp(LOG_VARIANCE / 2))


def test_log_prob_is_scipys_and_broadcasts_over_samples():
    z = RNG.normal(size=(5, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(NORMAL.log_prob(z), SCIPY.logpdf(z).sum(-1), rtol=1e-5)
    np.testing.assert_allclose(NORMAL.log_prob_per_dimension(z), SCIPY.logpdf(z), rtol=1e-4, atol=1e-5)


def test_samples_have_the_moments_and_their_log_prob():
    z = jax.vmap(NORMAL.sample)(jax.random.split(jax.random.key(0), 4000))
    assert z.shape == (4000, 4, 3)
    np.testing.assert_allclose(z.mean(0), MEAN, atol=0.15)
    np.testing.assert_allclose(z.std(0), np.exp(LOG_VARIANCE / 2), rtol=0.06)
    noise = RNG.normal(size=(7, 4, 3)).astype(np.float32)
    z, log_prob = NORMAL.reparameterize(noise)
    np.testing.assert_allclose(NORMAL.normalize(z), noise, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(log_prob, SCIPY.logpdf(z).sum(-1), rtol=1e-4)


def test_the_log_prob_of_a_sample_keeps_its_digits_where_the_density_is_narrow():
    narrow = DiagonalNormal(jnp.full((1, 2), 1000.0), jnp.full((1, 2), -14.0))
    log_prob = narrow.reparameterize(jnp.array([[0.5, -1.5]]))[1]
    expected = stats.norm(0, np.exp(-7)).logpdf(np.array([0.5, -1.5]) * np.exp(-7)).sum()
    assert float(log_prob[0]) == pytest.approx(expected, rel=1e-5)


def test_kl_is_the_integral():
    other = DiagonalNormal(jnp.array([0.3, -1.0, 0.0]), jnp.array([0.5, -1.0, 0.2]))
    grid = np.linspace(-15, 15, 30_001)[:, None, None]
    difference = SCIPY.logpdf(grid) - stats.norm(other.mean, np.exp(other.log_variance / 2)).logpdf(grid)
    terms = np.trapezoid(SCIPY.pdf(grid) * difference, grid[:, 0, 0], axis=0)
    np.testing.assert_allclose(NORMAL.kl_per_dimension(other), terms, rtol=1e-3)
    np.testing.assert_allclose(NORMAL.kl(other), terms.sum(-1), rtol=1e-3)
    np.testing.assert_allclose(NORMAL.kl(NORMAL), 0, atol=1e-6)
    assert DiagonalNormal.standard(3).mean.shape == (3,)
