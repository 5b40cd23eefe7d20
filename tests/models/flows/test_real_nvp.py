import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.bijectors import BatchNorm, InvertibleLinear
from jaxgen.contracts import Clock
from jaxgen.models.flows import real_nvp_image, real_nvp_vector
from tests.bijectors.tools import quick, random_variables

KEY = jax.random.key(0)


def integers(shape, levels):
    return np.random.default_rng(0).integers(0, levels, shape, np.uint8)


def test_images_go_to_latents_and_come_back_exactly():
    flow = real_nvp_image((4, 8, 2), num_levels=17, depth=1, width=4)
    x, context = integers((6, 4, 8, 2), 17), jnp.ones((6, 2))
    variables = {"flow": random_variables(flow.bijector, 1, jnp.asarray(x, jnp.float32), context, scale=0.1)}
    z = quick(flow.encode)(variables, x, KEY, context)
    assert z.shape == x.shape and z.dtype == jnp.float32
    back = quick(flow.decode)(variables, z, context)
    assert back.dtype == jnp.uint8
    np.testing.assert_array_equal(back, x)


def test_images_without_context():
    flow = real_nvp_image((4, 4, 3), depth=2, width=4)
    variables = jax.eval_shape(flow.init, KEY, {"x": jnp.zeros((2, 4, 4, 3), jnp.uint8)})
    samples = jax.eval_shape(lambda variables: flow.sample(variables, KEY, 5), variables)
    assert samples.shape == (5, 4, 4, 3) and samples.dtype == jnp.uint8


def test_deeper_scales_see_half_of_the_channels():
    flow = real_nvp_image((8, 8, 1), num_scales=3, depth=1, width=4)
    variables = jax.eval_shape(flow.init, KEY, {"x": jnp.zeros((2, 8, 8, 1), jnp.uint8)})
    shifts = {leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(variables) if path[-1].key == "shift"}
    # 8x8x1; squeezed 4x4x4, of which 4x4x2 go on; squeezed 2x2x8, of which 2x2x4 go on
    assert shifts == {(1, c) for c in (1, 4, 2, 8)}


def test_names_images_that_cannot_be_halved():
    flow = real_nvp_image((6, 6, 1), num_scales=3)
    with pytest.raises(ValueError, match=r"divisible by 2, got shape \(2, 3, 3, 2\)"):
        jax.eval_shape(flow.init, KEY, {"x": jnp.zeros((2, 6, 6, 1), jnp.uint8)})


def test_every_parameter_of_a_vector_flow_is_moved_by_its_loss():
    flow = real_nvp_vector(3, depth=2, widths=(8,))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 3)), jnp.float32)
    variables = {"flow": random_variables(flow.bijector, 0, x)}

    def value(parameters):
        return jax.jit(flow.loss)({"flow": {**variables["flow"], "params": parameters}}, {"x": x}, KEY, Clock()).value

    for leaf in jax.tree.leaves(jax.jit(jax.grad(value))(variables["flow"]["params"])):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


def shapes_of(flow, x, last):
    variables = jax.eval_shape(flow.init, KEY, {"x": x})
    return [leaf.shape for path, leaf in jax.tree_util.tree_leaves_with_path(variables) if path[-1].key == last]


def test_what_leaves_a_scale_has_a_learned_conditional_prior():
    x = jnp.zeros((2, 4, 4, 2), jnp.uint8)
    learned, standard = (real_nvp_image((4, 4, 2), depth=1, width=4, learned_priors=p) for p in (True, False))
    kernels, fewer = (shapes_of(flow, x, "kernel") for flow in (learned, standard))
    # moments of the four channels that leave, from the four that stay
    assert len(kernels) == len(fewer) + 1 and (3, 3, 4, 8) in kernels
    assert len(shapes_of(learned, x, "prior")) == 1 and not shapes_of(standard, x, "prior")


def test_masks_over_channels_alone_and_as_many_couplings():
    x = jnp.zeros((2, 8, 8, 1), jnp.uint8)
    both, channels = (
        real_nvp_image((8, 8, 1), depth=2, width=4, checkerboard=c, learned_priors=False) for c in (True, False)
    )
    counts = [sum(shape[0] for shape in shapes_of(flow, x, "log_scale")) for flow in (both, channels)]
    # a repetition is a pair; two scales, of which the first has two kinds of mask
    assert counts == [2 * 2 * 3, 2 * 2 * 3]


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"norm": BatchNorm}, {"permutation": InvertibleLinear}, {"checkerboard": False}])
def test_variants_come_back_exactly(fields):
    flow = real_nvp_image((4, 4, 1), num_levels=17, depth=1, width=4, blocks=0, **fields)
    x = integers((6, 4, 4, 1), 17)
    variables = {"flow": random_variables(flow.bijector, 1, jnp.asarray(x, jnp.float32), scale=0.1)}
    np.testing.assert_array_equal(quick(flow.decode)(variables, quick(flow.encode)(variables, x, KEY)), x)
