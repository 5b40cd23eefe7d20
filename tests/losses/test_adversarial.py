import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import xlogy

from jaxgen.losses.adversarial import (
    non_saturating_discriminator,
    non_saturating_generator,
    wasserstein_critic,
    wasserstein_generator,
)


def test_non_saturating_losses_are_cross_entropies():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=12), rng.normal(size=7)
    d_real, d_fake = 1 / (1 + np.exp(-real)), 1 / (1 + np.exp(-fake))
    expected = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    assert non_saturating_discriminator(jnp.array(real), jnp.array(fake)) == pytest.approx(expected, rel=1e-6)
    assert non_saturating_generator(jnp.array(fake)) == pytest.approx(-np.log(d_fake).mean(), rel=1e-6)


def test_extreme_logits_cost_what_they_should_and_keep_their_gradients():
    far = jnp.array([-1e4, 1e4])
    assert non_saturating_generator(far) == pytest.approx(5e3)
    np.testing.assert_allclose(jax.grad(non_saturating_generator)(far), [-0.5, 0])
    assert non_saturating_discriminator(far, far) == pytest.approx(1e4)
    grads = jax.grad(non_saturating_discriminator, argnums=(0, 1))(far, far)
    np.testing.assert_allclose(grads, [[-0.5, 0], [0, 0.5]])


def test_the_best_discriminator_tells_the_jensen_shannon_divergence():
    # two distributions on five points, as batches that hold each point in proportion
    p, q = np.array([8, 1, 3, 4, 4]) / 20, np.array([1, 9, 5, 4, 1]) / 20
    real, fake = np.repeat(np.arange(5), [8, 1, 3, 4, 4]), np.repeat(np.arange(5), [1, 9, 5, 4, 1])
    middle = (p + q) / 2
    jensen_shannon = (xlogy(p, p / middle) + xlogy(q, q / middle)).sum() / 2
    best = jnp.log(p / q)

    def loss(logits):
        return non_saturating_discriminator(logits[real], logits[fake])

    assert loss(best) == pytest.approx(np.log(4) - 2 * jensen_shannon, rel=1e-5)
    np.testing.assert_allclose(jax.grad(loss)(best), np.zeros(5), atol=1e-6)


def test_wasserstein_losses():
    real, fake = jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0, 6.0])
    # positive where the fakes are rated above the real
    assert wasserstein_critic(real, fake) == -1
    assert wasserstein_generator(fake) == -3
    np.testing.assert_allclose(jax.grad(wasserstein_generator)(fake), -jnp.full(3, 1 / 3))
