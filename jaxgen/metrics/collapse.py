"""Signs of mode collapse, cheap enough for every step."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples


def distance_ratio(real: Array, fake: Array) -> Array:
    """The mean distance between two generated examples over that between two real ones, a scalar.

    About 1 for samples from the data's distribution; zero if the generator has collapsed to a point; infinite or NaN if
    all real examples are equal.

    Args:
        real, fake: [N, ...] and [M, ...], in the same units.

    Raises:
        ValueError: fewer than two examples, different event shapes, NaN or infinite values.
    """
    real, fake = flatten_examples(2, real=real, fake=fake)
    return _mean_distance(fake) / _mean_distance(real)


def _mean_distance(x: Array) -> Array:
    n = len(x)
    # centred, equal examples are zeros, and distances by products keep their precision
    x = x - x.mean(0)
    squares = (x**2).sum(1)
    squared = squares[:, None] + squares - 2 * jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.where(jnp.eye(n, dtype=bool), 0, jnp.maximum(squared, 0))
    return jnp.sqrt(squared).sum() / (n * (n - 1))
