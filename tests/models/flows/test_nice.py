import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxgen.distributions import Logistic, StandardNormal
from jaxgen.models.flows import Flow, nice
from jaxgen.models.flows.nice import sigmas
from tests.bijectors.tools import random_variables

KEY = jax.random.key(0)


def test_the_papers_architecture_has_its_number_of_parameters():
    x = jax.ShapeDtypeStruct((2, 28, 28, 1), jnp.uint8)
    variables = jax.eval_shape(lambda x: nice((28, 28, 1)).init(KEY, {"x": x}), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["flow"]["params"])) == 19_158_352


@pytest.mark.parametrize(("base", "density"), [(Logistic, stats.logistic), (StandardNormal, stats.norm)])
def test_a_scale_layer_is_a_prior_with_learned_scales(base, density):
    flow = nice((6,), num_levels=None, couplings=2, widths=(5,), base=base)
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    variables = {"flow": random_variables(flow.bijector, 0, x)}
    sigma = np.asarray(sigmas(variables), np.float64)
    assert sigma.shape == (6,) and sigma.std() > 0.1
    # s = 1 / sigma: the couplings preserve volume, so what is left is the scaled density of their output
    h = flow.encode(variables, x) * sigma
    np.testing.assert_allclose(flow.log_prob(variables, x), density.logpdf(h, scale=sigma).sum(-1), rtol=1e-4)


def test_odd_and_even_coordinates_take_turns():
    flow = nice((6,), num_levels=None, couplings=1, widths=(5,))
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    variables = {"flow": random_variables(flow.bijector, 0, x)}
    h = flow.encode(variables, x) * sigmas(variables)
    np.testing.assert_allclose(h[:, ::2], x[:, ::2], rtol=1e-5)
    assert (np.abs(h - x)[:, 1::2] > 1e-3).all()


def test_images_come_back_and_context_matters():
    flow = nice((2, 4, 1), num_levels=17, couplings=3, widths=(8,))
    x = np.random.default_rng(0).integers(0, 17, (5, 2, 4, 1), np.uint8)
    context = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    variables = {"flow": random_variables(flow.bijector, 0, jnp.zeros(x.shape), context)}
    z = flow.encode(variables, x, KEY, context)
    np.testing.assert_array_equal(flow.decode(variables, z, context), x)
    assert (np.abs(z - flow.encode(variables, x, KEY, context + 1)).max((1, 2, 3)) > 1e-3).all()


def test_refuses_what_has_no_halves():
    with pytest.raises(ValueError, match=r"even number of coordinates, got \(3, 3, 1\)"):
        nice((3, 3, 1))
    assert isinstance(nice((2, 2, 1)), Flow)
