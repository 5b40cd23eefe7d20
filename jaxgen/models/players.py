"""Running one player's network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import OTHER_VARIABLES
from jaxgen.contracts import Array, Collections, Key


def forward(
    network: nn.Module, collections: Collections, x: Array, key: Key | None = None
) -> tuple[Any, Mapping[str, Any]]:
    """The network's output, and the collections that changed on the way.

    Args:
        key: given, the network is training: batch statistics are the batch's, their averages move, dropout drops,
            spectral norms are approached.

    Raises:
        ValueError: inputs, a context among them, of other shapes than the network was initialised with.
    """
    moving = [name for name in ("batch_stats", "spectral") if name in collections]
    try:
        if key is None:
            return network.apply(collections, x), {}
        return network.apply(collections, x, mutable=moving, rngs={"dropout": key})
    except OTHER_VARIABLES as error:
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(x))
        raise ValueError(
            f"a network was given x, and context where there is one, of shapes {shapes}: it was initialised with "
            "others, or with and without a context"
        ) from error


def without_statistics(player: str, collections: Collections) -> Collections:
    """The collections, as they are.

    Raises:
        ValueError: batch statistics among them.
    """
    if "batch_stats" in collections:
        raise ValueError(f"the {player} has batch statistics, which nothing moves: use layer normalisation or none")
    return collections
