"""The gate of a game with two players: a player that is far ahead waits.

The train step decides by the clock whether a play runs (`Play.when`); the gate decides by the costs of a batch. So the
critic's play, the first, leaves the decision as memory of the critic, and a play that has to wait has a gradient of
zeros, which `waiting` makes a move that changes neither parameters nor the optimizer.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.arguments import check_number
from jaxgen.contracts import Array, Collections

GATE = "gate"
"""The collection of the critic with the last decision: `critic` and `decoder`, booleans."""


@dataclasses.dataclass(frozen=True)
class Gate:
    """Decides which players move, by the critic's mean costs: -E log D of data, -E log(1 - D) of generated examples.

    The critic waits if either is below equilibrium - margin, the decoder if either is above equilibrium + margin; both
    move if both would wait. At equilibrium D = 1/2, and both costs are log 2. A critic that rates everything as real
    waits too, since its cost of data is low: it can be fooled for long before it moves again.

    Source: the code of Larsen et al. 2016, with margins 0.35 and 0.4; the paper does not mention it.
    """

    equilibrium: float = 0.68
    margin: float = 0.4

    def __post_init__(self):
        check_number("equilibrium", self.equilibrium, 0)
        check_number("margin", self.margin, 0)

    def __call__(self, real_cost: Array, fake_cost: Array) -> dict[str, Array]:
        """Whether the `critic` and the `decoder` move: scalar booleans."""
        low, high = jnp.minimum(real_cost, fake_cost), jnp.maximum(real_cost, fake_cost)
        critic, decoder = low >= self.equilibrium - self.margin, high <= self.equilibrium + self.margin
        neither = ~(critic | decoder)
        return lax.stop_gradient({"critic": critic | neither, "decoder": decoder | neither})

    @staticmethod
    def opened() -> dict[str, Array]:
        """The decision before the first step: both move."""
        return {"critic": jnp.bool_(True), "decoder": jnp.bool_(True)}


def gated(value: Array, moves: Array | bool) -> Array:
    """The value, with a gradient of zeros unless `moves`."""
    return jnp.where(moves, value, lax.stop_gradient(value))


def moves(critic: Collections, player: str) -> Array | bool:
    """Whether a player moves, by the critic's memory; True without a gate."""
    return critic[GATE][player] if GATE in critic else True


def waiting(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer, except that it ignores a gradient of zeros: no update, and its state stays as it was.

    Without it the moving averages of RMSProp or Adam would decay while a player waits, and Adam's momentum would move
    it.
    """

    def update(gradient, state, parameters=None):
        nonzero = jnp.any(jnp.stack([jnp.any(leaf != 0) for leaf in jax.tree.leaves(gradient)]))
        return lax.cond(
            nonzero,
            lambda: optimizer.update(gradient, state, parameters),
            lambda: (jax.tree.map(jnp.zeros_like, gradient), state),
        )

    return optax.GradientTransformation(optimizer.init, update)
