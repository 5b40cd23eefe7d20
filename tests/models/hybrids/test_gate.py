"""The gate of two players: its table, and that a player that waits stands still, its optimizer included."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen.models.hybrids import Gate, waiting
from jaxgen.models.hybrids.gate import gated


@pytest.mark.parametrize(
    ("real", "fake", "critic", "decoder"),
    [
        (0.69, 0.69, True, True),
        (0.27, 0.69, False, True),  # the critic is ahead on either kind
        (0.69, 0.27, False, True),
        (1.09, 0.69, True, False),  # and behind on either kind
        (0.69, 1.09, True, False),
        (0.27, 1.09, True, True),  # both would wait
        (1.09, 0.27, True, True),
        (0.29, 1.07, True, True),
    ],
)
def test_who_moves_by_the_costs_of_the_critic(real, fake, critic, decoder):
    decision = jax.jit(Gate())(jnp.float32(real), jnp.float32(fake))
    assert {name: bool(moves) for name, moves in decision.items()} == {"critic": critic, "decoder": decoder}


def test_the_margin_is_a_field():
    decision = Gate(equilibrium=1.0, margin=0.1)(jnp.float32(0.85), jnp.float32(1.0))
    assert not decision["critic"] and decision["decoder"]
    with pytest.raises(ValueError, match="`margin` must be at least 0, got -1"):
        Gate(margin=-1)


def test_a_gated_value_is_the_value_with_or_without_its_gradient():
    for moves, expected in ((True, 6.0), (False, 0.0)):
        value, slope = jax.value_and_grad(lambda x, moves=moves: gated(x**2, jnp.bool_(moves)))(3.0)
        assert (value, slope) == (9.0, expected)


@pytest.mark.parametrize("optimizer", [optax.rmsprop(0.1), optax.adam(0.1), optax.sgd(0.1, momentum=0.9)])
def test_an_optimizer_that_waits_is_as_if_the_step_had_not_been(optimizer):
    """Zeros between gradients change nothing, while the plain optimizer's averages would decay."""
    gradients = [
        {"a": jnp.float32([1.0, 0.0]), "b": jnp.float32(2.0)},
        {"a": jnp.float32([0.0, -3.0]), "b": jnp.float32(0.0)},
    ]
    zeros = jax.tree.map(jnp.zeros_like, gradients[0])

    def descend(optimizer, gradients):
        params, state = jax.tree.map(jnp.ones_like, zeros), optimizer.init(zeros)
        for gradient in gradients:
            updates, state = jax.jit(optimizer.update)(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params, state

    expected = descend(optimizer, gradients)
    found = descend(waiting(optimizer), [gradients[0], zeros, zeros, gradients[1]])
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    plain = descend(optimizer, [gradients[0], zeros, zeros, gradients[1]])
    differences = jax.tree.map(lambda a, b: np.abs(np.float32(a) - np.float32(b)).max(), plain, expected)
    assert max(jax.tree.leaves(differences)) > 1e-3
