import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.contracts import Clock
from jaxgen.models.flows import flow_plus_plus
from tests.bijectors.tools import quick, random_variables

KEY = jax.random.key(0)
SMALL = {
    "event_shape": (4, 4, 1), "num_levels": 17, "width": 4, "blocks": 1, "components": 2, "pairs": (1, 1, 1),
    "noise_pairs": 1, "noise_blocks": 1,
}  # fmt: skip


@pytest.mark.slow
def test_images_come_back_and_both_players_learn():
    flow = flow_plus_plus(**SMALL, heads=2, dropout=0.0)
    x = np.random.default_rng(0).integers(0, 17, (3, 4, 4, 1), np.uint8)
    blank = jnp.zeros(x.shape)
    variables = {
        "dequantizer": random_variables(flow.dequantization.bijector, 0, blank, blank, scale=0.1),
        "flow": random_variables(flow.bijector, 1, blank, scale=0.1),
    }
    z = quick(flow.encode)(variables, x, KEY)
    np.testing.assert_array_equal(quick(flow.decode)(variables, z), x)

    def value(params):
        together = {name: {**variables[name], "params": params[name]} for name in variables}
        return flow.loss(together, {"x": x}, KEY, Clock()).value

    gradient = quick(jax.grad(value))({name: variables[name]["params"] for name in variables})
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        # a key's bias adds the same to all scores of a softmax; one channel has nothing to mix with
        silent = "key" in str(path) and "bias" in str(path) or leaf.shape[-2:] == (1, 1)
        assert np.isfinite(leaf).all() and (silent or np.abs(leaf).max() > 0), path


@pytest.mark.slow
def test_dropout_is_of_training_alone():
    flow = flow_plus_plus(**SMALL, heads=0, dropout=0.5)
    x = jnp.zeros((2, 4, 4, 1), jnp.uint8)
    variables = {
        "dequantizer": random_variables(flow.dequantization.bijector, 0, x, jnp.zeros(x.shape), scale=0.1),
        "flow": random_variables(flow.bijector, 1, jnp.zeros(x.shape), scale=0.1),
    }
    jaxpr = str(jax.make_jaxpr(lambda key: flow.loss(variables, {"x": x}, key, Clock()).value)(KEY))
    evaluated = str(jax.make_jaxpr(lambda key: flow.log_prob(variables, x, key))(KEY))
    assert jaxpr.count("random_bits") > evaluated.count("random_bits")
