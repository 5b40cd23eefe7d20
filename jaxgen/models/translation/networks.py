"""Networks with their last layers, and the statistics that they normalise by at test time."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Collections, Key
from jaxgen.models.forward import forward
from jaxgen.models.gans.networks import apply_condition
from jaxgen.nets.heads import EventHead

Statistics = Literal["picture", "batch", "running"]
"""What batch normalisation uses at test time: each picture's own statistics, the batch's, or the averages of training.

The first two are training mode, for batches of one and for whole batches; with the first, a translation does not depend
on the other pictures of its batch. Other normalisations are the same in all three.
"""


class Translator(nn.Module):
    """Examples of one domain to those of another, as networks see them: a network and its last layer.

    Attributes:
        network: from [B, ...] to features.
        event_shape: of the other domain.
        bounded: whether the last layer is a tanh.
        kernel_size, padding: of the last layer if the features have the resolution of the image (`EventHead`).
    """

    network: nn.Module
    event_shape: tuple[int, ...]
    bounded: bool
    kernel_size: int = 3
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return self.output(self.network(x))

    def output(self, features: jax.Array) -> jax.Array:
        """The last layer, for use in `__call__`."""
        y = EventHead(self.event_shape, 1, self.kernel_size, self.padding, name="head")(features)[..., 0]
        return jnp.tanh(y) if self.bounded else y


class ConditionalCritic(nn.Module):
    """A critic of y given x: `network` on y as `condition` modifies it by x (`jaxgen.nets.conditioning`)."""

    network: nn.Module
    condition: nn.Module

    @nn.compact
    def __call__(self, y: jax.Array, x: jax.Array) -> jax.Array:
        return self.network(apply_condition(self.condition, y, x))


def translated(
    network: nn.Module, collections: Collections, x: Array, statistics: Statistics = "running", key: Key | None = None
) -> Array:
    """A network's output at test time, with the given statistics; its noise is active if there is a key."""
    if statistics != "picture" or "batch_stats" not in collections:
        return forward(network, collections, x, train=statistics == "batch", key=key)[0]

    def one(x: Array, i: Array) -> Any:
        own = None if key is None else jax.random.fold_in(key, i)
        return forward(network, collections, x[None], train=True, key=own)[0][0]

    return jax.vmap(one)(x, jnp.arange(x.shape[0]))
