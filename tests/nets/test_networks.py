import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.nets.context import concatenate_context
from jaxgen.nets.conv_net import ConvNet, GatedConvNet
from jaxgen.nets.critics import ResNetCritic, mean_pool
from jaxgen.nets.decoders import ConvDecoder, ResidualDecoder, halvings
from jaxgen.nets.encoders import ConvEncoder, ResidualEncoder
from jaxgen.nets.generators import ResNetGenerator, upsample
from jaxgen.nets.heads import EventHead, GaussianHead, Headed, ScalarHead
from jaxgen.nets.mlp import MLP, ResidualMLP
from jaxgen.nets.normalization import BatchNorm
from jaxgen.nets.residual import ResidualStack

KEY = jax.random.key(0)


def shapes(network, *shape):
    return jax.eval_shape(lambda x: network.init_with_output(KEY, x), jax.ShapeDtypeStruct(shape, jnp.float32))


def test_convolutional_networks_halve_and_double_to_the_size_they_are_built_for():
    assert shapes(ConvEncoder((3, 5)), 2, 28, 28, 1)[0].shape == (2, 7, 7, 5)
    assert shapes(ConvDecoder((7, 6), (5, 3, 4)), 2, 9)[0].shape == (2, 28, 24, 4)
    assert shapes(ResNetGenerator((4, 2), 3, 6), 2, 9)[0].shape == (2, 32, 16, 6)
    assert shapes(ResNetCritic(6, halvings=2), 2, 28, 28, 3)[0].shape == (2, 6)
    assert shapes(ResidualEncoder(8, 2), 2, 32, 24, 3)[0].shape == (2, 8, 6, 8)
    assert shapes(ResidualEncoder(8, 0), 2, 7, 5, 3)[0].shape == (2, 7, 5, 8)
    assert shapes(ResidualDecoder(8, 2), 2, 8, 6, 3)[0].shape == (2, 32, 24, 2)
    assert shapes(ResidualDecoder(8, 1, start=(4, 3)), 2, 9)[0].shape == (2, 8, 6, 4)


def test_the_residual_networks_are_those_of_the_vq_vae():
    _, variables = shapes(ResidualEncoder(), 2, 32, 32, 3)
    kernels = [layer["kernel"].shape for layer in variables["params"].values() if "kernel" in layer]
    assert kernels == [(4, 4, 3, 64), (4, 4, 64, 128), (3, 3, 128, 128)]
    stack, x = ResidualStack(1, 3), jax.random.normal(KEY, (2, 4, 5, 2))
    variables = jax.tree.map(lambda a: a + 0.1, stack.init(KEY, x))
    p = variables["params"]
    h = nn.Conv(3, (3, 3)).apply({"params": p["Conv_0"]}, jax.nn.relu(x))
    h = nn.Conv(2, (1, 1)).apply({"params": p["Conv_1"]}, jax.nn.relu(h))
    np.testing.assert_allclose(jax.jit(stack.apply)(variables, x), jax.nn.relu(x + h), atol=1e-5)


def test_halvings():
    sizes = {(8, 8, 1): 1, (28, 28, 1): 2, (32, 32, 3): 3, (64, 32, 3): 3, (7, 8, 1): 0, (4, 4, 1): 0}
    assert {shape: halvings(shape) for shape in sizes} == sizes
    with pytest.raises(ValueError, match="for convolutional networks"):
        halvings((784,))


def test_pooling_undoes_upsampling():
    x = jnp.arange(2 * 3 * 4 * 2.0).reshape(2, 3, 4, 2)
    np.testing.assert_array_equal(mean_pool(upsample(x)), x)
    np.testing.assert_array_equal(mean_pool(x[:, :2])[1, 0, 1], x[1, :2, 2:].mean((0, 1)))


def test_no_bias_stands_before_a_batch_normalisation():
    _, variables = shapes(ResNetGenerator((4, 4), 2, 6), 2, 9)
    blocks = {name: block for name, block in variables["params"].items() if name.startswith("UpBlock")}
    assert len(blocks) == 2
    for block in blocks.values():
        convolutions = {name: layer for name, layer in block.items() if name.startswith("Conv")}
        assert len(convolutions) == 3 and all(set(layer) == {"kernel"} for layer in convolutions.values())


def test_a_critics_rows_do_not_meet():
    critic = Headed(ResNetCritic(4, halvings=1, blocks=1, layer_norm=True), ScalarHead())
    x = jax.random.normal(KEY, (3, 8, 8, 1))
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda a: np.float32(rng.normal(size=a.shape)), jax.eval_shape(critic.init, KEY, x))
    assert set(variables) == {"params"}
    score = jax.jit(critic.apply)
    before, after = score(variables, x), score(variables, x.at[1].set(1.0))
    assert before.shape == (3,)
    np.testing.assert_array_equal(before == after, [True, False, True])


def test_batch_normalisation_trains_when_its_statistics_may_change():
    x = 3 + 2 * jax.random.normal(KEY, (500, 4, 2))
    layer = BatchNorm(momentum=0.5)
    variables = jax.jit(layer.init)(KEY, x)
    y, changed = layer.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean((0, 1)), [0, 0], atol=1e-4)
    np.testing.assert_allclose(y.std((0, 1)), [1, 1], atol=1e-2)
    averages = changed["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(averages["mean"], 0.5 * x.mean((0, 1)), rtol=1e-4)
    # otherwise the averages decide, here the initial 0 and 1
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), x, rtol=1e-4)


def test_log_variances_are_bounded_and_near_zero_as_they_come():
    head = GaussianHead(2)
    params = {name: {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)} for name in ("mean", "log_variance")}
    params["log_variance"]["bias"] = jnp.array([0.1, -1e6])
    mean, log_variance = jax.jit(head.apply)({"params": params}, jnp.ones((4, 3)))
    assert mean.shape == log_variance.shape == (4, 2)
    np.testing.assert_allclose(log_variance[0], [0.1, -14], rtol=1e-4)


def test_an_event_head_convolves_at_the_images_resolution_and_at_half_of_it():
    image = EventHead((4, 6, 3), num_params=2)
    y, variables = shapes(image, 5, 4, 6, 7)
    assert y.shape == (5, 4, 6, 3, 2) and variables["params"]["out"]["kernel"].shape == (3, 3, 7, 6)
    y, variables = shapes(image, 5, 2, 3, 7)
    assert y.shape == (5, 4, 6, 3, 2) and variables["params"]["out"]["Conv_0"]["kernel"].shape == (3, 3, 7, 24)
    y, variables = shapes(image, 5, 2, 6, 7)
    assert y.shape == (5, 4, 6, 3, 2) and variables["params"]["out"]["kernel"].shape == (84, 144)
    assert shapes(EventHead((9,)), 5, 7)[0].shape == (5, 9, 1)


@pytest.mark.parametrize("head", [GaussianHead(2), EventHead((3,)), ScalarHead()])
def test_heads_answer_a_half_precision_network_in_single_precision(head):
    x = jnp.ones((2, 4), jnp.bfloat16)
    outputs, _ = jax.eval_shape(lambda: head.init_with_output(KEY, x))
    assert all(y.dtype == jnp.float32 for y in jax.tree.leaves(outputs))


def test_context_is_appended_where_it_belongs():
    x, vector = jnp.zeros((2, 3, 4, 1)), jnp.array([[1.0, 2.0], [3.0, 4.0]])
    y = concatenate_context(x, vector)
    assert y.shape == (2, 3, 4, 3)
    np.testing.assert_array_equal(y[1, 2, 3], [0, 3, 4])
    spatial = jnp.arange(24.0).reshape(2, 3, 4, 1)
    np.testing.assert_array_equal(concatenate_context(x, spatial)[..., 1:], spatial)
    np.testing.assert_array_equal(concatenate_context(jnp.zeros((2, 1)), vector), [[0, 1, 2], [0, 3, 4]])
    assert concatenate_context(x, None) is x
    for wrong in (jnp.zeros((3, 2)), jnp.zeros((2, 5, 4, 1))):
        with pytest.raises(ValueError, match="`context` must be|must have one row or 2"):
            concatenate_context(x, wrong)


def test_an_mlp_flattens_and_ends_as_told():
    assert shapes(MLP((5,)), 2, 3, 3, 1)[0].shape == (2, 5)
    assert shapes(MLP((5,), features=7), 2, 9)[0].shape == (2, 7)
    assert shapes(MLP(()), 2, 3, 3)[0].shape == (2, 9)


def test_a_residual_mlp_starts_near_its_first_layer_and_drops_where_told():
    x = jax.random.normal(KEY, (4, 2, 3))
    network = ResidualMLP(16, 2, dropout=0.5)
    variables = jax.jit(network.init)(KEY, x)
    first = variables["params"]["Dense_0"]
    plain = jax.nn.relu(x.reshape(4, 6) @ first["kernel"] + first["bias"])
    np.testing.assert_allclose(jax.jit(network.apply)(variables, x), plain, atol=0.05)
    variables = jax.tree.map(lambda a: a + 0.1, variables)
    y = jax.jit(network.apply)(variables, x)
    np.testing.assert_array_equal(jax.jit(network.apply)(variables, x), y)
    assert np.abs(network.apply(variables, x, rngs={"dropout": KEY}) - y).max() > 1e-3
    assert len(variables["params"]) == 5


def test_a_conv_net_is_its_layers_and_none_is_the_identity():
    x = jnp.zeros((2, 4, 5, 3))
    y, variables = shapes(ConvNet((7, 6)), *x.shape)
    kernels = [layer["kernel"].shape for layer in variables["params"].values()]
    assert y.shape == (2, 4, 5, 6) and kernels == [(3, 3, 3, 7), (1, 1, 7, 6)]
    x = jax.random.normal(KEY, x.shape)
    np.testing.assert_array_equal(ConvNet((), ()).apply({}, x), x)


def test_a_gated_block_is_that_of_its_docstring():
    network, x = GatedConvNet(3, 1), jax.random.normal(KEY, (2, 4, 5, 2))
    variables = jax.tree.map(lambda a: a + 0.1, network.init(KEY, x))
    p = variables["params"]

    def layer(name, h, size):
        return nn.Conv(p[name]["bias"].size, (size, size)).apply({"params": p[name]}, h)

    def concat_elu(h):
        return jnp.concatenate([jax.nn.elu(h), jax.nn.elu(-h)], -1)

    h = layer("Conv_0", x, 3)
    value, gate = jnp.split(layer("Conv_2", concat_elu(layer("Conv_1", concat_elu(h), 3)), 1), 2, -1)
    h = h + value / (1 + jnp.exp(-gate))
    h = (h - h.mean(-1, keepdims=True)) / jnp.sqrt(h.var(-1, keepdims=True) + 1e-6)
    h = h * p["LayerNorm_0"]["scale"] + p["LayerNorm_0"]["bias"]
    np.testing.assert_allclose(jax.jit(network.apply)(variables, x), concat_elu(h), atol=1e-4)


@pytest.mark.slow
def test_attention_lets_distant_pixels_meet_and_codes_their_positions():
    network, x = GatedConvNet(4, 2, heads=2), jax.random.normal(KEY, (1, 8, 8, 1))
    variables = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(KEY, a.shape), network.init(KEY, x))

    def far(x):
        return jax.jit(network.apply)(variables, x)[0, -1, -1].sum()

    assert np.abs(jax.jit(jax.grad(far))(x)[0, 0, 0]).max() > 0
    without = GatedConvNet(4, 2)
    gradient = jax.jit(jax.grad(lambda x: without.apply(without.init(KEY, x), x)[0, -1, -1].sum()))(x)
    np.testing.assert_array_equal(gradient[0, 0, 0], 0)
    assert [variables["params"][f"positions_{block}"].shape for block in range(2)] == [(8, 8, 4)] * 2
