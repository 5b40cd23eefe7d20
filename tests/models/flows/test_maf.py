import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.bijectors import Additive, BatchNorm
from jaxgen.contracts import Clock
from jaxgen.models.flows import iaf, maf, maf_image
from tests.bijectors.tools import quick, random_variables

KEY = jax.random.key(0)
flows = pytest.mark.parametrize("make", [maf, iaf])


def rows(n, features):
    return jnp.asarray(np.random.default_rng(0).normal(size=(n, features)), jnp.float32)


def variables_of(flow, *inputs, scale=0.3):
    return {"flow": random_variables(flow.bijector, 0, *inputs, scale=scale)}


@pytest.mark.slow
@flows
def test_samples_are_as_likely_as_their_evaluation_says(make):
    flow = make(4, depth=3, widths=(16, 9))
    variables, context = variables_of(flow, rows(5, 4), rows(5, 2)), rows(5, 2)
    x, log_prob = quick(flow.sample_and_log_prob, static_argnums=2)(variables, KEY, 5, context)
    assert x.shape == (5, 4) and log_prob.std() > 0.1
    np.testing.assert_allclose(quick(flow.log_prob)(variables, x, None, context), log_prob, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("make", "fast"), [(maf, "log_prob"), (iaf, "sample")])
def test_the_fast_direction_has_no_steps_beside_those_of_its_layers(make, fast):
    flow = make(4, depth=3, widths=(8,))
    variables = jax.eval_shape(flow.init, KEY, {"x": rows(5, 4)})
    directions = {
        "log_prob": jax.make_jaxpr(lambda variables: flow.log_prob(variables, rows(5, 4)))(variables),
        "sample": jax.make_jaxpr(lambda variables: flow.sample(variables, KEY, 5))(variables),
    }
    for name, jaxpr in directions.items():
        # three layers in a scan; in the slow direction each scans over four coordinates
        assert "length=3" in str(jaxpr) and ("length=4" in str(jaxpr)) == (name != fast)


@pytest.mark.slow
@flows
def test_every_output_depends_on_every_input_after_two_layers(make):
    flow = make(5, depth=2, widths=(16,), activation=nn.tanh)
    variables = variables_of(flow, rows(1, 5))
    jacobian = quick(jax.jacobian(lambda x: flow.encode(variables, x[None])[0]))(rows(1, 5)[0])
    assert (np.abs(jacobian) > 1e-4).all()


@pytest.mark.slow
@flows
def test_every_parameter_that_is_connected_is_moved_by_the_loss(make):
    flow, x = make(3, depth=2, widths=(8,), norm=BatchNorm), rows(32, 3)
    variables = variables_of(flow, x)

    def value(parameters):
        return flow.loss({"flow": {**variables["flow"], "params": parameters}}, {"x": x}, KEY, Clock()).value

    for leaf in jax.tree.leaves(quick(jax.grad(value))(variables["flow"]["params"])):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    state = jax.eval_shape(lambda: flow.loss(variables, {"x": x}, KEY, Clock())).statistics
    assert jax.tree.structure(state["flow"]["batch_stats"]) == jax.tree.structure(variables["flow"]["batch_stats"])


@pytest.mark.slow
@flows
def test_a_fresh_flow_standardises_its_data(make):
    flow, x = make(3, depth=2, widths=(8,)), 100 + 7 * rows(500, 3)
    z = flow.encode(flow.init(KEY, {"x": x}), x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(z.std(0), 1, atol=1e-3)


def test_the_parts_are_those_asked_for():
    flow = maf(3, depth=2, widths=(8,), transformer=Additive(), activation=nn.tanh, norm=BatchNorm)
    layer = flow.bijector.step.bijectors[1]
    assert (layer.transformer, layer.widths, layer.activation) == (Additive(), (8,), nn.tanh)
    assert flow == maf(3, depth=2, widths=[8], transformer=Additive(), activation=nn.tanh, norm=BatchNorm)
    assert flow != iaf(3, depth=2, widths=[8], transformer=Additive(), activation=nn.tanh, norm=BatchNorm)


def test_images_go_to_latents_and_come_back_exactly():
    flow = maf_image((4, 3, 2), num_levels=17, depth=2, widths=(30,))
    x, context = np.random.default_rng(0).integers(0, 17, (6, 4, 3, 2), np.uint8), jnp.ones((6, 2))
    variables = variables_of(flow, jnp.asarray(x / 17, jnp.float32), context, scale=0.1)
    z = quick(flow.encode)(variables, x, KEY, context)
    assert z.shape == x.shape and z.dtype == jnp.float32
    back = quick(flow.decode)(variables, z, context)
    assert back.dtype == jnp.uint8
    np.testing.assert_array_equal(back, x)
