"""Signs of a collapsing generator that are cheap enough for every step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples


def distance_ratio(real: Array, fake: Array) -> Array:
    """The mean distance between two generated rows of a batch over that between two real ones, a scalar.

    About 1 for samples of the data's distribution; it falls to zero when a generator collapses to a point. Where all
    real rows are equal there is no such figure: it is infinite or not a number.

    Args:
        real, fake: [N, ...] and [M, ...], in the same units.

    Raises:
        ValueError: fewer than two rows; rows of different shapes; NaN or infinite values.
    """
    real, fake = flatten_examples(2, real=real, fake=fake)
    return _mean_distance(fake) / _mean_distance(real)


def _mean_distance(x: Array) -> Array:
    n = len(x)
    # around their own middle equal rows are zeros, and distances by products have all their digits
    x = x - x.mean(0)
    squares = (x**2).sum(1)
    squared = squares[:, None] + squares - 2 * jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.where(jnp.eye(n, dtype=bool), 0, jnp.maximum(squared, 0))
    return jnp.sqrt(squared).sum() / (n * (n - 1))
