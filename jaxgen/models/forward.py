"""Forward passes of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import OTHER_VARIABLES
from jaxgen.contracts import Collections, Key


STREAMS = ("dropout", "noise")
"""Random streams of networks: `dropout` only in training mode, `noise` whenever there is a key."""
_UPDATED = ("batch_stats", "spectral")


def forward(
    network: nn.Module,
    collections: Collections,
    *inputs: Any,
    train: bool | None = None,
    key: Key | None = None,
    method: str | None = None,
) -> tuple[Any, Mapping[str, Any]]:
    """Applies a network: returns its output and the updated statistics. Every model runs its networks through it.

    Args:
        collections: the network's variables.
        inputs: the network's arguments.
        train: training mode: batch statistics, dropout and power iteration are active. None: True if there is a key.
        key: the streams `dropout` (in training mode) and `noise` are folded from it.
        method: the network's method; None: `__call__`.

    Raises:
        ValueError: the inputs, including a context, do not have the shapes that the network was initialised with.
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
            f"a network's inputs (x, and the context if there is one) must have the shapes that it was initialised "
            f"with, "
            f"got {shapes}"
        ) from error
    return output if updated else (output, {})


def without_statistics(player: str, collections: Collections) -> Collections:
    """Returns the collections.

    Raises:
        ValueError: they have batch statistics.
    """
    if "batch_stats" in collections:
        raise ValueError(
            f"the {player} must not have batch statistics, which nothing updates; use layer normalisation or none"
        )
    return collections
