import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxgen.metrics import active_units, mutual_information, total_correlation

KEY = jax.random.key(0)


def test_units_are_active_by_the_variance_of_their_means():
    rng = np.random.default_rng(0)
    # standard deviations of 1, 0.11 and 0.09 around means of their own
    means = rng.normal(size=(20_000, 3)) * [1, 0.11, 0.09] + [0, 5, 7]
    assert active_units(jnp.asarray(means)) == 2
    assert active_units(jnp.asarray(means), threshold=0.001) == 3 and active_units(jnp.asarray(means), 0.1) == 1


def test_mutual_information_is_that_of_the_mixture():
    means, stds = np.array([-1.0, 0.2, 2.0]), np.array([0.5, 0.3, 1.0])

    def mixture(z):
        return np.mean([stats.norm(m, s).pdf(z) for m, s in zip(means, stds, strict=True)])

    exact = np.mean([
        integrate.quad(lambda z: stats.norm(m, s).pdf(z) * (stats.norm(m, s).logpdf(z) - np.log(mixture(z))), -8, 8)[0]
        for m, s in zip(means, stds, strict=True)
    ])  # fmt: skip
    # two independent latents, the second of which knows nothing
    mean = jnp.stack([jnp.asarray(means, jnp.float32), jnp.full(3, 0.7)], -1)
    log_variance = jnp.stack([2 * jnp.log(jnp.asarray(stds, jnp.float32)), jnp.zeros(3)], -1)
    draws = jax.jit(jax.vmap(lambda key: mutual_information(mean, log_variance, key)))(jax.random.split(KEY, 4000))
    assert 0.3 < exact < np.log(3)
    assert float(draws.mean()) == pytest.approx(exact, abs=4 * float(draws.std()) / 4000**0.5)


@pytest.mark.slow
def test_posteriors_far_apart_tell_which_row_it_was_and_equal_ones_nothing():
    mean = 100 * jnp.arange(150.0)[:, None]
    informed = jax.jit(mutual_information)
    assert float(informed(mean, jnp.zeros((150, 1)), KEY)) == pytest.approx(np.log(150), rel=1e-5)
    assert abs(float(informed(0 * mean, jnp.zeros((150, 1)), KEY))) < 1e-5


def test_total_correlation_is_that_of_the_mixture():
    means, stds = np.array([[-1.0, 0.3], [0.2, 1.0], [2.0, 2.2]]), np.array([[0.5, 0.6], [0.7, 0.5], [1.0, 0.8]])
    line = np.linspace(-7, 8, 601)
    each = stats.norm(means[..., None], stds[..., None]).pdf(line)
    joint, product = np.einsum("na,nb->ab", each[:, 0], each[:, 1]) / 3, np.multiply.outer(*each.mean(0))
    exact = (joint * np.log(joint / product)).sum() * (line[1] - line[0]) ** 2
    # a third latent, the same in all rows, knows nothing of the others
    mean = jnp.asarray(np.insert(means, 2, 0.7, axis=1), jnp.float32)
    log_variance = jnp.asarray(np.insert(2 * np.log(stds), 2, 0.3, axis=1), jnp.float32)
    draws = jax.jit(jax.vmap(lambda key: total_correlation(mean, log_variance, key)))(jax.random.split(KEY, 4000))
    assert exact > 0.15
    assert float(draws.mean()) == pytest.approx(exact, abs=4 * float(draws.std()) / 4000**0.5)
