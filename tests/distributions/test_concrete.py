import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import softmax

from jaxgen.distributions import concrete_log_density, gumbel_softmax

KEY = jax.random.key(0)
LOGITS = np.float32([0.5, -1.0, 1.2])


@pytest.mark.parametrize("temperature", [0.1, 2.0])
def test_the_largest_entry_is_a_draw_of_the_classes(temperature):
    n = 40_000
    draw = jax.jit(gumbel_softmax, static_argnames="hard")
    relaxed, hard = (draw(jnp.tile(LOGITS, (n, 1)), KEY, temperature, hard=hard) for hard in (False, True))
    np.testing.assert_allclose(relaxed.sum(-1), np.ones(n), rtol=1e-5)
    p = softmax(LOGITS)
    np.testing.assert_allclose(hard.mean(0), p, atol=4 * 0.5 / n**0.5)
    # one-hot to the last bit, where the relaxed draw is largest
    assert set(np.unique(hard)) == {0, 1} and (hard.sum(-1) == 1).all()
    np.testing.assert_array_equal(hard.argmax(-1), relaxed.argmax(-1))
    # and the relaxed one comes near it as the temperature falls
    assert (float(relaxed.max(-1).mean()) > 0.95) == (temperature == 0.1)


def test_straight_through_has_the_relaxed_draws_gradient():
    weights = jnp.array([1.0, -2.0, 0.5])

    def gradient(logits, hard):
        return jax.grad(lambda a: weights @ gumbel_softmax(a, KEY, 0.7, hard))(logits)

    relaxed, hard = gradient(jnp.array(LOGITS), False), gradient(jnp.array(LOGITS), True)
    np.testing.assert_array_equal(relaxed, hard)
    x = np.asarray(gumbel_softmax(jnp.array(LOGITS), KEY, 0.7), np.float64)
    # of a softmax of logits / 0.7
    np.testing.assert_allclose(relaxed, x * (weights - x @ weights) / 0.7, rtol=1e-4)


def test_the_density_of_two_classes_is_a_logistics():
    # x_1 = sigmoid((l_1 - l_2 + logistic) / t)
    t, logits, x = 0.6, np.array([0.4, -0.5]), np.linspace(0.01, 0.99, 7)
    u = np.log(x) - np.log1p(-x)
    expected = stats.logistic(0.9 / t, 1 / t).logpdf(u) - np.log(x * (1 - x))
    got = concrete_log_density(np.log(np.stack([x, 1 - x], -1)), jnp.array(logits), t)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_the_density_of_three_classes_integrates_to_one_and_rates_its_draws():
    t, line = 1.7, (np.arange(400) + 0.5) / 400
    a, b = np.meshgrid(line, line)
    # the simplex as a square: x = (a, (1 - a) b, (1 - a) (1 - b)), its volume 1 - a
    x = np.stack([a, (1 - a) * b, (1 - a) * (1 - b)], -1)
    mass = np.exp(np.asarray(jax.jit(concrete_log_density)(np.log(x), LOGITS, t))) * (1 - a) / line.size**2
    assert mass.sum() == pytest.approx(1, abs=2e-3)
    draws = np.asarray(jax.jit(gumbel_softmax)(jnp.tile(LOGITS, (40_000, 1)), KEY, t))
    np.testing.assert_allclose(draws.mean(0), (mass[..., None] * x).sum((0, 1)), atol=5e-3)
    np.testing.assert_allclose((draws**2).mean(0), (mass[..., None] * x**2).sum((0, 1)), atol=5e-3)


def test_a_density_of_small_entries_is_finite():
    log_x = jnp.array([-400.0, 0.0, -300.0])
    value, gradient = jax.jit(jax.value_and_grad(concrete_log_density))(log_x, LOGITS, 0.05)
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_half_precision_logits_give_single_precision_draws():
    assert gumbel_softmax(jnp.zeros(3, jnp.bfloat16), KEY, 1.0, hard=True).dtype == jnp.float32


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        gumbel_softmax(jnp.array(LOGITS), KEY, 0)
    with pytest.raises(ValueError, match="must be positive, got -1.0"):
        concrete_log_density(jnp.log(softmax(LOGITS)), jnp.array(LOGITS), -1.0)
