import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import Additive, InvertibleLinear, Permute
from jaxgen.contracts import Clock
from jaxgen.models.flows import glow
from tests.bijectors.tools import quick, random_variables

KEY = jax.random.key(0)


def integers(shape, levels):
    return np.random.default_rng(0).integers(0, levels, shape, np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{}, {"permutation": Permute}, {"transformer": Additive()}])
def test_images_go_to_latents_and_come_back_exactly(fields):
    flow = glow((4, 4, 1), num_levels=17, num_scales=2, depth=2, width=4, **fields)
    x, context = integers((6, 4, 4, 1), 17), jnp.ones((6, 2))
    variables = {"flow": random_variables(flow.bijector, 1, jnp.asarray(x, jnp.float32), context, scale=0.1)}
    z = quick(flow.encode)(variables, x, KEY, context)
    assert z.shape == x.shape
    np.testing.assert_array_equal(quick(flow.decode)(variables, z, context), x)


def leaves(variables, last):
    return [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(variables) if path[-1].key == last]


def test_the_architecture_is_the_papers():
    flow = glow((32, 32, 3), num_scales=3, depth=32, width=512)
    variables = jax.eval_shape(flow.init, KEY, {"x": jnp.zeros((2, 32, 32, 3), jnp.uint8)})["flow"]
    # squeezed to 16x16x12, of which 6 leave; 8x8x24, of which 12 leave; 4x4x48
    assert sorted(leaf.shape for leaf in leaves(variables, "lu")) == [(32, 12, 12), (32, 24, 24), (32, 48, 48)]
    kernels = sorted(leaf.shape for leaf in leaves(variables, "kernel") if len(leaf.shape) == 5)
    assert kernels == sorted(
        (32, *shape)
        for c in (6, 12, 24)
        for shape in ((3, 3, c, 512), (1, 1, 512, 512), (3, 3, 512, 2 * c))
    )
    split = sorted(leaf.shape for leaf in leaves(variables, "kernel") if len(leaf.shape) == 4)
    assert split == [(3, 3, 6, 12), (3, 3, 12, 24)]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    # the published count: 44.0M
    assert parameters == pytest.approx(44.0e6, rel=0.01)


@pytest.mark.slow
def test_fresh_it_scales_by_the_sigmoid_and_normalises_its_first_batch():
    flow = glow((4, 4, 1), num_levels=17, num_scales=1, depth=1, width=4)
    x = integers((64, 4, 4, 1), 17)
    variables = flow.init(KEY, {"x": x})
    z = flow.encode(variables, x, KEY)
    # a rotation of unit channels, half of which the fresh coupling scales by sigmoid(2)
    channels = np.asarray(z).reshape(64, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 4)
    np.testing.assert_allclose((channels**2).sum(1).mean(), 2 + 2 / (1 + np.exp(-2)) ** 2, rtol=0.2)
    log_det = flow.bijector.apply(variables["flow"], np.float32(x + 0.5) / 17)[1]
    (log_scale,) = leaves(variables["flow"]["params"], "log_scale")
    np.testing.assert_allclose(log_det, 4 * (log_scale.sum() + 2 * np.log(1e-3 + 0.999 / (1 + np.exp(-2)))), rtol=1e-4)


@pytest.mark.slow
def test_reversing_gives_the_gradient_of_storing():
    x = integers((4, 4, 4, 1), 17)
    sizes = {"num_levels": 17, "num_scales": 1, "depth": 3, "width": 4}
    flows = [glow((4, 4, 1), **sizes, gradient=gradient) for gradient in ("store", "reverse")]
    variables = random_variables(flows[0].bijector, 1, jnp.asarray(x, jnp.float32), scale=0.1)

    def gradient(flow):
        def value(params):
            return flow.loss({"flow": {**variables, "params": params}}, {"x": x}, KEY, Clock()).value

        return quick(jax.grad(value))(variables["params"])

    metrics = [flow.loss({"flow": variables}, {"x": x}, KEY, Clock()).metrics for flow in flows]
    assert "reconstruction_error" not in metrics[0] and 0 < metrics[1]["reconstruction_error"] < 1e-4
    stored, reversed_ = map(gradient, flows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), stored, reversed_)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(stored)) > 0.1


@pytest.mark.parametrize(("permutation", "kept"), [(InvertibleLinear, "lu"), (Permute, "permutation")])
def test_the_mixing_is_the_one_asked_for(permutation, kept):
    flow = glow((4, 4, 1), num_levels=17, num_scales=1, depth=2, width=4, permutation=permutation)
    variables = jax.eval_shape(flow.init, KEY, {"x": jnp.zeros((2, 4, 4, 1), jnp.uint8)})
    assert len(leaves(variables, kept)) == 1 and len(leaves(variables, "lu")) == (kept == "lu")
