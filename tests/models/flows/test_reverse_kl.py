import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import ConditionalNormal
from jaxgen.contracts import Clock, Model
from jaxgen.distributions import StandardNormal
from jaxgen.models.flows import Flow, ReverseKL, real_nvp_vector
from jaxgen.models.flows.reverse_kl import effective_fraction
from tests.bijectors.tools import random_variables

KEY = jax.random.key(0)
BATCH = {"x": jnp.zeros((400, 2))}


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """exp(3) times a normal density of mean (1, -1) and standard deviations (1, 2)."""

    log_normalizer = 3.0

    def log_density(self, x):
        z = (x - jnp.asarray([1.0, -1.0])) / jnp.asarray([1.0, 2.0])
        return 3.0 + StandardNormal((2,)).log_prob(z) - math.log(2.0)


@pytest.fixture
def solved():
    """A flow that is the target: z = (x - mu) / sigma, `ConditionalNormal` holding log-scale and shift."""
    model = ReverseKL(Flow(ConditionalNormal(per_position=True), StandardNormal((2,))), Gaussian())
    # log-scale = 2 tanh(a / 2)
    a = 2 * np.arctanh(-np.log([1.0, 2.0]) / 2)
    return model, {"flow": {"params": {"prior": jnp.asarray(np.stack([a, [-1.0, 1.0]], -1), jnp.float32)}}}


def gradient(model, variables, key=KEY):
    def value(params):
        return jax.jit(model.loss)({"flow": {**variables["flow"], "params": params}}, BATCH, key, Clock()).value

    return jax.jit(jax.grad(value))(variables["flow"]["params"])


def test_figures_at_the_solution(solved):
    model, variables = solved
    assert isinstance(model, Model) and model.monitor == ("reverse_kl", "min")
    x = jnp.asarray(np.random.default_rng(0).normal([1.0, -1.0], [1.0, 2.0], (400, 2)), jnp.float32)
    figures = model.evaluate(variables, {"x": x}, KEY)
    np.testing.assert_allclose(figures["free_energy"], -3.0, atol=1e-5)
    np.testing.assert_allclose(figures["log_normalizer"], 3.0, atol=1e-5)
    np.testing.assert_allclose(figures["effective_fraction"], 1.0, atol=1e-5)
    np.testing.assert_allclose([figures["reverse_kl"], figures["log_normalizer_error"]], 0.0, atol=1e-5)
    np.testing.assert_allclose(figures["log_prob"], np.mean(Gaussian().log_density(x) - 3.0), rtol=1e-5)


def test_the_path_derivative_vanishes_draw_by_draw_at_the_solution_and_the_full_one_does_not(solved):
    model, variables = solved
    full = dataclasses.replace(model, path_derivative=False)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient(model, variables))) < 1e-5
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient(full, variables))) > 1e-2
    np.testing.assert_allclose(
        *(jax.jit(m.loss)(variables, BATCH, KEY, Clock()).value for m in (model, full)), atol=1e-5
    )


def test_both_gradients_have_the_expectation_of_finite_differences():
    """The free energy of a Gaussian q(x) = N(m, s^2) has a closed form: log Z - KL."""
    flow = Flow(ConditionalNormal(per_position=True), StandardNormal((2,)))
    raw = np.asarray([[0.3, -0.5], [-0.2, 0.4]])

    def free_energy(raw):
        log_scale = 2 * np.tanh(raw[:, 0] / 2)
        m, s = -raw[:, 1], np.exp(-log_scale)
        mean, std = np.asarray([1.0, -1.0]), np.asarray([1.0, 2.0])
        return (np.log(std / s) + (s**2 + (m - mean) ** 2) / (2 * std**2) - 0.5).sum() - 3.0

    step = 1e-5 * np.eye(4).reshape(4, 2, 2)
    expected = np.reshape([(free_energy(raw + d) - free_energy(raw - d)) / 2e-5 for d in step], (2, 2))
    variables = {"flow": {"params": {"prior": jnp.asarray(raw, jnp.float32)}}}
    for path in (True, False):
        model = ReverseKL(flow, Gaussian(), path)
        keys = jax.random.split(KEY, 200)
        estimate = jax.jit(jax.vmap(lambda key: gradient(model, variables, key)["prior"]))(keys)
        np.testing.assert_allclose(estimate.mean(0), expected, atol=5 * np.asarray(estimate).std(0).max() / 200**0.5)
        np.testing.assert_allclose(estimate.mean(0), expected, atol=0.05)


def test_the_bound_and_the_estimate_lie_below_the_normalizer_for_any_flow():
    flow = real_nvp_vector(2, depth=1, widths=(8,))
    model = ReverseKL(flow, Gaussian())
    variables = {"flow": random_variables(flow.bijector, 0, BATCH["x"])}
    figures = model.evaluate(variables, BATCH, KEY)
    assert -figures["free_energy"] < figures["log_normalizer"] and -figures["free_energy"] < 3.0
    assert 1 / 400 < figures["effective_fraction"] < 0.9
    # log q in the weights is the flow's own
    x = model.sample(variables, KEY, 400)
    expected = Gaussian().log_density(x) - model.log_prob(variables, x)
    np.testing.assert_allclose(model.log_weights(variables, KEY, 400), expected, rtol=1e-3, atol=1e-3)


def test_effective_share_counts_equal_weights():
    np.testing.assert_allclose(effective_fraction(jnp.full(10, 700.0)), 1.0, rtol=1e-4)
    np.testing.assert_allclose(effective_fraction(jnp.asarray([500.0, 500.0, 0.0, 0.0])), 0.5, rtol=1e-4)


def test_starts_in_the_direction_of_sampling():
    model = ReverseKL(real_nvp_vector(2, depth=1, widths=(8,)), Gaussian())
    variables = jax.jit(model.init)(KEY, BATCH)
    x = model.sample(variables, jax.random.key(1), 2000)
    np.testing.assert_allclose(x.std(0), 1.0, atol=0.1)
    (name, play), = model.plays().items()
    assert name == "reverse_kl" and play.players == ("flow",)
