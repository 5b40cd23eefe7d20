"""Networks of translation: U-Net, patch critics, residual translators, and their layers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import lax

from jaxgen.convolution import TransposedConv
from jaxgen.nets import BatchNorm, EventHead, InstanceNorm, PatchCritic, ResNetTranslator, UNet
from jaxgen.nets.heads import Headed
from jaxgen.training.description import build, describe
from tests.models.parameters import drawn

KEY = jax.random.key(0)


def shapes(network, *shape):
    y, variables = jax.eval_shape(
        lambda x: network.init_with_output(KEY, x), jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    return y.shape, {name: leaf.shape for name, leaf in flatten_dict(dict(variables), sep="/").items()}


def kernels(leaves):
    return {name.removeprefix("params/").removesuffix("/kernel"): s for name, s in leaves.items() if "kernel" in name}


def normals(*shape):
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def test_a_transposed_convolution_is_that_of_the_paper():
    layer, x = TransposedConv(2), normals(3, 4, 5, 3)
    variables = drawn(layer, x)
    small = np.asarray(variables["params"]["Conv_0"]["kernel"]).reshape(2, 2, 3, 2, 2, 2)
    # place t of the small kernel for outputs of parity r is place 3 - 2 t - r of the 4x4 one, as stamps of each input
    stamp = np.empty((4, 4, 3, 2), np.float32)
    for t, u, r, s in np.ndindex(2, 2, 2, 2):
        stamp[3 - 2 * t - r, 3 - 2 * u - s] = small[t, u, :, :, r, s]
    y = np.zeros((3, 10, 12, 2), np.float32)
    for i, j in np.ndindex(4, 5):
        y[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("bc,pqcd->bpqd", x[:, i, j], stamp)
    expected = y[:, 1:-1, 1:-1] + np.asarray(variables["params"]["bias"])
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_instance_normalisation_is_of_each_channel_of_each_picture():
    x = 3 + 2 * normals(2, 4, 3, 5)
    variables = drawn(InstanceNorm(), x)
    gain, bias = (variables["params"]["InstanceNorm_0"][name] for name in ("scale", "bias"))
    expected = (x - x.mean((1, 2), keepdims=True)) / np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(jax.jit(InstanceNorm(affine=False).apply)({}, x), expected, rtol=1e-3, atol=1e-4)
    y = jax.jit(InstanceNorm().apply)(variables, x)
    np.testing.assert_allclose(y, expected * gain + bias, rtol=1e-3, atol=1e-4)
    # batch normalisation of one picture, in training mode
    params = {"params": {"BatchNorm_0": variables["params"]["InstanceNorm_0"]}}
    statistics = {"batch_stats": {"BatchNorm_0": {"mean": np.ones(5), "var": np.ones(5)}}}
    one, _ = jax.jit(lambda: BatchNorm().apply({**params, **statistics}, x[:1], mutable=["batch_stats"]))()
    np.testing.assert_allclose(y[:1], one, rtol=1e-3, atol=1e-4)


def test_the_u_net_has_the_papers_widths():
    shape, leaves = shapes(UNet(), 1, 256, 256, 3)
    assert shape == (1, 128, 128, 128)
    down, up = (64, 128, 256, 512, 512, 512, 512, 512), (512, 512, 512, 512, 256, 128, 64)
    found = kernels(leaves)
    assert [found[f"Conv_{i}"] for i in range(8)] == [(4, 4, c, d) for c, d in zip((3, *down), down, strict=False)]
    # each input of the decoder but the innermost is what came up beside what went down
    inputs = (512, 1024, 1024, 1024, 1024, 512, 256)
    assert [found[f"TransposedConv_{i}/Conv_0"] for i in range(7)] == [
        (2, 2, c, 4 * d) for c, d in zip(inputs, up, strict=True)
    ]
    # normalised except the first and the innermost level, which have biases
    assert sum("/BatchNorm_0/scale" in name for name in leaves) == 13
    assert {name for name in leaves if name.startswith("params/Conv") and "bias" in name} == {
        "params/Conv_0/bias", "params/Conv_7/bias"
    }  # fmt: skip
    shape, leaves = shapes(UNet(8), 1, 64, 32, 1)
    assert shape == (1, 32, 16, 16) and len(kernels(leaves)) == 5 + 4
    assert shapes(UNet(8, levels=2), 1, 24, 20, 1)[0] == (1, 12, 10, 16)
    with pytest.raises(ValueError, match="`levels` must be from 1 to 3 for images of 24 x 16, got 4"):
        shapes(UNet(8, levels=4), 1, 24, 16, 1)


@pytest.fixture(scope="module")
def small():
    network, x = UNet(4, levels=4, norm=InstanceNorm), normals(2, 16, 16, 3)
    variables = drawn(network, x)
    noisy = jax.jit(lambda x, key: network.apply(variables, x, rngs={"noise": key}))
    return x, variables, jax.jit(network.apply), noisy


@pytest.mark.slow
def test_a_u_net_passes_on_what_its_innermost_level_sees(small):
    """A normalised 1x1 bottleneck is its bias, whatever the picture: the erratum of the authors' code."""
    x, variables, apply, _ = small
    cut = jax.tree.map(lambda a: a, variables)
    # without the skips, the input of each decoder layer is what came up from the bottleneck
    for i in (1, 2):
        kernel = cut["params"][f"TransposedConv_{i}"]["Conv_0"]["kernel"]
        cut["params"][f"TransposedConv_{i}"]["Conv_0"]["kernel"] = kernel.copy()
        cut["params"][f"TransposedConv_{i}"]["Conv_0"]["kernel"][:, :, kernel.shape[2] // 2 :] = 0
    y = apply(cut, x[:1])[..., :4]
    assert np.abs(y - apply(cut, x[1:])[..., :4]).max() > 1e-2
    assert np.abs(apply(variables, x[:1])[..., 4:] - apply(cut, x[:1])[..., 4:]).max() == 0


@pytest.mark.slow
def test_dropout_is_the_noise_of_a_u_net(small):
    x, variables, apply, noisy = small
    y, z = noisy(x, KEY), noisy(x, jax.random.key(1))
    still = apply(variables, x)
    assert np.abs(y - z).max() > 1e-2 < np.abs(y - still).max()
    np.testing.assert_array_equal(y, noisy(x, KEY))
    # what comes straight from the first level of the encoder has none
    np.testing.assert_array_equal(y[..., 4:], z[..., 4:])


def test_a_context_is_a_further_input_of_a_u_net():
    network, x, context = UNet(4, levels=1), normals(2, 4, 4, 3), normals(2, 2)
    variables = jax.jit(network.init)(KEY, x, context)
    assert variables["params"]["Conv_0"]["kernel"].shape == (4, 4, 5, 4)
    whole = np.concatenate([x, np.broadcast_to(context[:, None, None], (2, 4, 4, 2))], -1)
    apply = jax.jit(network.apply)
    np.testing.assert_allclose(apply(variables, x, context), apply(variables, whole), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 16, 34, 70])
def test_a_score_depends_on_its_patch_and_on_nothing_else(size):
    critic = PatchCritic.with_receptive_field(size, 2, norm=None)
    assert critic.receptive_field == size
    side = size + 24
    x = normals(1, side, side, 1)
    variables = drawn(critic, x)
    row = jax.eval_shape(critic.apply, variables, x).shape[1] // 2
    slope = np.abs(jax.jit(jax.grad(lambda x: critic.apply(variables, x)[0, row, row]))(x))[0, :, :, 0]
    for along in (slope.max(0), slope.max(1)):
        seen = np.flatnonzero(along)
        assert seen[0] > 0 and seen[-1] < side - 1 and seen[-1] - seen[0] + 1 == size == len(seen)


def test_the_papers_critics():
    c = (64, 128, 256, 512, 512, 512)
    for size, n in ((16, 2), (34, 3), (70, 4), (142, 5), (286, 6)):
        critic = PatchCritic.with_receptive_field(size)
        assert critic.widths == c[:n] and critic.receptive_field == size and critic.strides == (2,) * (n - 1) + (1,)
    assert PatchCritic.with_receptive_field(70) == PatchCritic()
    shape, leaves = shapes(PatchCritic(), 2, 256, 256, 6)
    assert shape == (2, 30, 30) and sum("scale" in name for name in leaves) == 3
    widths = [kernels(leaves)[f"Conv_{i}"][2:] for i in range(5)]
    assert widths == [(6, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    assert shapes(PatchCritic.with_receptive_field(1), 2, 8, 9, 3)[0] == (2, 8, 9)
    with pytest.raises(ValueError, match="`size` must be 1, 16, 34, 70, 142 or 286, got 64"):
        PatchCritic.with_receptive_field(64)
    with pytest.raises(ValueError, match="large enough for 5 layers, got shape"):
        shapes(PatchCritic(), 2, 16, 16, 3)


def test_cyclegans_translator_has_the_papers_layers():
    network = Headed(ResNetTranslator(), EventHead((128, 128, 3), kernel_size=7, padding="REFLECT"))
    shape, leaves = shapes(network, 1, 128, 128, 3)
    assert shape == (1, 128, 128, 3, 1)
    found = {name.removeprefix("network/"): s for name, s in kernels(leaves).items()}
    down = [(7, 7, 3, 64), (3, 3, 64, 128), (3, 3, 128, 256)]
    assert [found[f"Conv_{i}"] for i in range(15)] == [*down, *((3, 3, 256, 256),) * 12]
    assert [found[f"TransposedConv_{i}/Conv_0"] for i in range(2)] == [(2, 2, 256, 512), (2, 2, 128, 256)]
    assert found["head/out"] == (7, 7, 64, 3) and sum(name.endswith("InstanceNorm_0/scale") for name in leaves) == 17
    assert shapes(ResNetTranslator(32, 1, 3, 5), 1, 32, 32, 3)[0] == (1, 32, 32, 32)


def test_a_translator_pads_by_reflection_and_adds_its_blocks():
    network, x = ResNetTranslator(2, 1, 1, 5, norm=None), normals(1, 8, 8, 1)
    variables = drawn(network, x)
    layers = variables["params"]

    def stock(x, layer, pad, stride=1):
        if pad == "REFLECT":
            low = (layer["kernel"].shape[0] - 1) // 2
            x, pad = np.pad(x, ((0, 0), (low, low), (low, low), (0, 0)), mode="reflect"), "VALID"
        y = lax.conv_general_dilated(x, layer["kernel"], (stride,) * 2, pad, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return np.asarray(y + layer["bias"])

    def relu(h):
        return np.maximum(h, 0)

    h = relu(stock(relu(stock(x, layers["Conv_0"], "REFLECT")), layers["Conv_1"], "SAME", 2))
    h = h + stock(relu(stock(h, layers["Conv_2"], "REFLECT")), layers["Conv_3"], "REFLECT")
    expected = relu(np.asarray(TransposedConv(2).apply({"params": layers["TransposedConv_0"]}, h)))
    assert 0 < (expected == 0).mean() < 1
    np.testing.assert_allclose(jax.jit(network.apply)(variables, x), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "network", [UNet(norm=InstanceNorm), PatchCritic.with_receptive_field(34), ResNetTranslator(norm=None)]
)
def test_networks_are_written_down_and_come_back(network):
    assert build(json.loads(json.dumps(describe(network)))) == network
