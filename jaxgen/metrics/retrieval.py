"""Retrieval: whether a translation is nearest to its own target."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays
from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples
from jaxgen.metrics.neighbours import CHUNK


def retrieval_accuracy(
    translated: Array, targets: Array, features: Callable[[Array], Array] | None = None
) -> Array:
    """The fraction of translations whose nearest target, by Euclidean distance, is that of the same index.

    It scores translations learned without pairs against held-out pairs. Of equally near targets each has equal weight,
    so that constant translations score 1/N.

    Args:
        translated, targets: [N, ...], in the same units.
        features: from either to features, between which distances are taken; None: the values themselves.

    Raises:
        ValueError: different shapes, NaN or infinite values (traced values are not checked).
    """
    translated, targets = as_arrays("N ...", translated=translated, targets=targets)
    if features is not None:
        translated, targets = features(translated), features(targets)
    translated, targets = flatten_examples(translated=translated, targets=targets)
    columns, index = targets.T, jnp.arange(len(targets))

    def own(pair: tuple[Array, Array]) -> Array:
        x, i = pair
        squared = ((x[:, None] - columns) ** 2).sum(0)
        nearest = squared == squared.min()
        return (nearest & (index == i)).sum() / nearest.sum()

    return jax.lax.map(own, (translated, index), batch_size=CHUNK).mean()
