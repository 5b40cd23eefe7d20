"""The VQGAN's networks: their parts against NumPy, and the shapes of their levels."""

import jax
import numpy as np
import pytest
from flax import linen as nn
from scipy.signal import correlate2d
from scipy.special import expit, softmax

from jaxgen.nets import ExampleNorm, GroupNorm, VQGANDecoder, VQGANEncoder
from jaxgen.nets.vqgan import GroupNormBlock, PositionAttention

KEY = jax.random.key(0)
X = np.random.default_rng(0).normal(1.0, 2.0, (2, 4, 6, 4)).astype(np.float32)


def drawn(network, x):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, KEY, x)
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape).astype(np.float32), shapes)


def group_norm(x, groups, params):
    parts = np.float64(x).reshape(*x.shape[:-1], groups, -1)
    parts = (parts - parts.mean((1, 2, 4), keepdims=True)) / np.sqrt(parts.var((1, 2, 4), keepdims=True) + 1e-6)
    return parts.reshape(x.shape) * params["scale"] + params["bias"]


def convolved(x, params):
    kernel = params["kernel"]
    pairs = [(i, o) for i in range(kernel.shape[2]) for o in range(kernel.shape[3])]
    y = np.zeros((*x.shape[:-1], kernel.shape[3]))
    for n in range(len(x)):
        for i, o in pairs:
            y[n, ..., o] += correlate2d(x[n, ..., i], kernel[..., i, o], "same")
    return y + params["bias"]


def test_one_group_is_the_whole_example():
    params = drawn(ExampleNorm(), X)["params"]
    found = ExampleNorm().apply({"params": params}, X)
    np.testing.assert_allclose(found, group_norm(X, 1, params), rtol=1e-4, atol=1e-4)


def test_a_residual_block_normalises_groups_of_channels():
    # of six channels, at most four in a group that divides them: two groups
    block = GroupNormBlock(6, groups=4)
    params = drawn(block, X)["params"]
    h = group_norm(X, 4, params["GroupNormSwish_0"]["GroupNorm_0"])
    h = convolved(h * expit(h), params["Conv_0"])
    h = group_norm(h, 2, params["GroupNormSwish_1"]["GroupNorm_0"])
    expected = convolved(h * expit(h), params["Conv_1"]) + convolved(X, params["shortcut"])
    np.testing.assert_allclose(jax.jit(block.apply)({"params": params}, X), expected, rtol=1e-3, atol=1e-3)
    assert "shortcut" not in drawn(GroupNormBlock(4, groups=4), X)["params"]


def test_group_norm_is_flaxs_with_its_gradient():
    rng = np.random.default_rng(2)
    params = {"scale": rng.normal(size=4).astype(np.float32), "bias": rng.normal(size=4).astype(np.float32)}
    weights = rng.normal(size=X.shape)

    def value(network, params, x):
        return (jax.jit(network.apply)({"params": params}, x) * weights).sum()

    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda p, x, n=n: value(n, p, x), argnums=(0, 1)))(params, X)
        for n in (GroupNorm(2), nn.GroupNorm(2, epsilon=1e-6))
    )
    for a, b in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_attention_is_between_all_positions_of_an_image():
    attention = PositionAttention(groups=2)
    params = drawn(attention, X)["params"]
    h = group_norm(X, 2, params["GroupNormSwish_0"]["GroupNorm_0"]).reshape(2, 24, 4)
    q, k, v = np.split(h @ params["qkv"]["kernel"][0, 0] + params["qkv"]["bias"], 3, -1)
    attended = softmax(q @ k.swapaxes(1, 2) / 2, -1) @ v
    expected = X + (attended @ params["out"]["kernel"][0, 0] + params["out"]["bias"]).reshape(X.shape)
    np.testing.assert_allclose(jax.jit(attention.apply)({"params": params}, X), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("attention", [(), (8,)])
def test_levels_halve_and_double_the_resolution(attention):
    fields = {"widths": (4, 8, 8), "blocks": 2, "attention": attention, "features": 6, "groups": 4}
    x = jax.ShapeDtypeStruct((3, 16, 12, 3), np.float32)
    encoder, decoder = VQGANEncoder(**fields), VQGANDecoder(**fields)
    z, variables = jax.eval_shape(lambda x: encoder.init_with_output(KEY, x), x)
    assert z.shape == (3, 4, 3, 6)
    y, mirrored = jax.eval_shape(lambda z: decoder.init_with_output(KEY, z), z)
    assert y.shape == (3, 16, 12, 4)

    def count(variables, kind):
        return sum(name.startswith(kind) for name in variables["params"])

    # two in the middle; attention at a height of 8, and in the middle
    assert (count(variables, "GroupNormBlock"), count(mirrored, "GroupNormBlock")) == (8, 11)
    attended = (count(variables, "PositionAttention"), count(mirrored, "PositionAttention"))
    assert attended == ((3, 4) if attention else (1, 1))


def test_dropout_needs_a_stream():
    block = GroupNormBlock(4, groups=4, dropout=0.5)
    variables = drawn(block, X)
    np.testing.assert_array_equal(jax.jit(block.apply)(variables, X), jax.jit(block.apply)(variables, X))
    one, other = (block.apply(variables, X, rngs={"dropout": jax.random.key(i)}) for i in range(2))
    assert np.abs(one - other).max() > 0.1
