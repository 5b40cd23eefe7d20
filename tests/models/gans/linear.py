"""Games of linear networks, whose losses have a closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Clock
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.nets import MLP
from tests.models.parameters import KEY

NET = MLP(())
"""No layer at all: players are their heads."""
CONTEXT = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 0, 1]]


class Fixed(StandardDistribution):
    """A prior that always draws the same rows, all of them different."""

    def _sample(self, key, shape):
        return 2 * jnp.sin(1.0 + jnp.arange(math.prod(shape))).reshape(shape)


PRIOR = Fixed((2,))
Z = PRIOR.sample(KEY, 6)


def linear(params, x):
    """What a player without layers, or a layer, makes of x."""
    layer = params.get("head", params)
    layer = layer.get("out", layer)
    return x @ layer["kernel"] + layer["bias"]


def with_optimizer(model, optimizer):
    """The model's plays with another optimizer, as `fit(optimizers=...)` makes them."""
    return {name: play._replace(optimizer=optimizer) for name, play in model.plays().items()}


def as_written(play, variables, batch, expected, clock=Clock()):
    """The play's loss and its gradients, of the parameters of its own players, are those of `expected(params)`.

    Returns:
        The play's `LossOutput`.
    """
    params = {player: collections["params"] for player, collections in variables.items()}

    def loss(mine):
        whole = {**variables, **{player: {**variables[player], "params": mine[player]} for player in mine}}
        out = play.loss(whole, batch, KEY, clock)
        return out.value, out

    @jax.jit
    def both(mine):
        hand = jax.value_and_grad(lambda mine: expected({**params, **mine}))(mine)
        return jax.value_and_grad(loss, has_aux=True)(mine), hand

    ((value, out), gradients), (hand, hands) = both({player: params[player] for player in play.players})
    np.testing.assert_allclose(value, hand, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), gradients, hands)
    return out
