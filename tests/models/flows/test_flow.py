import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import Affine, Chain, ConditionalNormal, Coupling, Logit, Repeat, TanhAffine
from jaxgen.contracts import Clock, Model
from jaxgen.distributions import StandardNormal, UniformDequantization
from jaxgen.models.flows import Flow, real_nvp_vector
from jaxgen.nets.spectral import SpectralDense
from tests.bijectors.tools import random_variables

KEY = jax.random.key(0)


@functools.cache
def vectors():
    """A flow over the plane with a context, all its variables random."""
    flow = real_nvp_vector(2, depth=2, widths=(8,))
    return flow, {"flow": random_variables(flow.bijector, 0, jnp.zeros((4, 2)), jnp.zeros((4, 3)))}


def test_is_a_model_and_a_value():
    flow, _ = vectors()
    assert isinstance(flow, Model)
    same = real_nvp_vector(2, depth=2, widths=(8,))
    assert flow == same and hash(flow) == hash(same)
    assert flow != real_nvp_vector(2, depth=3, widths=(8,))


def test_the_density_integrates_to_one():
    flow, variables = vectors()
    context = jnp.asarray([[1.0, -1.0, 0.5]])
    # on a grid around where the flow puts its mass
    x = flow.sample(variables, KEY, 2000, context)
    (low, high), n = (x.min(0) - 4 * x.std(0), x.max(0) + 4 * x.std(0)), 400
    axes = [jnp.linspace(a, b, n) for a, b in zip(low, high, strict=True)]
    grid = jnp.stack(jnp.meshgrid(*axes), -1).reshape(-1, 2)
    log_prob = jax.jit(flow.log_prob)(variables, grid, None, context)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)).sum() * cell, 1.0, atol=2e-3)


def test_samples_carry_their_log_prob_and_encode_to_their_latents():
    flow, variables = vectors()
    context = jnp.asarray(np.random.default_rng(0).normal(size=(16, 3)), jnp.float32)
    x, log_prob = flow.sample_and_log_prob(variables, KEY, 16, context)
    np.testing.assert_allclose(flow.log_prob(variables, x, context=context), log_prob, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(flow.sample(variables, KEY, 16, context), x)
    z = flow.encode(variables, x, context=context)
    np.testing.assert_allclose(z, flow.base.sample(KEY, 16), atol=1e-3)
    np.testing.assert_allclose(flow.decode(variables, z, context), x, atol=1e-3)


def test_one_row_of_context_serves_all_samples_and_matters():
    flow, variables = vectors()
    row, other = jnp.asarray([[1.0, 2.0, 3.0]]), jnp.asarray([[-1.0, 2.0, 3.0]])
    x = flow.sample(variables, KEY, 5, row)
    np.testing.assert_allclose(x, flow.sample(variables, KEY, 5, jnp.tile(row, (5, 1))), rtol=1e-5)
    assert (np.abs(x - flow.sample(variables, KEY, 5, other)).max(1) > 1e-3).all()
    with pytest.raises(ValueError, match=r"one row or 5, got shape \(3, 3\)"):
        flow.sample(variables, KEY, 5, jnp.tile(row, (3, 1)))


def test_temperature_scales_the_latents():
    flow = Flow(Affine(1.0, 0.5), StandardNormal((2,)))
    x = flow.sample({"flow": {}}, KEY, 5)
    np.testing.assert_allclose(x, (flow.base.sample(KEY, 5) - 1) / 0.5, rtol=1e-5)
    np.testing.assert_allclose(flow.sample({"flow": {}}, KEY, 5, temperature=0.0), -2.0)


@pytest.fixture
def images():
    """Latents are `(x + u) / 256 - 1/2`, so bits are known in closed form."""
    return Flow(Affine(-0.5), StandardNormal((4, 4, 1)), UniformDequantization(256))


def test_bits_per_dim_count_the_grey_levels(images):
    x = np.random.default_rng(0).integers(0, 256, (32, 4, 4, 1), np.uint8)
    bits = images.evaluate({"flow": {}}, {"x": x}, KEY)["bits_per_dim"]
    z = np.asarray(images.encode({"flow": {}}, x, KEY), np.float64)
    np.testing.assert_allclose(z, x / 256 - 0.5, atol=1 / 256)
    # log2(256) + log2(2 pi) / 2 = 9.3257 and 1 / (2 log 2) = 0.7213
    np.testing.assert_allclose(bits, 8 + np.log2(2 * np.pi) / 2 + (z**2).mean() / (2 * np.log(2)), rtol=1e-6)
    np.testing.assert_allclose(bits, 9.3257 + 0.7213 * (z**2).mean(), atol=1e-3)


def test_figures_agree_with_each_other(images):
    batch = {"x": np.random.default_rng(0).integers(0, 256, (8, 4, 4, 1), np.uint8)}
    figures = images.evaluate({"flow": {}}, batch, KEY)
    assert set(figures) == {"bits_per_dim", "log_prob"} and images.monitor == ("bits_per_dim", "min")
    np.testing.assert_allclose(figures["bits_per_dim"], -figures["log_prob"] / 16 / np.log(2), rtol=1e-6)
    np.testing.assert_allclose(
        figures["log_prob"], images.log_prob({"flow": {}}, batch["x"], KEY).mean(), rtol=1e-6
    )
    loss = jax.jit(images.loss)({"flow": {}}, batch, KEY, Clock())
    np.testing.assert_allclose(loss.value, -figures["log_prob"], rtol=1e-3)
    np.testing.assert_allclose(loss.metrics["bits_per_dim"], loss.value / 16 / np.log(2), rtol=1e-6)
    assert loss.metrics["log_det"] == 0.0 and loss.statistics == {}


def test_probabilities_of_integers_sum_to_at_most_one_and_to_one_on_average():
    flow = Flow(Chain((Logit(), Affine(0.7, 0.8))), StandardNormal((1,)), UniformDequantization(3))
    x = jnp.repeat(jnp.arange(3), 20_000)[:, None]
    total = jnp.exp(flow.log_prob({"flow": {}}, x, KEY)).reshape(3, -1).mean(1).sum()
    np.testing.assert_allclose(total, 1.0, atol=0.02)


def test_samples_of_integers_carry_their_log_prob(images):
    x, log_prob = images.sample_and_log_prob({"flow": {}}, KEY, 6)
    assert x.dtype == jnp.uint8 and log_prob.shape == (6,)
    z = images.base.sample(KEY, 6)
    np.testing.assert_allclose(log_prob, images.base.log_prob(z) - 16 * np.log(256), rtol=1e-6)


def test_continuous_data_are_judged_in_nats():
    flow, variables = vectors()
    batch = {"x": jnp.ones((4, 2)), "context": jnp.ones((4, 3))}
    figures = flow.evaluate(variables, batch, KEY)
    assert set(figures) == {"negative_log_likelihood", "log_prob"}
    assert flow.monitor == ("negative_log_likelihood", "min")
    assert figures["negative_log_likelihood"] == -figures["log_prob"]
    np.testing.assert_allclose(flow.loss(variables, batch, KEY, Clock()).value, -figures["log_prob"], rtol=1e-5)


def test_the_play_learns():
    flow = Flow(ConditionalNormal(), StandardNormal((2,)))
    x = jnp.asarray([2.0, -1.0]) + 0.5 * jax.random.normal(KEY, (256, 2))
    variables, (name, play) = jax.jit(flow.init)(KEY, {"x": x}), next(iter(flow.plays().items()))
    assert name == "flow" and play.players == ("flow",)

    def value(variables):
        return jax.jit(play.loss)(variables, {"x": x}, KEY, Clock()).value

    @jax.jit
    def move(variables, optimizer):
        updates, optimizer = play.optimizer.update(jax.jit(jax.grad(value))(variables), optimizer)
        return jax.tree.map(jnp.add, variables, updates), optimizer

    before, optimizer = value(variables), play.optimizer.init(variables)
    for _ in range(100):
        variables, optimizer = move(variables, optimizer)
    assert value(variables) < before - 0.3


class Training(nn.Module):
    """Statistics that move when they may, units that drop when there is a stream for it."""

    @nn.compact
    def __call__(self, h):
        mean = self.variable("batch_stats", "mean", lambda: jnp.zeros(h.shape[-1]))
        if self.is_mutable_collection("batch_stats"):
            mean.value = h.mean(0)
        return nn.Dropout(0.5, deterministic=not self.has_rng("dropout"))(nn.Dense(16)(h))


def test_the_loss_trains_statistics_and_drops_and_the_rest_does_neither():
    flow = Flow(Coupling(TanhAffine(), Training()), StandardNormal((2,)))
    x = jnp.asarray(np.random.default_rng(0).normal(2.0, size=(8, 2)), jnp.float32)
    variables = {"flow": random_variables(flow.bijector, 0, x)}
    keys = jax.random.split(KEY)
    first, second = (flow.loss(variables, {"x": x}, key, Clock()) for key in keys)
    assert set(first.statistics) == {"flow"} and set(first.statistics["flow"]) == {"batch_stats"}
    np.testing.assert_allclose(jax.tree.leaves(first.statistics)[0], x[:, :1].mean(0), rtol=1e-6)
    assert first.value != second.value
    a, b = (flow.evaluate(variables, {"x": x}, key)["log_prob"] for key in keys)
    assert a == b


@pytest.mark.parametrize("times", [None, 2])
def test_the_loss_moves_spectral_vectors_by_one_power_iteration(times):
    coupling = Coupling(TanhAffine(), SpectralDense(4))
    flow = Flow(Repeat(coupling, times) if times else coupling, StandardNormal((6,)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 6)), jnp.float32)
    variables = {"flow": random_variables(flow.bijector, 0, x)}
    statistics = jax.jit(flow.loss)(variables, {"x": x}, KEY, Clock()).statistics
    assert set(statistics) == {"flow"} and set(statistics["flow"]) == {"spectral"}
    (u,), (moved,) = (jax.tree.leaves(tree["flow"]["spectral"]) for tree in (variables, statistics))
    (kernel,) = (leaf for leaf in jax.tree.leaves(variables["flow"]["params"]) if leaf.shape[-2:] == (3, 4))
    left = np.einsum("...kd,...d->...k", kernel, u)
    right = np.einsum("...kd,...k->...d", kernel, left)
    np.testing.assert_allclose(moved, right / np.linalg.norm(right, axis=-1, keepdims=True), rtol=1e-4, atol=1e-5)
    assert np.abs(moved - u).max() > 1e-2


def test_errors_come_before_any_mathematics(images):
    with pytest.raises(ValueError, match=r"\(4, 4, 1\), got shape \(2, 4, 4, 3\)"):
        images.log_prob({}, jnp.zeros((2, 4, 4, 3)), KEY)
    with pytest.raises(ValueError, match=r"\(4, 4, 1\), got shape \(2, 16\)"):
        images.decode({}, jnp.zeros((2, 16)))
    with pytest.raises(ValueError, match="`key` must be given"):
        images.log_prob({"flow": {}}, jnp.zeros((2, 4, 4, 1), jnp.uint8))
