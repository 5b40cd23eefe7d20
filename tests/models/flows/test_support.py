"""Densities with a bounded support: -inf outside of it, integral one, finite gradients everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import (
    Additive, Affine, Chain, Coupling, Invert, Logit, Probit, RationalQuadraticSpline, Repeat, Scale, Sigmoid, Softplus,
    Tanh,
)
from jaxgen.distributions import Logistic, StandardNormal, Uniform
from jaxgen.models.flows import Flow
from jaxgen.nets.mlp import MLP
from tests.bijectors.tools import quick, random_variables

INF = np.inf


def repeated(gradient):
    """Two maps of (0, 1) onto itself, then the line."""
    return Chain((Repeat(Chain((Logit(), Scale(), Sigmoid())), 2, gradient), Logit()))


# flow, support
FLOWS = {
    "probit": (Flow(Probit(), StandardNormal((1,))), 0, 1),
    "logit": (Flow(Logit(), Logistic((1,))), 0, 1),
    "logit with margin": (Flow(Logit(0.1), StandardNormal((1,))), -0.125, 1.125),
    "inverse of sigmoid": (Flow(Invert(Sigmoid()), StandardNormal((1,))), 0, 1),
    "inverse of tanh": (Flow(Invert(Tanh()), StandardNormal((1,))), -1, 1),
    "inverse of softplus": (Flow(Invert(Softplus()), Logistic((1,))), 0, INF),
    "chain": (Flow(Chain((Affine(-1.0, 0.5), Probit(), Affine(0.3, 2.0))), StandardNormal((1,))), 2, 4),
    "repeat": (Flow(repeated("store"), StandardNormal((1,))), 0, 1),
    "reversing repeat": (Flow(repeated("reverse"), StandardNormal((1,))), 0, 1),
    "uniform base": (Flow(Affine(1.0, 2.0), Uniform((1,))), -1, 0),
    "tanh to a uniform base": (Flow(Tanh(), Uniform((1,))), -INF, INF),
    "sigmoid to a uniform base": (Flow(Chain((Sigmoid(), Affine(-1.0, 2.0))), Uniform((1,))), -INF, INF),
}
each = pytest.mark.parametrize("name", FLOWS)


def of(name):
    flow, *support = FLOWS[name]
    return flow, {"flow": random_variables(flow.bijector, 0, jnp.zeros((1, 1)))}, support


@each
def test_the_integral_over_more_than_the_support_is_one(name):
    flow, variables, (low, high) = of(name)
    n, (start, stop) = 40_000, (-20.0, 20.0)
    x = start + (stop - start) * (np.arange(n) + 0.5) / n
    log_prob = np.asarray(quick(flow.log_prob)(variables, jnp.asarray(x[:, None], jnp.float32)), np.float64)
    assert np.exp(log_prob).sum() * (stop - start) / n == pytest.approx(1, abs=2e-3)
    outside = (x < low) | (x > high)
    assert (log_prob[outside] == -INF).all() and np.isfinite(log_prob[~outside]).all()


@pytest.mark.slow
@each
def test_gradients_are_finite_inside_on_the_edges_and_outside(name):
    flow, variables, support = of(name)
    edges = [float(edge) for edge in support if np.isfinite(edge)]
    x = jnp.asarray([*edges, *np.nextafter(np.float32(edges), np.float32(INF)), -30.0, 0.3, 30.0])[:, None]

    @quick
    def gradients(variables, x):
        return jax.grad(lambda *a: flow.log_prob(*a).sum(), (0, 1))(variables, x)

    for leaf in jax.tree.leaves(gradients(variables, x)):
        assert np.isfinite(leaf).all()


@pytest.mark.slow
@each
def test_the_edges_belong_to_the_support(name):
    flow, variables, support = of(name)
    edges = jnp.asarray([float(edge) for edge in support if np.isfinite(edge)] or [0.0])[:, None]
    assert np.isfinite(flow.log_prob(variables, edges)).all()


@pytest.mark.slow
@each
def test_samples_that_round_to_an_edge_have_a_density(name):
    flow, variables, _ = of(name)
    z = jnp.asarray([[-1.0], [1.0]] if isinstance(flow.base, Uniform) else [[-40.0], [-9.0], [9.0], [40.0]])
    x = flow.decode(variables, z)
    assert np.isfinite(flow.log_prob(variables, x)).all(), x


def test_far_out_where_tanh_rounds_to_one_its_flow_to_a_uniform_base_keeps_its_density():
    flow, x = FLOWS["tanh to a uniform base"][0], np.asarray([[-12.0], [10.0]])
    expected = -2 * np.log(np.cosh(x[:, 0])) - np.log(2)
    np.testing.assert_allclose(flow.log_prob({"flow": {}}, x.astype(np.float32)), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("transformer", [Additive(), RationalQuadraticSpline(4)])
def test_one_coordinate_outside_is_enough_with_a_coupling_behind(transformer):
    flow = Flow(Chain((Probit(), Coupling(transformer, MLP((5,))))), StandardNormal((2,)))
    variables = {"flow": random_variables(flow.bijector, 0, jnp.zeros((1, 2)))}
    x = jnp.asarray([[0.2, 0.7], [1.5, 0.7], [0.2, -0.5], [3.0, -2.0]])

    @quick
    def log_prob_and_gradients(variables, x):
        log_prob, pull_back = jax.vjp(flow.log_prob, variables, x)
        return log_prob, pull_back(jnp.ones_like(log_prob))

    log_prob, gradients = log_prob_and_gradients(variables, x)
    assert np.isfinite(log_prob[0]) and (log_prob[1:] == -INF).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_a_missing_value_stays_one():
    x = jnp.full((1, 1), jnp.nan)
    for name in ("probit", "inverse of softplus", "inverse of tanh", "uniform base"):
        flow, variables, _ = of(name)
        assert np.isnan(flow.log_prob(variables, x)).all(), name
