"""Retrieval of pairs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_shapes
from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples

CHUNK = 64
"""Examples whose distances to all targets are in memory at a time."""


def retrieval_accuracy(x: Array, targets: Array) -> Array:
    """The fraction of examples whose nearest target is their own: example i belongs to target i.

    Distances are Euclidean, in pixels or in any features. If several targets are equally near, each has an equal part.
    Chance is 1 / N.

    Args:
        x, targets: [N, ...], for example translations and the pictures that they should be.

    Raises:
        ValueError: other shapes, NaN or infinite values.
    """
    check_shapes("N ...", "N ...", x=x, targets=targets)
    x, targets = flatten_examples(x=x, targets=targets)
    columns = targets.T

    def one(i: Array) -> Array:
        squared = ((x[i][:, None] - columns) ** 2).sum(0)
        nearest = squared == squared.min()
        return nearest[i] / nearest.sum()

    return jax.lax.map(one, jnp.arange(len(x)), batch_size=CHUNK).mean()
