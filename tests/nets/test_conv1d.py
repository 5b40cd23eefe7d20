import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.nets import Conv1D, GumbelSoftmax, ResidualBlocks1D, ResNet1DCritic, ResNet1DGenerator, Softmax, SymbolHead

KEY = jax.random.key(0)


def drawn(network, x):
    """Variables of the network's shapes, all drawn."""
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, KEY, x)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32), shapes)


def test_a_convolution_over_time_is_flax_own_to_the_second_derivative():
    x = jax.random.normal(KEY, (3, 7, 4))
    ours, stock = Conv1D(5), nn.Conv(5, (5,))
    variables = drawn(ours, x)
    kernel = variables["params"]["Conv_0"]["kernel"]
    assert kernel.shape == (1, 5, 4, 5)
    others = {"params": {"kernel": kernel[0], "bias": variables["params"]["Conv_0"]["bias"]}}

    def slope(network, variables, x):
        return (jax.jit(jax.grad(lambda x: nn.relu(network.apply(variables, x)).sum()))(x) ** 2).sum()

    np.testing.assert_allclose(jax.jit(ours.apply)(variables, x), jax.jit(stock.apply)(others, x), rtol=1e-4, atol=1e-5)
    second = jax.jit(jax.grad(lambda v: slope(ours, v, x)))(variables)["params"]["Conv_0"]["kernel"][0]
    expected = jax.jit(jax.grad(lambda v: slope(stock, v, x)))(others)["params"]["kernel"]
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-4)


def test_kernels_have_the_variance_of_the_authors_code():
    kernel = np.asarray(jax.jit(Conv1D(96).init)(KEY, jnp.zeros((1, 8, 32)))["params"]["Conv_0"]["kernel"])
    # uniform, 4 / (fan_in + fan_out) with fans of 5 * 32 and 5 * 96
    assert kernel.var() == pytest.approx(4 / (5 * 128), rel=0.03)
    assert np.abs(kernel).max() == pytest.approx(np.sqrt(3 * 4 / (5 * 128)), rel=0.01)


def test_blocks_are_those_of_the_authors_code():
    x, blocks = jax.random.normal(KEY, (2, 6, 3)), ResidualBlocks1D(2)
    variables = drawn(blocks, x)
    y = x
    for i in range(2):
        first, second = ({"params": variables["params"][f"Conv1D_{2 * i + j}"]} for j in range(2))
        y = y + 0.3 * Conv1D(3).apply(second, nn.relu(Conv1D(3).apply(first, nn.relu(y))))
    np.testing.assert_allclose(jax.jit(blocks.apply)(variables, x), y, rtol=1e-5)


def test_networks_map_latents_to_features_of_positions_and_those_of_the_paper_are_as_large():
    shapes = jax.eval_shape(ResNet1DGenerator(32).init, KEY, jnp.zeros((2, 128)))
    blocks = 10 * (5 * 512 * 512 + 512)
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 128 * 32 * 512 + 32 * 512 + blocks
    shapes = jax.eval_shape(ResNet1DCritic().init, KEY, jnp.zeros((2, 32, 65)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 65 * 512 + 512 + blocks
    generator, z = ResNet1DGenerator(6, 4, 1), jax.random.normal(KEY, (3, 2))
    assert jax.jit(generator.apply)(drawn(generator, z), z).shape == (3, 6, 4)


def test_symbols_have_a_layer_for_each_position_or_one_for_all():
    at_positions, flat = jax.random.normal(KEY, (2, 6, 4)), jax.random.normal(KEY, (2, 5))
    head = SymbolHead((6,), 3)
    variables = drawn(head, at_positions)
    assert variables["params"]["out"]["kernel"].shape == (4, 3)
    later = jax.jit(head.apply)(variables, at_positions[:, ::-1])[:, ::-1]
    np.testing.assert_allclose(jax.jit(head.apply)(variables, at_positions), later, rtol=1e-6)
    assert jax.jit(head.apply)(drawn(head, flat), flat).shape == (2, 6, 3)


@pytest.mark.parametrize("hard", [False, True])
def test_relaxed_samples_choose_symbols_by_their_probabilities(hard):
    probabilities = jnp.array([0.6, 0.3, 0.1])
    logits, relaxation = jnp.broadcast_to(jnp.log(probabilities), (4000, 3)), GumbelSoftmax(0.5, hard)
    variables = jax.jit(relaxation.init)(KEY, logits)
    y = relaxation.apply(variables, logits, rngs={"noise": KEY})
    np.testing.assert_allclose(y.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.bincount(y.argmax(-1)) / 4000, probabilities, atol=0.03)
    assert (np.sort(y, -1)[:, -1] == 1).all() == hard
    gradient = jax.jit(jax.grad(lambda x: relaxation.apply(variables, x, rngs={"noise": KEY})[:, 0].sum()))(logits)
    assert np.abs(gradient).max() > 0.1
    # without noise the probabilities themselves
    np.testing.assert_allclose(jax.jit(relaxation.apply)(variables, logits), Softmax().apply({}, logits), rtol=1e-6)


def test_the_temperature_is_a_variable():
    logits, relaxation = jax.random.normal(KEY, (50, 4)), GumbelSoftmax(2.0)
    assert jax.jit(relaxation.init)(KEY, logits) == {"relaxation": {"temperature": 2.0}}
    peaks = [
        float(relaxation.apply({"relaxation": {"temperature": t}}, logits, rngs={"noise": KEY}).max(-1).mean())
        for t in (5.0, 1.0, 0.1)
    ]
    assert peaks == sorted(peaks) and peaks[-1] > 0.9 > 0.5 > peaks[0]
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        jax.eval_shape(GumbelSoftmax(0.0).init, KEY, logits)
