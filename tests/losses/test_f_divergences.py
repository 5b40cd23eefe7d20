import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import integrate, stats
from scipy.special import wrightomega

from jaxgen.losses import F_DIVERGENCES, f_gan_critic, f_gan_generator
from jaxgen.losses.adversarial import minimax_generator, non_saturating_discriminator, non_saturating_generator
from jaxgen.numerics import log_lambert_w_of_exp

P, Q = stats.norm(0, 1), stats.norm(0.5, 1.2)
X = np.linspace(-13, 13, 1301)
P_X, Q_X, LOG_U = P.pdf(X), Q.pdf(X), P.logpdf(X) - Q.logpdf(X)
ALL = pytest.mark.parametrize("name", F_DIVERGENCES)


def to_the_middle(p, q):
    return p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))


# the divergences as textbooks have them
INTEGRANDS = {
    "kl": lambda p, q: p * np.log(p / q),
    "reverse_kl": lambda p, q: q * np.log(q / p),
    "pearson": lambda p, q: (p - q) ** 2 / q,
    "neyman": lambda p, q: (p - q) ** 2 / p,
    "squared_hellinger": lambda p, q: (np.sqrt(p) - np.sqrt(q)) ** 2,
    "jeffreys": lambda p, q: (p - q) * np.log(p / q),
    "jensen_shannon": to_the_middle,
    "gan": lambda p, q: to_the_middle(p, q) - np.log(4) * (p + q) / 2,
    "total_variation": lambda p, q: np.abs(p - q) / 2,
}
# the critic's best output where p / q = u, by log u: the solution of g_f(v) = f'(u)
BEST = {
    "kl": lambda s: 1 + s,
    "reverse_kl": lambda s: s,
    "pearson": lambda s: 2 * np.expm1(s),
    "neyman": lambda s: 2 * s,
    "squared_hellinger": lambda s: s / 2,
    "jeffreys": lambda s: s + 1 - np.exp(-s),
    "jensen_shannon": lambda s: s,
    "gan": lambda s: s,
    "total_variation": lambda s: 1e3 * s,
}


def divergence_of(name):
    return integrate.trapezoid(INTEGRANDS[name](P_X, Q_X), X)


def bounds(name, outputs):
    """Minus the critic's loss, in the limit of infinite batches, for functions v given by their values at X."""
    critic, some = F_DIVERGENCES[name], jnp.ones(1)

    @jax.jit
    @jax.vmap
    def by_point(v):
        # of a row of data, and of a row of samples; the loss of the other row is taken off below
        return f_gan_critic(v[None], some, critic), f_gan_critic(some, v[None], critic)

    of_real, of_fake = (np.asarray(a).reshape(outputs.shape) for a in by_point(outputs.ravel()))
    losses = integrate.trapezoid(P_X * of_real + Q_X * of_fake, X)
    return -(losses - float(f_gan_critic(some, some, critic)))


def test_the_divergences_are_what_their_names_say():
    kl = np.log(1.2) + (1 + 0.25) / (2 * 1.44) - 0.5
    assert divergence_of("kl") == pytest.approx(kl)
    reverse = -np.log(1.2) + (1.44 + 0.25) / 2 - 0.5
    assert divergence_of("reverse_kl") == pytest.approx(reverse)
    assert divergence_of("jeffreys") == pytest.approx(kl + reverse)
    assert set(INTEGRANDS) == set(F_DIVERGENCES)


@ALL
def test_bounds_lie_below_the_divergence_and_reach_it(name):
    exact = divergence_of(name)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        # E_q f(p/q) is the divergence, whatever the critic
        f = np.asarray(F_DIVERGENCES[name].generator_function(np.exp(LOG_U)))
        assert integrate.trapezoid(Q_X * f, X) == pytest.approx(exact, rel=1e-5)
        best = BEST[name](LOG_U)
        waves = np.sin(rng.uniform(0.3, 2, size=(8, 1)) * X + rng.uniform(0, 6, size=(8, 1)))
        sizes = np.geomspace(0.01, 3, 8)[:, None]
        at_best, *near = bounds(name, np.concatenate([best[None], best + sizes * waves]))
        elsewhere = bounds(name, sizes * waves)
    # the best of total variation is a limit
    assert at_best == pytest.approx(exact, rel=1e-3 if name == "total_variation" else 1e-6)
    assert (np.asarray(near) <= exact + 1e-9).all() and (elsewhere < exact).all()
    if name != "total_variation":
        assert (np.asarray(near) < at_best - 1e-7).all()


@ALL
def test_conjugates_are_suprema(name):
    divergence = F_DIVERGENCES[name]
    low, high = divergence.domain
    # Pearson's is that of the parabola on both sides of zero
    u = np.linspace(-6, 6, 12_001) if name == "pearson" else np.exp(np.linspace(-20, 20, 20_001))
    # where the supremum is inside of the grid
    t = np.linspace(max(low, -4), min(high - 0.01, 3), 15)
    with jax.enable_x64(True):
        f = np.asarray(divergence.generator_function(u))
        conjugates = np.asarray(divergence.conjugate(t))
        slope = float(jax.jit(jax.grad(divergence.generator_function))(1.0)) if name != "total_variation" else 0.0
    np.testing.assert_allclose(conjugates, [(a * u - f).max() for a in t], rtol=1e-5, atol=1e-6)
    assert slope == pytest.approx(divergence.threshold, abs=1e-12)


@ALL
def test_conjugates_are_infinite_outside_of_their_domain_and_have_finite_gradients(name):
    divergence = F_DIVERGENCES[name]
    for end, outward in zip(divergence.domain, (-1, 1), strict=True):
        if np.isfinite(end):
            outside = jnp.float32(end + outward * 0.1)
            value, gradient = jax.jit(jax.value_and_grad(divergence.conjugate))(outside)
            assert value == np.inf and np.isfinite(gradient)


@ALL
def test_activations_increase_into_the_domain_where_the_conjugate_is_what_is_computed(name):
    divergence = F_DIVERGENCES[name]
    low, high = divergence.domain
    with jax.enable_x64(True):
        v = jnp.linspace(-8, 8, 101)
        t = np.asarray(divergence.activation(v))
        # v1 of the paper prints -exp(v) for the reverse KL, which decreases
        assert (np.diff(t) > 0).all() and low <= t[0] and t[-1] <= high
        np.testing.assert_allclose(divergence.conjugate_of_activation(v), divergence.conjugate(t), rtol=1e-8, atol=1e-8)
        # T = f'(u) is above the threshold where u > 1
        best = np.asarray(divergence.activation(BEST[name](np.array([-0.5, 0.0, 0.5]))))
        assert best[0] < divergence.threshold < best[2]
        assert best[1] == pytest.approx(divergence.threshold, abs=1e-12)


@ALL
def test_far_outputs_cost_what_they_should_in_single_precision(name):
    divergence, v = F_DIVERGENCES[name], np.float32([-60, 0, 60])
    got, slopes = jax.vmap(jax.value_and_grad(divergence.conjugate_of_activation))(v)
    with jax.enable_x64(True):
        exact, exact_slopes = jax.vmap(jax.value_and_grad(divergence.conjugate_of_activation))(v.astype(float))
    assert got.dtype == jnp.float32 and np.isfinite(got).all() and np.isfinite(slopes).all()
    np.testing.assert_allclose(got, exact, rtol=2e-5, atol=1e-7)
    np.testing.assert_allclose(slopes, exact_slopes, rtol=2e-5, atol=1e-30)


def test_lamberts_w_is_scipys_with_two_derivatives():
    y = np.concatenate([np.linspace(-60, 60, 41), [0.999, 1.0, 1.001, -700.0, 1e8]])
    with jax.enable_x64(True):
        got = jax.jit(log_lambert_w_of_exp)(y)
        # scipy's is W itself, for which W + log W = y
        np.testing.assert_allclose(got, np.log(wrightomega(y)), rtol=1e-12, atol=1e-14)
        check_grads(jax.jit(log_lambert_w_of_exp), (jnp.linspace(-5, 5, 7),), order=2, rtol=1e-5)
    single = jax.jit(log_lambert_w_of_exp)(y.astype(np.float32))
    np.testing.assert_allclose(single, np.log(wrightomega(y)), rtol=3e-6, atol=3e-7)


def test_the_original_gan_is_one_of_them():
    real, fake = (jnp.asarray(a) for a in np.random.default_rng(1).normal(size=(2, 9), scale=3).astype(np.float32))
    gan = F_DIVERGENCES["gan"]
    assert float(f_gan_critic(real, fake, gan)) == pytest.approx(float(non_saturating_discriminator(real, fake)))
    assert float(f_gan_generator(fake, gan)) == pytest.approx(float(minimax_generator(fake)))
    alternative = f_gan_generator(fake, gan, alternative=True)
    assert float(alternative) == pytest.approx(float(non_saturating_generator(fake)))


@pytest.mark.slow
@ALL
def test_generators_descend_the_bound_or_the_activation(name):
    divergence = F_DIVERGENCES[name]
    with jax.enable_x64(True):
        v = jnp.asarray(np.random.default_rng(2).normal(size=6))
        # minus the generator's share of the critic's loss
        critic = f_gan_critic(jnp.zeros(1), v, divergence) + divergence.activation(jnp.zeros(()))
        assert float(f_gan_generator(v, divergence)) == pytest.approx(-float(critic))
        alternative = f_gan_generator(v, divergence, True)
        assert float(alternative) == pytest.approx(-float(divergence.activation(v).mean()))

        @jax.jit
        def weighted(a, b):
            of_generator = f_gan_generator(a, divergence) + 3 * f_gan_generator(b, divergence, True)
            return of_generator + 5 * f_gan_critic(a, b, divergence)

        check_grads(weighted, (v, -v), order=1, modes=["rev"], rtol=1e-6)
