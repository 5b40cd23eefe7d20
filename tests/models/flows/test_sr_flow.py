import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen.bijectors import SigmoidAffine
from jaxgen.contracts import Clock
from jaxgen.models.flows import sr_flow
from jaxgen.nets import RRDBEncoder
from tests.bijectors.tools import quick, random_variables

KEY = jax.random.key(0)
SHAPE = (4, 4, 3)
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (3, *SHAPE), np.uint8)
LOW = RNG.normal(size=(3, 2, 2, 3)).astype(np.float32)


@functools.cache
def random_flow(scale=0.1, **fields):
    """A flow and random variables of both players."""
    flow = sr_flow(SHAPE, num_scales=2, depth=2, width=4, encoder=RRDBEncoder(4, 2, 2), **fields)
    features = jnp.zeros((3, 2, 2, 12))
    return flow, {
        "encoder": random_variables(flow.encoder, 2, jnp.asarray(LOW), scale=0.3),
        "flow": random_variables(flow.bijector, 1, jnp.asarray(X, jnp.float32), features, scale=scale),
    }


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"injectors": False, "transition_steps": 0, "transformer": SigmoidAffine()}])
def test_images_go_to_latents_and_come_back_exactly(fields):
    flow, variables = random_flow(**fields)
    z = quick(flow.encode)(variables, X, KEY, LOW)
    np.testing.assert_array_equal(quick(flow.decode)(variables, z, LOW), X)


@pytest.mark.slow
def test_bits_are_per_dimension_with_the_jacobian_and_all_channels():
    """Against `log2(256) - (log N(z) + log|det J|) / (H W C log 2)`.

    The authors' code divides by H W, and subtracts H W log(levels) for the dequantization.
    """
    flow, variables = random_flow()

    @quick
    def at(variables):
        features = flow.encoder.apply(variables["encoder"], LOW)
        y, _ = flow.dequantization.dequantize(KEY, jnp.asarray(X))

        def latents(y):
            return flow.bijector.apply(variables["flow"], y.reshape(X.shape), features, method="forward").reshape(3, -1)

        # examples do not see each other: one line of each one's Jacobian at once
        z, pull_back = jax.vjp(latents, y.reshape(3, -1))
        jacobian = jax.vmap(lambda line: pull_back(jnp.tile(line, (3, 1)))[0])(jnp.eye(48))
        return z, jacobian.swapaxes(0, 1), flow.evaluate(variables, {"x": X, "context": LOW}, KEY)["bits_per_dim"]

    z, jacobian, bits = (np.asarray(a, np.float64) for a in at(variables))
    log_density = (scipy.stats.norm.logpdf(z).sum(-1) + np.linalg.slogdet(jacobian)[1]).mean()
    np.testing.assert_allclose(bits, 8 - log_density / (48 * math.log(2)), rtol=1e-5)
    authors = -(log_density - 16 * math.log(256)) / (16 * math.log(2))
    assert abs(bits - authors) > 1


@pytest.mark.slow
def test_the_density_and_samples_depend_on_the_context_through_the_encoder():
    flow, variables = random_flow()
    log_prob = quick(lambda v, low: flow.log_prob(v, X, KEY, low))
    changed = {"params": jax.tree.map(lambda a: 1.5 * a, variables["encoder"]["params"])}
    other = np.asarray(log_prob(variables, LOW))
    assert (np.abs(log_prob(variables, LOW + 0.5) - other) > 1e-2).all()
    assert (np.abs(log_prob({**variables, "encoder": changed}, LOW) - other) > 1e-2).all()
    # of another example alone
    np.testing.assert_allclose(log_prob(variables, np.concatenate([LOW[:1], LOW[1:] + 1]))[0], other[0], rtol=1e-5)
    sample = quick(lambda low, temperature: flow.sample(variables, KEY, 3, low, temperature))
    row = LOW[:1]
    np.testing.assert_array_equal(sample(row, 0.9), sample(np.tile(row, (3, 1, 1, 1)), 0.9))
    np.testing.assert_array_equal(*sample(row, 0.0)[:2])
    assert (sample(row, 0.9) != sample(row + 1, 0.9)).any()
    with pytest.raises(ValueError, match="`context` must be given"):
        flow.sample(variables, KEY, 3)


@pytest.mark.slow
def test_encoder_and_flow_learn_together_and_either_can_be_frozen():
    flow, variables = random_flow()
    play = flow.plays()["flow"]
    assert play.players == ("encoder", "flow")
    batch = {"x": X, "context": LOW}
    gradient = quick(jax.grad(lambda v: flow.loss(v, batch, KEY, Clock()).value, allow_int=True))(variables)
    for player in play.players:
        assert min(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient[player]["params"])) > 0
    # a play of fewer players leaves the others as they are
    alone = play._replace(players=("flow",))
    assert "encoder" not in alone.optimizer.init({p: variables[p]["params"] for p in alone.players})[1][0].mu


@pytest.mark.slow
def test_a_scale_stays_above_its_bound_where_the_authors_vanishes():
    """All networks ask for the smallest scale: the inverse of the defaults stays finite."""
    flow, variables = random_flow()

    def smallest(path, leaf):
        return leaf - 50.0 if path[-2].key == "layer" and path[-1].key == "bias" else leaf

    variables = {**variables, "flow": jax.tree_util.tree_map_with_path(smallest, variables["flow"])}
    features = flow.encoder.apply(variables["encoder"], LOW)
    z = np.random.default_rng(1).normal(size=X.shape)
    x, log_det = quick(lambda z: flow.bijector.apply(variables["flow"], z, features, method="inverse_and_log_det"))(z)
    assert np.isfinite(x).all() and np.isfinite(log_det).all()


def test_the_architecture_is_the_papers():
    """Eight-fold super-resolution of faces: 8 blocks of which 4 are stacked, 4 scales of 16 steps, 2 transitions."""
    flow = sr_flow((160, 160, 3), num_scales=4, encoder=RRDBEncoder(stacked=(1, 3, 5, 7)))
    batch = {"x": jnp.zeros((2, 160, 160, 3), jnp.uint8), "context": jnp.zeros((2, 20, 20, 3))}
    variables = jax.eval_shape(flow.init, KEY, batch)
    channels, expected, features = 12, [], 5 * 64
    for scale in range(4):
        half = channels // 2
        for inputs, outputs in ((features, 2 * channels), (half + features, 2 * half)):
            expected += [(16, 3, 3, inputs, 64), (16, 1, 1, 64, 64), (16, 3, 3, 64, outputs)]
        if scale < 3:
            expected += [(3, 3, half + features, 2 * half)]
        channels = 4 * half
    params = jax.tree_util.tree_leaves_with_path(variables["flow"]["params"])
    assert sorted(leaf.shape for path, leaf in params if path[-1].key == "kernel") == sorted(expected)
    lu = sorted(leaf.shape for path, leaf in params if path[-1].key == "lu")
    assert lu == sorted((n, c, c) for n in (2, 16) for c in (12, 24, 48, 96))
    dense = 9 * (64 * 32 + 96 * 32 + 128 * 32 + 160 * 32 + 192 * 64) + 4 * 32 + 64
    ends = 9 * (3 * 64 + 64 * 64) + 2 * 64
    encoder = jax.tree.leaves(variables["encoder"]["params"])
    assert sum(leaf.size for leaf in encoder) == 8 * 3 * dense + ends
