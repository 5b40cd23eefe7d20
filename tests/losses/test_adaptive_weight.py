"""The adaptive weight on a toy of two parameters, and losses with a given gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import adaptive_weight, with_gradient


def test_the_weighted_loss_moves_the_parameters_as_far_as_the_reference():
    # L_rec = 3 a - 4 b has a gradient of norm 5, L_G = (a^2 + b^2) / 2 one of norm |(a, b)|
    a, b = 6.0, 8.0
    reference, other = {"a": jnp.array(3.0), "b": jnp.array(-4.0)}, {"a": jnp.array(a), "b": jnp.array(b)}
    weight = adaptive_weight(reference, other, epsilon=0.0)
    np.testing.assert_allclose(weight, 5 / 10, rtol=1e-6)
    # the ratio of the norms, not the norm of the ratios
    assert abs(float(weight) - np.hypot(3 / 6, 4 / 8)) > 0.1
    np.testing.assert_allclose(adaptive_weight(reference, other, epsilon=2.5), 5 / 12.5, rtol=1e-6)


def test_it_is_bounded_where_the_other_gradient_vanishes():
    zero, one = jnp.zeros(3), jnp.ones(3)
    assert adaptive_weight(one, zero) == 1e4 and adaptive_weight(one, zero, greatest=7.0) == 7
    assert adaptive_weight(zero, zero) == 0


def test_it_is_a_constant_for_the_gradient():
    gradient = jax.grad(lambda x: adaptive_weight(x, 2 * jnp.ones(2)) * 3.0)(jnp.array([3.0, 4.0]))
    np.testing.assert_array_equal(gradient, 0)


def test_a_given_gradient_is_passed_on():
    x, given = jnp.array([1.0, -2.0]), jnp.array([0.5, 7.0])
    value, gradient = jax.value_and_grad(lambda t: with_gradient((t**4).sum(), 3 * t, given))(x)
    np.testing.assert_allclose(value, 17.0)
    np.testing.assert_allclose(gradient, 3 * given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((jnp.ones(2), jnp.ones(3)), "`of_loss`"),
        (({"a": jnp.ones(2)}, {"b": jnp.ones(2)}), "same structure"),
        ((jnp.ones(2), jnp.ones(2), -1.0), "`epsilon`"),
        ((jnp.ones(2), jnp.ones(2), 1.0, -1.0), "`greatest`"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        adaptive_weight(*arguments)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="`gradient`"):
        with_gradient(jnp.zeros(()), jnp.ones(2), jnp.ones((2, 1)))
