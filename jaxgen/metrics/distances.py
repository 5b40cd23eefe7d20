"""Distances between two sets of samples [N, ...] and [M, ...]; in the limit zero for equal distributions only."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key


def _rows(x: Array) -> Array:
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
    return x.reshape(x.shape[0], -1)


def wasserstein_1d(x: Array, y: Array) -> Array:
    """The Wasserstein-1 distance of two sets of numbers, [N] and [M]: the area between their distribution functions."""
    values = jnp.sort(jnp.concatenate([x, y]))
    under_x = jnp.searchsorted(jnp.sort(x), values[:-1], side="right") / x.shape[0]
    under_y = jnp.searchsorted(jnp.sort(y), values[:-1], side="right") / y.shape[0]
    return jnp.sum(jnp.abs(under_x - under_y) * jnp.diff(values))


def sliced_wasserstein(x: Array, y: Array, key: Key, projections: int = 50) -> Array:
    """The mean over random directions of the Wasserstein-1 distance of the projections, in the data's units.

    Bonneel et al. 2015, "Sliced and Radon Wasserstein Barycenters of Measures". Between two samples of one distribution
    it is of the order of their spread over the root of their number.
    """
    x, y = _rows(x), _rows(y)
    directions = jax.random.normal(key, (projections, x.shape[1]), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    return jax.lax.map(lambda d: wasserstein_1d(x @ d, y @ d), directions).mean()


def mmd_squared(x: Array, y: Array, bandwidth: float = 1.0) -> Array:
    """The unbiased estimate of the squared maximum mean discrepancy of k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)).

    Gretton et al. 2012, "A Kernel Two-Sample Test", equation 3. It may be negative: no root is taken.
    """
    x, y = _rows(x), _rows(y)
    # distances by products, which takes N M numbers instead of N M D, lose fewer digits around a common middle
    middle = x.mean(0)
    x, y = x - middle, y - middle

    def kernel(a, b):
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        return jnp.exp(-jnp.maximum(squared, 0) / (2 * bandwidth**2))

    def between_others(a):
        n = a.shape[0]
        return (kernel(a, a).sum() - n) / (n * (n - 1))

    return between_others(x) + between_others(y) - 2 * kernel(x, y).mean()


def sample_distances(real: Array, fake: Array) -> dict[str, Array]:
    """`sliced_wasserstein` along directions that are always the same, so that figures compare from call to call."""
    return {"sliced_wasserstein": sliced_wasserstein(real, fake, jax.random.key(0))}
