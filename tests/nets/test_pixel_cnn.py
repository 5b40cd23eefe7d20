import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.pixel_cnn import PixelCNN, sample_codes

KEY = jax.random.key(0)


def randomised(network, shape, context=None, scale=0.4):
    """Variables with everything in them drawn anew."""
    rng = np.random.default_rng(3)
    abstract = jax.eval_shape(network.init, KEY, jnp.zeros(shape, jnp.int32), context)
    return jax.tree.map(lambda a: np.float32(scale * rng.normal(size=a.shape)), abstract)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "blocks", "context"), [(3, 5, None), (5, 3, "vector"), (3, 5, "image")])
def test_each_code_sees_all_before_it_and_none_after(size, blocks, context):
    height, width = 4, 6
    network = PixelCNN(num_codes=3, width=4, blocks=blocks, size=size)
    given = {None: None, "vector": jnp.ones((1, 2)), "image": jnp.ones((1, height, width, 2))}[context]
    variables = randomised(network, (1, height, width), given)
    x = variables["params"]["embed"]["embedding"][np.random.default_rng(0).integers(0, 3, (1, height, width))]

    def logits(x):
        return network.apply(variables, x, given, method="of_vectors")[0]

    jacobian = np.asarray(jax.jit(jax.jacrev(logits))(x))[:, :, :, 0]
    sees = np.abs(jacobian).max((2, 5)).reshape(height * width, height * width) > 0
    np.testing.assert_array_equal(sees, np.tri(height * width, k=-1, dtype=bool))


@pytest.mark.slow
def test_fresh_codes_are_alike_and_probabilities_sum_to_one():
    network = PixelCNN(num_codes=2, width=4, blocks=2, size=3)
    grids = jnp.array(list(itertools.product((0, 1), repeat=6))).reshape(-1, 2, 3)

    def log_prob(variables):
        logits = jax.nn.log_softmax(network.apply(variables, grids))
        return jnp.take_along_axis(logits, grids[..., None], -1).sum((1, 2, 3))

    np.testing.assert_allclose(log_prob(network.init(KEY, grids)), -6 * np.log(2), rtol=1e-5)
    variables = randomised(network, grids.shape, scale=1.0)
    p = np.exp(log_prob(variables))
    assert p.sum() == pytest.approx(1, rel=1e-5) and p.max() > 4 * p.mean()
    # samples have these probabilities
    draws = np.asarray(sample_codes(network, variables, KEY, (20_000, 2, 3)))
    seen = np.bincount(draws.reshape(-1, 6) @ 2 ** np.arange(5, -1, -1), minlength=64) / 20_000
    np.testing.assert_allclose(seen, p, atol=5 * (p.max() / 20_000) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("context", [None, "vector", "image"])
def test_draws_are_those_of_a_pass_of_the_network_for_each_place(context):
    shape = n, height, width = 3, 4, 5
    network = PixelCNN(num_codes=7, width=4, blocks=3, size=5, dropout=0.5)
    rng = np.random.default_rng(1)
    given = {None: None, "vector": rng.normal(size=(n, 2)), "image": rng.normal(size=(*shape, 2))}[context]
    variables = randomised(network, shape, given, scale=0.7)

    def draw(i, codes):
        logits = network.apply(variables, codes, given).reshape(n, -1, 7)[:, i]
        drawn = jax.random.categorical(jax.random.fold_in(KEY, i), logits)
        return codes.at[:, i // width, i % width].set(drawn)

    slowly = jax.jit(lambda: jax.lax.fori_loop(0, height * width, draw, jnp.zeros(shape, jnp.int32)))()
    quickly = jax.jit(lambda: sample_codes(network, variables, KEY, shape, given))()
    assert quickly.dtype == jnp.int32 and len(np.unique(quickly)) >= 4
    np.testing.assert_array_equal(quickly, slowly)


def test_a_context_and_dropout_reach_every_place():
    network = PixelCNN(num_codes=3, width=4, blocks=2, size=3, dropout=0.5)
    codes, context = jnp.zeros((2, 3, 3), jnp.int32), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    variables = randomised(network, codes.shape, context)
    logits = network.apply(variables, codes, context)
    assert np.abs(logits[0] - logits[1]).max(-1).min() > 0
    image = jnp.broadcast_to(context[:, None, None], (2, 3, 3, 2))
    np.testing.assert_array_equal(network.apply(variables, codes, image), logits)
    dropped = network.apply(variables, codes, context, rngs={"dropout": KEY})
    assert np.abs(dropped - logits).max(-1).min() > 0


def test_what_does_not_fit_is_refused():
    codes = jnp.zeros((2, 3, 3), jnp.int32)
    with pytest.raises(ValueError, match="must be odd"):
        PixelCNN(3, size=4).init(KEY, codes)
    for wrong in (jnp.zeros((2, 4, 3, 1)), jnp.zeros((3, 1)), jnp.zeros(2)):
        with pytest.raises(ValueError, match=r"must be \[B, D\]|must have one row or 2|one_hot"):
            PixelCNN(3).init(KEY, codes, wrong)
