import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgen.losses.energies import (
    convergence_measure,
    energy_critic,
    energy_generator,
    equilibrium_critic,
    next_equilibrium,
    pulling_away,
)

REAL, FAKE = jnp.array([0.5, 1.5]), jnp.array([0.25, 4.0, 1.0])


def test_energies_are_low_on_data_and_pushed_up_to_the_margin_on_samples():
    assert energy_critic(REAL, FAKE, 2.0) == pytest.approx(1 + (1.75 + 0 + 1) / 3)
    to_real, to_fake = jax.grad(energy_critic, argnums=(0, 1))(REAL, FAKE, 2.0)
    np.testing.assert_allclose(to_real, [0.5, 0.5])
    np.testing.assert_allclose(to_fake, [-1 / 3, 0, -1 / 3])
    # the margin is a row's own, not the mean's
    assert energy_critic(REAL, jnp.array([0.0, 4.0]), 2.0) == pytest.approx(2)
    assert energy_generator(FAKE) == pytest.approx(1.75)
    np.testing.assert_allclose(jax.grad(energy_generator)(FAKE), np.full(3, 1 / 3))


def test_pulling_away_is_the_mean_squared_cosine_of_pairs():
    s = np.random.default_rng(0).normal(size=(5, 3))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    cosines = np.array([s[i] @ s[j] / np.linalg.norm(s[i]) / np.linalg.norm(s[j]) for i, j in pairs])
    assert float(jax.jit(pulling_away)(s)) == pytest.approx((cosines**2).sum() / 20, rel=1e-5)
    # without squares, this would be something else, and rows that point against each other the best there is
    assert abs(cosines.sum() / 20 - (cosines**2).sum() / 20) > 0.05
    assert float(pulling_away(jnp.array([[1.0, 2.0], [-2.0, -4.0]]))) == pytest.approx(1, rel=1e-5)
    assert float(pulling_away(3 * jnp.eye(4))) == 0
    # and it depends on directions only
    scaled = jax.jit(pulling_away)(s * [[1e-3], [1], [10], [1e3], [1]])
    assert float(scaled) == pytest.approx((cosines**2).sum() / 20, rel=1e-5)


def test_pulling_away_takes_rows_of_zeros_and_no_single_row():
    value, gradient = jax.jit(jax.value_and_grad(pulling_away))(jnp.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]]))
    assert float(value) == pytest.approx(2 * 0.5 / 6, rel=1e-5) and np.isfinite(gradient).all()
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        pulling_away(jnp.ones((1, 3)))


def test_the_equilibrium_weighs_samples_by_k():
    assert equilibrium_critic(REAL, FAKE, jnp.float32(0.25)) == pytest.approx(1 - 0.25 * 1.75)
    to_real, to_fake = jax.grad(equilibrium_critic, argnums=(0, 1))(REAL, FAKE, 0.25)
    np.testing.assert_allclose(to_real, [0.5, 0.5])
    np.testing.assert_allclose(to_fake, np.full(3, -0.25 / 3), rtol=1e-6)


def test_k_moves_to_where_the_ratio_is_gamma():
    # E L(x) = 1, E L(G(z)) = 1.75
    assert next_equilibrium(0.5, REAL, FAKE, gamma=0.5, rate=0.1) == pytest.approx(0.5 + 0.1 * (0.5 - 1.75))
    assert next_equilibrium(0.5, REAL, FAKE, gamma=1.75, rate=0.1) == pytest.approx(0.5)
    # samples that are reconstructed too well are weighed more, within [0, 1]
    assert next_equilibrium(0.5, FAKE, REAL, gamma=1.0, rate=0.1) == pytest.approx(0.575)
    assert next_equilibrium(0.5, REAL, FAKE, gamma=0.5, rate=1.0) == 0
    assert next_equilibrium(0.5, FAKE, REAL, gamma=1.0, rate=1.0) == 1
    np.testing.assert_array_equal(jax.grad(next_equilibrium, argnums=2)(0.5, REAL, FAKE), 0)


def test_the_convergence_measure_adds_the_distance_from_equilibrium():
    assert convergence_measure(REAL, FAKE, 0.5) == pytest.approx(1 + 1.25)
    assert convergence_measure(REAL, FAKE, 2.0) == pytest.approx(1 + 0.25)


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):

        @jax.jit
        def weighted(real, fake, s):
            return energy_critic(real, fake, 2.0) + 3 * equilibrium_critic(real, fake, 0.3) + 5 * pulling_away(s)

        given = jnp.asarray(REAL, float), jnp.asarray(FAKE, float), np.random.default_rng(1).normal(size=(4, 3))
        check_grads(weighted, given, order=1, modes=["rev"], rtol=1e-6)
