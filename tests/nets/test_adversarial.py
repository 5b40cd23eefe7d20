"""The networks of DCGAN and SAGAN, their layers, and that all of the wing's networks can be written down."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from jaxgen.convolution import UpConv
from jaxgen.nets.attention import SelfAttention
from jaxgen.nets.augmentation import InstanceNoise, Translation
from jaxgen.nets.conditioning import FiLM, Projection
from jaxgen.nets.dcgan import DCGANCritic, DCGANGenerator
from jaxgen.nets.generators import UpBlock
from jaxgen.nets.heads import EventHead, Headed, ScalarHead
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.maxout import Maxout
from jaxgen.nets.minibatch_discrimination import MinibatchDiscrimination
from jaxgen.nets.mlp import MLP
from jaxgen.nets.noisy_mlp import NoisyMLP
from jaxgen.nets.normalization import BatchNorm, ConditionalBatchNorm
from jaxgen.nets.sagan import SpectralResNetCritic, SpectralResNetGenerator
from jaxgen.nets.spectral import SpectralConv, SpectralDense
from jaxgen.training.description import build, describe
from tests.models.parameters import drawn

KEY = jax.random.key(0)
GENERATOR = SpectralResNetGenerator((2, 3), (6, 5, 4), attention=4, condition=3)
CRITIC = SpectralResNetCritic((4, 5), blocks=1, attention=4)


def shapes(network, *shape):
    y, variables = jax.eval_shape(
        lambda x: network.init_with_output(KEY, x), jax.ShapeDtypeStruct(shape, jnp.float32)
    )
    leaves = flatten_dict(dict(variables), sep="/")
    return y.shape, {name: leaf.shape for name, leaf in leaves.items()}


def test_dcgans_generator_has_its_rules():
    shape, leaves = shapes(Headed(DCGANGenerator((7, 6), (5, 4, 3)), EventHead((56, 48, 2))), 2, 9)
    assert shape == (2, 56, 48, 2, 1)
    prefix = "params/network/"
    # one dense layer, the projection; fractionally strided convolutions; a normalisation after each and no other bias
    assert {name.removeprefix(prefix): s for name, s in leaves.items() if name.startswith(prefix)} == {
        "Dense_0/kernel": (9, 7 * 6 * 5),
        "UpConv_0/Conv_0/kernel": (3, 3, 5, 4 * 4),
        "UpConv_1/Conv_0/kernel": (3, 3, 4, 4 * 3),
        **{f"BatchNorm_{i}/BatchNorm_0/{n}": (c,) for i, c in enumerate((5, 4, 3)) for n in ("scale", "bias")},
    }
    # none at the output, which is the last of the fractionally strided convolutions
    assert {name: s for name, s in leaves.items() if "head" in name} == {
        "params/head/out/Conv_0/kernel": (3, 3, 3, 8), "params/head/out/Conv_0/bias": (8,)
    }  # fmt: skip


def test_dcgans_critic_has_its_rules():
    shape, leaves = shapes(DCGANCritic((5, 4, 3), 4), 2, 28, 28, 1)
    assert shape == (2, 4, 4, 3)
    # no dense layer; the first convolution alone is not normalised, and alone has a bias
    assert {name.removeprefix("params/"): s for name, s in leaves.items() if name.startswith("params")} == {
        "Conv_0/kernel": (4, 4, 1, 5),
        "Conv_0/bias": (5,),
        "Conv_1/kernel": (4, 4, 5, 4),
        "Conv_2/kernel": (4, 4, 4, 3),
        **{f"BatchNorm_{i}/BatchNorm_0/{n}": (c,) for i, c in enumerate((4, 3)) for n in ("scale", "bias")},
    }


def test_dcgans_activations_and_first_weights():
    x, z = jax.random.normal(KEY, (3, 8, 8, 2)), jax.random.normal(KEY, (3, 4))
    critic = DCGANCritic((4, 3))
    variables = drawn(critic, x)
    layers, statistics = variables["params"], variables["batch_stats"]["BatchNorm_0"]["BatchNorm_0"]

    @jax.jit
    def expected():
        h = nn.Conv(4, (4, 4), 2).apply({"params": layers["Conv_0"]}, x)
        h = nn.Conv(3, (4, 4), 2, use_bias=False).apply({"params": layers["Conv_1"]}, jnp.maximum(h, 0.2 * h))
        gain, bias = (layers["BatchNorm_0"]["BatchNorm_0"][name] for name in ("scale", "bias"))
        h = (h - statistics["mean"]) / jnp.sqrt(statistics["var"] + 1e-5) * gain + bias
        return jnp.maximum(h, 0.2 * h)

    y = expected()
    assert y.min() < 0 < y.max()
    np.testing.assert_allclose(jax.jit(critic.apply)(variables, x), y, rtol=1e-3, atol=1e-4)
    generator = DCGANGenerator((2, 2), (4, 4))
    y = jax.jit(generator.apply)(drawn(generator, z), z)
    assert y.min() == 0 < (y == 0).mean() < 1
    for network, given in ((DCGANGenerator(widths=(30, 20, 10)), z), (DCGANCritic((40, 20, 10)), x)):
        params = flatten_dict(jax.jit(network.init)(KEY, given)["params"], sep="/")
        kernels = [leaf for name, leaf in params.items() if name.endswith("kernel")]
        assert len(kernels) == 3 and all(np.std(k) == pytest.approx(0.02, rel=0.05) for k in kernels)


@pytest.mark.parametrize(
    ("network", "shape"), [(DCGANGenerator((2, 2), (4, 3)), (5, 4)), (DCGANCritic((4, 3)), (5, 8, 8, 1))]
)
def test_batch_statistics_move_only_where_they_may(network, shape):
    x = jax.random.normal(KEY, shape)
    variables = drawn(network, x)
    train = jax.jit(lambda x: network.apply(variables, x, mutable=["batch_stats"]))
    training, changed = train(x)
    before, after = (flatten_dict(v["batch_stats"], sep="/") for v in (variables, changed))
    assert set(before) == set(after) and all(np.abs(before[name] - after[name]).min() > 0 for name in before)
    # in use a row does not depend on the others, in training it does
    other, use = x.at[2:].add(1.0), jax.jit(network.apply)
    np.testing.assert_allclose(use(variables, x)[:2], use(variables, other)[:2], rtol=1e-4, atol=1e-6)
    assert np.abs(training[:2] - train(other)[0][:2]).max() > 1e-3
    # without, and with a normalisation of each row, it never does, and nothing moves
    for norm in (None, nn.LayerNorm):
        assert set(jax.eval_shape(dataclasses.replace(network, norm=norm).init, KEY, x)) == {"params"}


@pytest.mark.parametrize(
    "network",
    [
        DCGANGenerator(norm=None), DCGANCritic(norm=nn.LayerNorm), GENERATOR, CRITIC, NoisyMLP(), FiLM(),
        Projection(SpectralDense), MLP(norm=BatchNorm, kernel_init=small_normal),
        Headed(MLP(), ScalarHead(SpectralDense)),
        nn.Sequential((Maxout(3, 2, small_normal), MinibatchDiscrimination(), SelfAttention(SpectralConv))),
        (InstanceNoise(0.1, 100), Translation()),
    ],
    ids=lambda network: type(network).__name__,
)  # fmt: skip
def test_networks_are_written_down_and_come_back(network):
    assert build(json.loads(json.dumps(describe(network)))) == network


def test_without_normalisation_layers_have_biases():
    generator, critic = DCGANGenerator((2, 2), (4, 3), None), DCGANCritic((4, 3), norm=None)
    for _, leaves in (shapes(generator, 1, 4), shapes(critic, 1, 8, 8, 1)):
        assert sum(name.endswith("bias") for name in leaves) == sum(name.endswith("kernel") for name in leaves) == 2


def test_an_up_convolution_is_a_transposed_convolution():
    layer, x = UpConv(2), jax.random.normal(KEY, (3, 4, 5, 3))
    variables = drawn(layer, x)
    small = np.asarray(variables["params"]["Conv_0"]["kernel"]).reshape(3, 3, 3, 2, 2, 2)
    large = np.empty((6, 6, 3, 2), np.float32)
    for p in range(3):
        for q in range(3):
            for a in range(2):
                for b in range(2):
                    large[4 - 2 * p + a, 4 - 2 * q + b] = small[p, q, :, :, a, b]
    dilated = np.zeros((3, 7 + 6, 9 + 6, 3), np.float32)
    dilated[:, 3:-3:2, 3:-3:2] = x
    expected = np.zeros((3, 8, 10, 2), np.float32)
    for i in range(6):
        for j in range(6):
            expected += dilated[:, i : i + 8, j : j + 10] @ large[5 - i, 5 - j]
    bias = variables["params"]["Conv_0"]["bias"].reshape(2, 2, 2).transpose(1, 2, 0)
    expected += np.tile(bias, (4, 5, 1))
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, x), expected, rtol=1e-4, atol=1e-5)


def test_a_dense_network_takes_normalisation_and_a_start():
    network = MLP((300, 200), features=100, norm=BatchNorm, kernel_init=small_normal)
    variables = jax.jit(network.init)(KEY, jnp.ones((2, 400)))
    leaves = flatten_dict(variables["params"], sep="/")
    assert {name for name in leaves if "Dense" in name} == {f"Dense_{i}/kernel" for i in range(3)} | {"Dense_2/bias"}
    for i in range(3):
        assert np.std(leaves[f"Dense_{i}/kernel"]) == pytest.approx(0.02, rel=0.05)
    assert set(variables["batch_stats"]) == {"BatchNorm_0", "BatchNorm_1"}


def test_a_class_sets_gain_and_bias_of_a_normalisation():
    x = 2 + 3 * jax.random.normal(KEY, (6, 4, 3, 2))
    classes = np.array([0, 1, 2, 2, 1, 0])
    condition = np.eye(3, dtype=np.float32)[classes]
    layer = ConditionalBatchNorm()
    variables = jax.jit(layer.init)(KEY, x, condition)
    train = jax.jit(lambda v: layer.apply(v, x, condition, mutable=["batch_stats"]))
    y, _ = train(variables)
    normal = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y, normal, rtol=1e-3, atol=1e-4)
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), variables["params"])
    y, moved = train({**variables, "params": params})
    gain, bias = (params[name]["kernel"][classes][:, None, None] for name in ("gain", "bias"))
    np.testing.assert_allclose(y, (1 + gain) * normal + bias, rtol=1e-3, atol=1e-4)
    # two arrays for the condition and no others
    assert len(jax.tree.leaves(params)) == 2
    assert np.abs(moved["batch_stats"]["BatchNorm_0"]["BatchNorm_0"]["mean"]).min() > 0.1


def test_sagans_networks_are_spectrally_normalised_throughout():
    shape, leaves = shapes(GENERATOR, 2, 7)
    assert shape == (2, 8, 12, 4)
    # the class reaches the normalisations of the blocks alone
    assert leaves["params/SpectralDense_0/kernel"] == (4, 2 * 3 * 6)
    conditional = [name for name in leaves if name.endswith("gain/kernel")]
    assert len(conditional) == 4 and all(leaves[name][0] == 3 for name in conditional)
    critic_shape, critic = shapes(Headed(CRITIC, ScalarHead(SpectralDense)), 2, 8, 12, 1)
    assert critic_shape == (2,)
    for tree, free in ((leaves, ("gain", "bias")), (critic, ())):
        kernels = {name.split("/", 1)[1].removesuffix("/kernel") for name in tree if name.endswith("kernel")}
        directions = {name.split("/", 1)[1].removesuffix("/SpectralNorm_0/u") for name in tree if name.endswith("/u")}
        assert {name for name in kernels if not name.endswith(free or "nothing")} == directions and len(directions) > 9
        assert any("SelfAttention_0" in name for name in directions)
    assert not any(name.startswith("batch_stats") for name in critic)


def test_attention_stands_at_its_resolution_and_starts_as_nothing():
    x = jax.random.normal(KEY, (2, 8, 12, 1))
    variables = drawn(CRITIC, x)
    assert variables["params"]["SelfAttention_0"]["out"]["kernel"].shape == (1, 1, 2, 4)
    without = dataclasses.replace(CRITIC, attention=None)
    plain = {name: {k: v for k, v in tree.items() if "Self" not in k} for name, tree in variables.items()}
    expected, score = jax.jit(without.apply)(plain, x), jax.jit(CRITIC.apply)
    assert np.abs(score(variables, x) - expected).max() > 1e-4
    variables["params"]["SelfAttention_0"]["gain"] = np.float32(0)
    np.testing.assert_allclose(score(variables, x), expected, rtol=1e-5)
    for network, given in ((CRITIC, x), (GENERATOR, x[:, 0, :7, 0])):
        with pytest.raises(ValueError, match="`attention` must be the height .* got 5"):
            jax.eval_shape(dataclasses.replace(network, attention=5).init, KEY, given)
    with pytest.raises(ValueError, match="`condition` must be below"):
        jax.eval_shape(GENERATOR.init, KEY, x[:, 0, :3, 0])


def test_a_class_changes_what_is_generated_and_all_that_may_move_moves():
    z = jnp.tile(jax.random.normal(KEY, (1, 4)), (3, 1))
    pair = jnp.concatenate([z, jnp.eye(3)], -1)
    variables = drawn(GENERATOR, pair)
    y, moved = jax.jit(lambda: GENERATOR.apply(variables, pair, mutable=["batch_stats", "spectral"]))()
    assert y.shape == (3, 8, 12, 4)
    assert min(np.abs(y[i] - y[j]).max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-3
    for name in ("batch_stats", "spectral"):
        before, after = variables[name], moved[name]
        assert all(np.abs(a - b).max() > 0 for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_a_block_without_a_condition_is_the_plain_one():
    _, leaves = shapes(UpBlock(3), 2, 4, 4, 5)
    assert {name for name in leaves if "gain" in name or "spectral" in name} == set()
    assert leaves["params/BatchNorm_1/BatchNorm_0/scale"] == (3,)
