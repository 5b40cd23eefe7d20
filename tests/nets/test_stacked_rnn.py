"""Stacked recurrent networks against Flax's cells and against loops over time."""

import jax
import numpy as np
import pytest
from flax import linen as nn

from jaxgen.nets import ClosedLoopRNN, StackedRNN

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)


def randomised(network, *inputs):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), shapes)


def gates_of(p, i, width, count):
    """The kernels and biases of a layer, cut into gates."""
    names = ("kernel", "bias", "recurrent_kernel", "recurrent_bias")
    return [np.split(np.asarray(p[f"{name}_{i}"]), count, 1 if "kernel" in name else 0) for name in names]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_layers_are_flax_cells_one_above_the_other(cell):
    network = StackedRNN(4, 2, cell, features=2, activation=nn.tanh)
    variables = randomised(network, X)
    p, h = variables["params"], X
    for i in range(2):
        if cell == "gru":
            (ir, iz, n), (br, bz, bn), (hr, hz, hn), (cr, cz, cn) = gates_of(p, i, 4, 3)
            flax = {
                "ir": {"kernel": ir, "bias": (br + cr)[:, 0]}, "iz": {"kernel": iz, "bias": (bz + cz)[:, 0]},
                "in": {"kernel": n, "bias": bn[:, 0]}, "hr": {"kernel": hr}, "hz": {"kernel": hz},
                "hn": {"kernel": hn, "bias": cn[:, 0]},
            }  # fmt: skip
            network_of_flax = nn.RNN(nn.GRUCell(4))
        else:
            kernels, biases, recurrent, others = gates_of(p, i, 4, 4)
            flax = {}
            for name, gate in zip("ifog", range(4), strict=True):
                flax[f"i{name}"] = {"kernel": kernels[gate]}
                flax[f"h{name}"] = {"kernel": recurrent[gate], "bias": (biases[gate] + others[gate])[:, 0]}
            network_of_flax = nn.RNN(nn.LSTMCell(4))
        name = next(iter(jax.eval_shape(network_of_flax.init, jax.random.key(0), h)["params"]))
        h = jax.jit(network_of_flax.apply)({"params": {name: flax}}, h)
    expected = np.tanh(h @ p["head"]["kernel"] + p["head"]["bias"])
    np.testing.assert_allclose(jax.jit(network.apply)(variables, X), expected, atol=2e-6)


def test_fresh_states_are_kept_and_a_context_stands_at_each_step():
    p = StackedRNN(4, 1, "lstm").init(jax.random.key(0), X)["params"]
    np.testing.assert_array_equal(p["bias_0"][:, 0], [0] * 4 + [1] * 4 + [0] * 8)
    p = jax.jit(StackedRNN(4, 1).init)(jax.random.key(0), X)["params"]
    np.testing.assert_array_equal(p["bias_0"][:, 0], [0] * 4 + [1] * 4 + [0] * 4)
    for gate in np.split(np.asarray(p["recurrent_kernel_0"]), 3, 1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(4), atol=1e-6)
    context = X[:, 0, :2]
    network = StackedRNN(4, 1)
    both = np.concatenate([X, np.repeat(context[:, None], 5, 1)], -1)
    variables = randomised(network, both)
    np.testing.assert_array_equal(network.apply(variables, X, context), network.apply(variables, both))


def test_a_closed_loop_reads_its_own_outputs_and_teacher_forcing_given_ones():
    network = ClosedLoopRNN(4, 2, features=2, activation=nn.sigmoid)
    variables = randomised(network, X)
    y = jax.jit(network.apply)(variables, X)
    assert y.shape == (4, 5, 2)
    # given its own outputs, it repeats itself
    np.testing.assert_allclose(jax.jit(network.apply)(variables, X, y), y, atol=1e-6)
    # and it is the open network on [z_t, y_(t-1)]
    p = dict(variables["params"])
    head = {"kernel": p.pop("head_kernel"), "bias": p.pop("head_bias")[:, 0]}
    given = np.random.default_rng(2).random((4, 5, 2)).astype(np.float32)
    before = np.concatenate([np.zeros((4, 1, 2), np.float32), given[:, :-1]], 1)
    opened = StackedRNN(4, 2, features=2, activation=nn.sigmoid)
    expected = jax.jit(opened.apply)({"params": {**p, "head": head}}, np.concatenate([X, before], -1))
    np.testing.assert_allclose(jax.jit(network.apply)(variables, X, given), expected, atol=1e-6)


@pytest.mark.parametrize("network", [StackedRNN(4, 2, features=2), ClosedLoopRNN(4, 2, features=2)])
def test_outputs_do_not_depend_on_later_inputs(network):
    variables = randomised(network, X)
    jacobian = jax.jit(jax.jacobian(lambda x: network.apply(variables, x[None])[0].sum(-1)))(X[0])
    reach = np.abs(np.asarray(jacobian)).sum(-1)
    assert (np.triu(reach, 1) == 0).all() and (reach[np.tril_indices(5)] > 0).all()
