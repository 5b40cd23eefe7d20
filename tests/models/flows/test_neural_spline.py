import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.models.flows import neural_spline_autoregressive, neural_spline_coupling, neural_spline_image
from tests.bijectors.tools import quick, random_variables

KEY = jax.random.key(0)
VECTORS = {
    "coupling": lambda: neural_spline_coupling(3, depth=2, width=5, blocks=1, bins=4),
    "autoregressive": lambda: neural_spline_autoregressive(3, depth=2, widths=(5,), bins=4),
}


@pytest.mark.slow
@pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS)
def test_the_density_is_that_of_its_samples(make):
    flow = make()
    x, context = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    variables = {"flow": random_variables(flow.bijector, 0, x, context)}
    samples, log_prob = quick(flow.sample_and_log_prob, static_argnums=2)(variables, KEY, 6, context)
    np.testing.assert_allclose(quick(flow.log_prob)(variables, samples, None, context), log_prob, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("make", VECTORS.values(), ids=VECTORS)
def test_a_step_normalises_mixes_and_bends(make):
    flow = make()
    x = jnp.asarray(np.random.default_rng(0).normal(5, 3, (256, 3)), jnp.float32)
    variables = flow.init(KEY, {"x": x})
    # fresh splines are the identity and fresh mixing a rotation: what is left is the first normalisation
    expected = -0.5 * (((x - x.mean(0)) / x.std(0)) ** 2 + jnp.log(2 * jnp.pi)).sum(1) - jnp.log(x.std(0)).sum()
    np.testing.assert_allclose(flow.log_prob(variables, x).mean(), expected.mean(), atol=0.01)
    moved = random_variables(flow.bijector, 0, x)
    assert flow.log_prob({"flow": moved}, x).std() > 0.1


@pytest.mark.slow
def test_images_come_back_exactly():
    flow = neural_spline_image((4, 4, 1), num_levels=17, num_scales=1, depth=2, width=4, bins=3)
    x = np.random.default_rng(0).integers(0, 17, (6, 4, 4, 1), np.uint8)
    variables = {"flow": random_variables(flow.bijector, 1, jnp.asarray(x, jnp.float32), scale=0.1)}
    z = quick(flow.encode)(variables, x, KEY)
    np.testing.assert_array_equal(quick(flow.decode)(variables, z), x)
    heads = [a for path, a in jax.tree_util.tree_leaves_with_path(variables) if "head" in str(path) and a.ndim == 5]
    # 3 x 3 - 1 parameters of each of the two channels that move
    assert [head.shape for head in heads] == [(2, 3, 3, 4, 16)]
