import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, stats
from scipy.special import log_softmax, softmax

from jaxgen.losses.divergences import capacity, kl_between_categoricals, kl_between_full_normals, kl_by_samples
from jaxgen.losses.elbo import kl_between_normals


def normals(seed, batch, dimensions):
    """Means and Cholesky factors of full covariances, twice."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(2, batch, dimensions))
    factors = np.tril(rng.normal(size=(2, batch, dimensions, dimensions)), -1)
    i = np.arange(dimensions)
    factors[..., i, i] = rng.uniform(0.4, 1.5, size=(2, batch, dimensions))
    return means[0], factors[0], means[1], factors[1]


def test_the_divergence_of_full_normals_is_the_integral():
    given = normals(0, 3, 2)

    def integral(m, factor, other_m, other_factor):
        q = stats.multivariate_normal(m, factor @ factor.T)
        p = stats.multivariate_normal(other_m, other_factor @ other_factor.T)
        # on a grid of eight standard deviations, in the coordinates in which q is standard
        line = np.linspace(-8, 8, 201)
        x = m + np.stack(np.meshgrid(line, line), -1) @ factor.T
        values = np.exp(q.logpdf(x)) * (q.logpdf(x) - p.logpdf(x))
        return integrate.trapezoid(integrate.trapezoid(values, line), line) * np.linalg.det(factor)

    expected = [integral(*row) for row in zip(*given, strict=True)]
    assert np.ptp(expected) > 0.5
    # what is above the diagonals is not read
    noisy = [a + np.triu(np.ones((2, 2)), 1) if a.ndim == 3 else a for a in given]
    np.testing.assert_allclose(jax.jit(kl_between_full_normals)(*noisy), expected, rtol=1e-4)


def test_full_normals_with_diagonal_factors_are_diagonal_ones():
    rng = np.random.default_rng(1)
    m, lv, other_m, other_lv = rng.normal(size=(4, 3, 5))
    factor, other_factor = (np.exp(a / 2)[..., None] * np.eye(5) for a in (lv, other_lv))
    with jax.enable_x64(True):
        got = jax.jit(kl_between_full_normals)(m, factor, other_m, other_factor)
        np.testing.assert_allclose(got, kl_between_normals(m, lv, other_m, other_lv), rtol=1e-10)
        assert np.abs(jax.jit(kl_between_full_normals)(m, factor, m, factor)).max() < 1e-12


def test_categoricals_are_scipys_entropies_summed_over_the_event():
    logits, other = 3 * np.random.default_rng(2).normal(size=(2, 4, 3, 5))
    expected = stats.entropy(softmax(logits, -1), softmax(other, -1), axis=-1).sum(-1)
    np.testing.assert_allclose(kl_between_categoricals(jnp.array(logits), jnp.array(other)), expected, rtol=1e-5)


def test_classes_may_be_impossible():
    without, whole = jnp.array([[0.0, -jnp.inf, 1.0]]), jnp.array([[0.3, 0.2, 0.1]])
    divergence = jax.jit(jax.value_and_grad(lambda a, b: kl_between_categoricals(a, b)[0], argnums=(0, 1)))
    value, gradients = divergence(without, whole)
    assert float(value) == pytest.approx(stats.entropy(softmax(without[0]), softmax(whole[0])), rel=1e-5)
    both, gradients_of_both = divergence(without, without + 0.7)
    assert abs(float(both)) < 1e-6
    for gradient in (*gradients, *gradients_of_both):
        assert np.isfinite(gradient).all()
    assert divergence(whole, without)[0] == np.inf


def test_gradients_are_those_of_finite_differences():
    rng = np.random.default_rng(3)
    with jax.enable_x64(True):
        weights = jnp.array(rng.normal(size=3))
        for divergence, given in (
            (kl_between_full_normals, normals(4, 3, 2)),
            (kl_between_categoricals, rng.normal(size=(2, 3, 4))),
        ):
            f = jax.jit(lambda *a, of=divergence: (weights * of(*a)).sum())
            check_grads(f, tuple(map(jnp.array, given)), order=1, modes=["rev"], rtol=1e-6)


def test_samples_estimate_the_divergence_from_q_to_p():
    # two rows, of categoricals: the expectation of either estimate is a sum over the classes
    log_q, log_p = log_softmax(np.random.default_rng(5).normal(size=(2, 3, 2)), axis=1)
    exact = stats.entropy(np.exp(log_q), np.exp(log_p), axis=0)
    for nonnegative in (False, True):
        # one draw a class, each row of them estimated by itself
        terms = np.stack([kl_by_samples(log_q[k : k + 1], log_p[k : k + 1], nonnegative) for k in range(3)])
        np.testing.assert_allclose((np.exp(log_q) * terms).sum(0), exact, rtol=1e-5)
        assert (terms >= 0).all() == nonnegative
        # more draws are averaged
        mean = kl_by_samples(jnp.array(log_q), jnp.array(log_p), nonnegative)
        np.testing.assert_allclose(mean, terms.mean(0), rtol=1e-5)


def test_the_nonnegative_estimate_varies_less_between_near_normals():
    z = stats.norm(0.1).rvs(100_000, random_state=0)[:, None]
    log_q, log_p = stats.norm(0.1).logpdf(z), stats.norm(0).logpdf(z)
    # a row for each draw
    plain, low = (kl_by_samples(log_q.T, log_p.T, nonnegative) for nonnegative in (False, True))
    assert float(low.mean()) == pytest.approx(0.005, rel=0.03)
    assert float(plain.std()) > 10 * float(low.std())


def test_the_capacity_is_of_the_batchs_mean():
    kl = jnp.array([1.0, 5.0])
    # rows on both sides of it: the mean of their distances would be 2
    assert float(capacity(kl, 3.0)) == 0
    assert float(capacity(kl, 2.5, 10.0)) == pytest.approx(5) == float(capacity(kl, 3.5, 10.0))
    # too little is as bad as too much
    for target, sign in ((2.0, 1), (4.0, -1)):
        np.testing.assert_allclose(jax.grad(capacity)(kl, target, 10.0), [5.0 * sign] * 2)
