"""Running a player's network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import OTHER_VARIABLES
from jaxgen.contracts import Collections, Key


STREAMS = ("dropout", "noise")
"""Random streams that networks may draw from: `dropout` only in training, `noise` wherever there is a key."""
_UPDATED = ("batch_stats", "spectral")


def forward(
    network: nn.Module,
    collections: Collections,
    *inputs: Any,
    train: bool | None = None,
    key: Key | None = None,
    method: str | None = None,
) -> tuple[Any, Mapping[str, Any]]:
    """A network's output, and the statistics that the pass updated: the one way that models run networks.

    Args:
        inputs: what the network is called with.
        train: training mode: batch statistics, dropout and power iteration are active. None: True if there is a key.
        key: the streams `dropout` (in training) and `noise` are folded from it.
        method: of the network; None: its `__call__`.

    Raises:
        ValueError: inputs, a context among them, of other shapes than the network was initialised with.
    """
    train = key is not None if train is None else train
    streams = {} if key is None else {name: jax.random.fold_in(key, i) for i, name in enumerate(STREAMS)}
    if not train:
        streams.pop("dropout", None)
    updated = [name for name in _UPDATED if train and name in collections]
    try:
        output = network.apply(collections, *inputs, rngs=streams, mutable=updated or False, method=method)
    except OTHER_VARIABLES as error:
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(inputs))
        raise ValueError(
            f"a network got inputs (x, and the context if there is one) of shapes {shapes}; it was initialised with "
            "other shapes, or with and without a context"
        ) from error
    return output if updated else (output, {})


def without_statistics(player: str, collections: Collections) -> Collections:
    """The collections, as they are.

    Raises:
        ValueError: batch statistics among them.
    """
    if "batch_stats" in collections:
        raise ValueError(f"the {player} has batch statistics, which nothing moves: use layer normalisation or none")
    return collections
