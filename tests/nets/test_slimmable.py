"""Slimmable translators: limited, cut and sorted networks, and their multiply-adds."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.nets.slimmable import SlimmableTranslator, cut_channels, sort_channels

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
CHANNELS, LIMITS = (3, 4, 5, 4, 6, 4, 3), (2, 3, 4, 2, 5, 3, 2)
NET = SlimmableTranslator(CHANNELS, kernel_size=3)
SMALL = dataclasses.replace(NET, channels=LIMITS)


def shapes(network):
    return jax.eval_shape(network.init, jax.random.key(0), X)["params"]


PARAMS = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), shapes(NET))


def apply(network, params, *arguments, **keywords):
    return jax.jit(lambda params: network.apply({"params": params}, X, *arguments, **keywords))(params)


def test_a_limited_network_is_the_cut_one():
    assert NET.blocks == 2 and len(NET.channels) == 7
    whole = apply(NET, PARAMS)
    limited, stages = apply(NET, PARAMS, LIMITS, outputs=True)
    small, small_stages = apply(SMALL, cut_channels(PARAMS, shapes(SMALL)), outputs=True)
    assert small.shape == (2, 8, 8, 2) and len(stages) == len(small_stages) == 3
    np.testing.assert_allclose(limited[..., :2], small, atol=1e-5)
    for stage, small_stage in zip(stages, small_stages, strict=True):
        assert small_stage.shape == (2, 2, 2, 4)
        np.testing.assert_allclose(stage[..., :4], small_stage, atol=1e-5)
        assert np.all(stage[..., 4:] == 0)
    assert np.all(limited[..., 2:] == 0) and np.abs(limited[..., :2] - whole[..., :2]).max() > 0.1
    np.testing.assert_allclose(apply(NET, PARAMS, CHANNELS), whole, atol=1e-5)
    # stages: before each block, and after the last; the features are made from the last
    assert np.abs(stages[0] - stages[1]).max() > 0.1 and np.all(stages[0] >= 0)


def test_sorted_channels_make_the_same_function():
    head = RNG.normal(size=(1, 1, 3, 2)).astype(np.float32)
    params, sorted_head = jax.jit(lambda p, h: sort_channels(NET, p, h))(PARAMS, head)
    np.testing.assert_allclose(apply(NET, params) @ sorted_head[0, 0], apply(NET, PARAMS) @ head[0, 0], atol=1e-4)
    # by the weights that channels are multiplied by next
    kernels = {name: np.asarray(jax.tree.leaves(leaf)[0]) for name, leaf in params.items()}

    def norms(*names):
        return sum(np.abs(kernels[name]).sum((0, 1, 3)) for name in names)

    for found in (
        norms("halving_1"), norms("halving_2"), norms("block_1_out"), norms("block_2_out"), norms("doubling_2"),
        norms("block_1_in", "block_2_in", "doubling_1"), np.abs(sorted_head).sum((0, 1, 3)),
    ):  # fmt: skip
        assert np.all(np.diff(found) <= 1e-5) and found[0] > found[-1]
    names = [name for name in kernels if np.abs(kernels[name] - jax.tree.leaves(PARAMS[name])[0]).max() > 0]
    assert set(names) == set(PARAMS)  # the order was another


def test_training_draws_numbers_of_channels():
    choices = tuple((limit, channel) for limit, channel in zip(LIMITS, CHANNELS, strict=True))
    fixed = dataclasses.replace(NET, choices=tuple((limit,) for limit in LIMITS))
    drops = {"dropout": jax.random.key(1)}
    np.testing.assert_allclose(apply(fixed, PARAMS, rngs=drops), apply(NET, PARAMS, LIMITS), atol=1e-5)
    np.testing.assert_allclose(apply(fixed, PARAMS), apply(NET, PARAMS), atol=1e-5)

    network = dataclasses.replace(NET, choices=choices)

    @jax.jit
    def used(key):
        x, stages = network.apply({"params": PARAMS}, X, outputs=True, rngs={"dropout": key})
        return (x != 0).any((0, 1, 2)).sum(), (stages[-1] != 0).any((0, 1, 2)).sum()

    drawn = np.array([used(jax.random.key(i)) for i in range(24)])
    assert [set(column) for column in drawn.T] == [set(choices[-1]), set(choices[2])]
    assert len({tuple(row) for row in drawn}) == 4  # independently


def test_multiply_adds_are_those_of_the_kernels():
    pixels = {"first": 64, "halving_1": 16, "halving_2": 4, "doubling_1": 4, "doubling_2": 16}
    for network, params in ((NET, shapes(NET)), (SMALL, shapes(SMALL))):
        expected = sum(
            leaf.size * pixels.get(name, 4) for name, tree in params.items() for leaf in jax.tree.leaves(tree)
        )
        assert NET.multiply_adds((8, 8, 3), network.channels) == network.multiply_adds((8, 8, 3)) == expected


def test_numbers_that_do_not_fit_are_refused():
    init = jax.random.key(0)
    for network, name in (
        (SlimmableTranslator((3, 4, 5)), "channels"),
        (SlimmableTranslator((3, 4, 5, 0, 6, 4, 3)), "channels"),
        (dataclasses.replace(NET, choices=((1,),) * 6), "choices"),
        (dataclasses.replace(NET, choices=((4,),) * 7), "choices"),
        (dataclasses.replace(NET, choices=((0,),) * 7), "choices"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must"):
            network.init(init, jnp.asarray(X))
    with pytest.raises(ValueError, match="`shapes` must"):
        cut_channels(shapes(SMALL), shapes(NET))
