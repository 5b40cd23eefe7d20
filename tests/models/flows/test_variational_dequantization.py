import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import Chain, ConditionalNormal, Coupling, Logit, Scale, TanhAffine
from jaxgen.contracts import Clock
from jaxgen.distributions import StandardNormal, UniformDequantization
from jaxgen.models.flows import Flow, VariationalDequantization
from jaxgen.nets import MLP
from tests.bijectors.tools import random_variables

KEY = jax.random.key(0)


@functools.cache
def integers():
    """A flow over pairs of five levels whose noise depends on the pair, all of its variables random."""
    noise = Chain((Coupling(TanhAffine(), MLP((6,))), Coupling(TanhAffine(), MLP((6,)), flip=True)))
    bijector = Chain((Logit(0.05), ConditionalNormal(per_position=True)))
    flow = Flow(bijector, StandardNormal((2,)), VariationalDequantization(noise, 5))
    shapes = jnp.zeros((3, 2)), jnp.zeros((3, 2))
    variables = {"flow": random_variables(flow.bijector, 0, shapes[0])}
    variables = {**variables, "dequantizer": random_variables(noise, 1, *shapes, scale=0.8)}
    return flow, variables


def test_the_noise_stays_within_its_level_and_depends_on_the_integers():
    flow, variables = integers()
    x = jnp.asarray([[0, 4], [3, 1]]).repeat(2000, 0)
    y, _ = flow.dequantization.dequantize(KEY, x, variables["dequantizer"])
    noise = np.asarray(5 * y - x)
    assert noise.min() > -1e-5 and noise.max() < 1 + 1e-5
    means = noise.reshape(2, 2000, 2).mean(1)
    assert np.abs(means[0] - means[1]).max() > 0.05


def test_the_log_det_is_minus_the_noises_density_which_integrates_to_one():
    flow, variables = integers()
    x = jnp.full((40_000, 2), 2)
    _, log_det = flow.dequantization.dequantize(KEY, x, variables["dequantizer"])
    # E_q[1 / q(u)] is the volume that u fills; the points are 5^2 times as dense
    np.testing.assert_allclose(jnp.exp(log_det + 2 * np.log(5)).mean(), 1.0, atol=0.03)


def test_fresh_it_is_uniform():
    flow, _ = integers()
    x = jnp.full((500, 2), 3, jnp.uint8)
    variables = jax.jit(flow.init)(KEY, {"x": x})
    assert set(variables) == {"dequantizer", "flow"} and flow.plays()["flow"].players == ("dequantizer", "flow")
    y, log_det = flow.dequantization.dequantize(KEY, x, variables["dequantizer"])
    np.testing.assert_allclose(log_det, -2 * np.log(5), atol=1e-4)
    uniform = UniformDequantization(5).dequantize(KEY, x)
    np.testing.assert_allclose(uniform[1], log_det, atol=1e-4)
    np.testing.assert_allclose(np.mean(5 * y - 3), 0.5, atol=0.05)


@pytest.mark.slow
def test_more_samples_tighten_the_bound_towards_the_probability():
    flow, variables = integers()
    x = jnp.stack(jnp.meshgrid(jnp.arange(5), jnp.arange(5)), -1).reshape(-1, 2)
    bounds = [
        np.asarray(jax.jit(flow.log_prob, static_argnums=4)(variables, x.repeat(50, 0), KEY, None, n))
        .reshape(25, 50)
        .mean(1)
        for n in (1, 8, 64)
    ]
    assert bounds[0].mean() < bounds[1].mean() < bounds[2].mean()
    # the tightest of them is all but the probability of an integer, and those sum to what lies within the levels
    inside = np.asarray(flow.decode(variables, StandardNormal((2,)).sample(KEY, 20_000)))
    share = np.asarray([(inside == row).all(1).mean() for row in np.asarray(x)])
    edge = (np.asarray(x) % 4 == 0).any(1)
    np.testing.assert_allclose(np.exp(bounds[2])[~edge], share[~edge], atol=0.01)


@pytest.mark.slow
def test_the_loss_moves_the_noise():
    flow, variables = integers()
    x = jnp.asarray(np.random.default_rng(0).integers(0, 5, (64, 2)))

    def value(dequantizer):
        return jax.jit(flow.loss)({**variables, "dequantizer": dequantizer}, {"x": x}, KEY, Clock()).value

    for leaf in jax.tree.leaves(jax.jit(jax.grad(value))(variables["dequantizer"])):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def test_names_levels_and_what_it_cannot_do():
    with pytest.raises(ValueError, match="between 2 and 256, got 300"):
        VariationalDequantization(Scale(), 300)
    flow, variables = integers()
    with pytest.raises(ValueError, match="requires a fixed dequantization"):
        flow.sample_and_log_prob(variables, KEY, 3)
