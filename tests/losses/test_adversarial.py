import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.special import expit, softmax, xlogy

from jaxgen.losses import boundary_seeking, normalized_weights
from jaxgen.losses.adversarial import (
    boundary_seeking_generator,
    hinge_critic,
    hinge_generator,
    importance_weighted_generator,
    least_squares_critic,
    least_squares_generator,
    minimax_generator,
    non_saturating_discriminator,
    non_saturating_generator,
    wasserstein_critic,
    wasserstein_generator,
)

# two distributions on five points, as batches that hold each point in proportion
P, Q = np.array([8, 1, 3, 4, 4]) / 20, np.array([1, 9, 5, 4, 1]) / 20
REAL, FAKE = np.repeat(np.arange(5), [8, 1, 3, 4, 4]), np.repeat(np.arange(5), [1, 9, 5, 4, 1])


def scores(*shape, seed=0, scale=2.0):
    return jnp.asarray(scale * np.random.default_rng(seed).normal(size=shape), jnp.float32)


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
    np.testing.assert_allclose(jax.jit(jax.grad(non_saturating_generator))(far), [-0.5, 0])
    assert non_saturating_discriminator(far, far) == pytest.approx(1e4)
    grads = jax.jit(jax.grad(non_saturating_discriminator, argnums=(0, 1)))(far, far)
    np.testing.assert_allclose(grads, [[-0.5, 0], [0, 0.5]])


def test_the_best_discriminator_tells_the_jensen_shannon_divergence():
    middle = (P + Q) / 2
    jensen_shannon = (xlogy(P, P / middle) + xlogy(Q, Q / middle)).sum() / 2
    best = jnp.log(P / Q)

    def loss(logits):
        return non_saturating_discriminator(logits[REAL], logits[FAKE])

    assert loss(best) == pytest.approx(np.log(4) - 2 * jensen_shannon, rel=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(best), np.zeros(5), atol=1e-6)


def test_wasserstein_losses():
    real, fake = jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0, 6.0])
    # positive where the fakes are rated above the real
    assert wasserstein_critic(real, fake) == -1
    assert wasserstein_generator(fake) == -3
    np.testing.assert_allclose(jax.jit(jax.grad(wasserstein_generator))(fake), -jnp.full(3, 1 / 3))


def test_labels_are_smoothed_on_one_side():
    real, fake = scores(12), scores(7, seed=1)
    d_real, d_fake = expit(np.asarray(real)), expit(np.asarray(fake))
    expected = -(0.9 * np.log(d_real) + 0.1 * np.log(1 - d_real)).mean() - np.log(1 - d_fake).mean()
    assert non_saturating_discriminator(real, fake, 0.9) == pytest.approx(expected, rel=1e-5)
    # the best logit is that of the label, whether or not there are samples
    best = jnp.full(3, np.log(0.9 / 0.1))
    to_real, to_fake = jax.jit(jax.grad(non_saturating_discriminator, argnums=(0, 1)))(best, fake, 0.9)
    np.testing.assert_allclose(to_real, 0, atol=1e-7)
    np.testing.assert_allclose(to_fake, d_fake / 7, rtol=1e-5)


def test_minimax_and_non_saturating_generators_are_two():
    fake = scores(7)
    expected = np.log(1 - expit(np.asarray(fake))).mean()
    assert minimax_generator(fake) == pytest.approx(expected, rel=1e-5)
    # while the discriminator wins the gradient of one vanishes, that of the other does not; at its loss both fall
    losing = jnp.array([-30.0])
    assert -1e-12 < jax.jit(jax.grad(minimax_generator))(losing)[0] < 0
    assert jax.jit(jax.grad(non_saturating_generator))(losing)[0] == pytest.approx(-1)
    assert jax.jit(jax.grad(minimax_generator))(-losing)[0] == pytest.approx(-1)


def test_least_squares_have_their_halves_and_their_targets():
    real, fake = np.array([1.0, 3.0]), np.array([0.5, -2.0, 1.0])
    expected = 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
    assert least_squares_critic(jnp.array(real), jnp.array(fake)) == pytest.approx(expected)
    assert least_squares_generator(jnp.array(fake)) == pytest.approx(0.5 * ((fake - 1) ** 2).mean())
    expected = 0.5 * ((real - 3) ** 2).mean() + 0.5 * ((fake + 2) ** 2).mean()
    assert least_squares_critic(jnp.array(real), jnp.array(fake), a=-2.0, b=3.0) == pytest.approx(expected)
    assert least_squares_generator(jnp.array(fake), c=0.25) == pytest.approx(0.5 * ((fake - 0.25) ** 2).mean())


def test_least_squares_descend_pearsons_divergence():
    # Mao et al. 2017, section 3.2: the best critic with targets (-1, 1, 0), and both expectations of its square
    best = jnp.asarray((P - Q) / (P + Q))
    gradient = jax.jit(jax.grad(lambda d: least_squares_critic(d[REAL], d[FAKE], -1.0, 1.0)))(best)
    np.testing.assert_allclose(gradient, 0, atol=1e-7)
    both = 2 * (least_squares_generator(best[REAL], 0.0) + least_squares_generator(best[FAKE], 0.0))
    assert both == pytest.approx((((P + Q) - 2 * Q) ** 2 / (P + Q)).sum(), rel=1e-5)


def test_hinges_bend_at_one_on_either_side():
    real, fake = jnp.array([2.0, 0.5, -3.0]), jnp.array([-1.5, 0.5])
    assert hinge_critic(real, fake) == pytest.approx((0 + 0.5 + 4) / 3 + (0 + 1.5) / 2)
    to_real, to_fake = jax.jit(jax.grad(hinge_critic, argnums=(0, 1)))(real, fake)
    np.testing.assert_allclose(to_real, [0, -1 / 3, -1 / 3])
    np.testing.assert_allclose(to_fake, [0, 1 / 2])
    # the generator's does not bend
    assert hinge_generator(fake) == pytest.approx(0.5)
    np.testing.assert_allclose(jax.jit(jax.grad(hinge_generator))(fake), [-0.5, -0.5])


def test_importance_weights_make_expectations_of_samples_those_of_data():
    logits = np.log(P / Q)[FAKE]
    weights = np.asarray(normalized_weights(jnp.asarray(logits)))
    assert weights.sum() == pytest.approx(1)
    h = np.random.default_rng(0).normal(size=5)
    assert weights @ h[FAKE] == pytest.approx(P @ h, rel=1e-4)
    # the ratio is D / (1 - D); D itself, normalised, gives others
    d = expit(logits)
    np.testing.assert_allclose(weights, d / (1 - d) / (d / (1 - d)).sum(), rtol=1e-5)
    assert np.abs(weights - d / d.sum()).max() > 0.01
    assert np.isfinite(normalized_weights(jnp.array([-1e4, 0.0, 1e4]))).all()


def test_the_importance_weighted_gradient_has_constant_weights():
    a = scores(6)
    d = expit(np.asarray(a, float))
    w = softmax(np.asarray(a, float))
    # a sum: the weights are normalised already
    assert importance_weighted_generator(a) == pytest.approx(-(w * np.log(d)).sum(), rel=1e-5)
    np.testing.assert_allclose(jax.jit(jax.grad(importance_weighted_generator))(a), -w * (1 - d), rtol=1e-5)


def test_boundary_seeking_generators_seek_the_boundary():
    a = scores(6)
    d = expit(np.asarray(a, float))
    assert boundary_seeking_generator(a) == pytest.approx(((np.log(d) - np.log(1 - d)) ** 2).mean(), rel=1e-5)
    # of probabilities it would be infinite
    assert boundary_seeking_generator(jnp.array([200.0, -100.0])) == pytest.approx(25_000)


def test_the_policy_gradient_is_that_of_the_divergence_to_the_data():
    # with every point once a draw of probability g, its logit log(p / g): the weights times g are p where g is uniform
    theta = jnp.zeros(5)
    gradient = jax.grad(lambda t: boundary_seeking(jax.nn.log_softmax(t)[:, None], jnp.log(5 * P)[:, None]))
    np.testing.assert_allclose(gradient(theta), 1 / 5 - P, rtol=1e-4, atol=1e-6)


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        critics = (non_saturating_discriminator, lambda r, f: non_saturating_discriminator(r, f, 0.9),
                   least_squares_critic, hinge_critic, wasserstein_critic)  # fmt: skip
        generators = (minimax_generator, non_saturating_generator, least_squares_generator, hinge_generator,
                      wasserstein_generator, boundary_seeking_generator)  # fmt: skip

        @jax.jit
        def weighted(real, fake):
            values = [critic(real, fake) for critic in critics] + [generator(fake) for generator in generators]
            return sum(np.sqrt(i + 2) * value for i, value in enumerate(values))

        given = jnp.asarray(scores(5), float), jnp.asarray(scores(4, seed=1), float)
        check_grads(weighted, given, order=1, modes=["rev"], rtol=1e-6)
