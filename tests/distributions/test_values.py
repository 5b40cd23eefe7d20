"""Integers outside of the levels, labels outside of the classes: a sentence, or -inf where they are traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import losses
from jaxgen.bijectors import Affine
from jaxgen.distributions import (
    Bernoulli, Categorical, DiscretizedLogistic, DiscretizedLogisticMixture, RadialMixture, UniformDequantization,
)
from jaxgen.models.flows.variational_dequantization import VariationalDequantization
from jaxgen.models.scaling import from_data

KEY = jax.random.key(0)
LIKELIHOODS = (Categorical(7), DiscretizedLogistic(7), DiscretizedLogisticMixture(7, 2))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("value", [-1, 7, 2.5, np.nan])
def test_a_likelihood_refuses_what_is_not_a_level_and_gives_it_no_probability_under_jit(likelihood, value):
    x = jnp.asarray([[0.0, 6.0], [3.0, value]])
    params = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, likelihood.num_params)), jnp.float32)
    with pytest.raises(ValueError, match=rf"`x` must be integers from 0 to 6, got {value}"):
        likelihood.log_prob(params, x)

    @jax.jit
    def log_prob_and_gradient(params, x):
        log_prob, pull_back = jax.vjp(lambda params: likelihood.log_prob(params, x), params)
        return log_prob, pull_back(jnp.ones_like(log_prob))[0]

    log_prob, gradient = log_prob_and_gradient(params, x)
    assert np.isfinite(log_prob[0]) and log_prob[1] == -np.inf
    assert np.isfinite(gradient).all() and np.any(gradient)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, jnp.bfloat16])
def test_levels_of_any_type_are_accepted(likelihood, dtype):
    params = jnp.asarray(np.random.default_rng(0).normal(size=(7, 1, likelihood.num_params)), jnp.float32)
    x = np.arange(7)[:, None].astype(dtype)
    log_prob = likelihood.log_prob(params, x)
    np.testing.assert_allclose(jax.jit(likelihood.log_prob)(params, x), log_prob, rtol=1e-5)


def test_bernoulli_refuses_what_is_not_a_grey_value():
    with pytest.raises(ValueError, match=r"`x` must be in \[0, 1\], got 1.5"):
        Bernoulli().log_prob(jnp.zeros((2, 1, 1)), jnp.asarray([[0.5], [1.5]]))
    # beyond an edge by rounding
    Bernoulli().log_prob(jnp.zeros((2, 1, 1)), jnp.asarray([[0.5], [1.0000001]]))


@pytest.mark.parametrize(("name", "loss"), [
    ("labels", lambda classes: losses.class_loss(jnp.zeros((2, 5)), classes)),
    ("labels", lambda classes: losses.k_plus_one_labelled(jnp.zeros((2, 5)), classes)),
    ("codes", lambda classes: -losses.categorical_information(jnp.zeros((2, 5)), classes)),
])
@pytest.mark.parametrize("value", [-1, 5])
def test_a_loss_refuses_what_is_not_a_class_and_is_infinite_under_jit(name, loss, value):
    classes = jnp.asarray([0, value])
    with pytest.raises(ValueError, match=rf"`{name}` must be integers from 0 to 4, got {value}"):
        loss(classes)
    assert jax.jit(loss)(classes) == np.inf
    assert np.isfinite(loss(jnp.asarray([0, 4])))


def test_codes_labels_and_images_outside_of_their_range_are_refused():
    with pytest.raises(ValueError, match="`codes` must be integers from 0 to 2, got -1"):
        losses.update_averages(jnp.ones(3), jnp.ones((3, 2)), jnp.ones((2, 2)), jnp.asarray([0, -1]))
    with pytest.raises(ValueError, match="`label` must be integers from 0 to 9, got 10"):
        RadialMixture().sample(KEY, 2, jnp.asarray([0, 10]))
    for dequantization in (UniformDequantization(100), VariationalDequantization(Affine(), 100)):
        with pytest.raises(ValueError, match="`x` must be integers from 0 to 99, got 200"):
            dequantization.dequantize(KEY, jnp.asarray([[3, 200]], jnp.uint8))
    with pytest.raises(ValueError, match="`x` must be integers from 0 to 255, got 256"):
        from_data(np.asarray([[3, 256]]), (2,), 256)
