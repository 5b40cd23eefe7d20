"""Distances between two sets of samples [N, ...] and [M, ...]; in the limit zero for equal distributions only.

All raise ValueError, naming the argument, for samples of different shapes, too few rows, and NaN or infinite values
(traced values are not checked).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import arrays, check_finite, counts, number
from jaxgen.contracts import Array, Key
from jaxgen.metrics.examples import flatten_examples

ROWS = 256
"""Rows whose distances to all others are held at a time."""


def wasserstein_1d(x: Array, y: Array) -> Array:
    """The Wasserstein-1 distance of two sets of numbers, [N] and [M]: the area between their distribution functions."""
    x, y = arrays("N", "M", x=x, y=y)
    check_finite(x=x, y=y)
    values = jnp.sort(jnp.concatenate([x, y]))
    under_x = jnp.searchsorted(jnp.sort(x), values[:-1], side="right") / x.shape[0]
    under_y = jnp.searchsorted(jnp.sort(y), values[:-1], side="right") / y.shape[0]
    return jnp.sum(jnp.abs(under_x - under_y) * jnp.diff(values))


def sliced_wasserstein(x: Array, y: Array, key: Key, projections: int = 50) -> Array:
    """The mean over random directions of the Wasserstein-1 distance of the projections, in the data's units.

    Bonneel et al. 2015, "Sliced and Radon Wasserstein Barycenters of Measures". Between two samples of one distribution
    it is of the order of their spread over the root of their number.
    """
    counts(projections=projections)
    x, y = flatten_examples(x=x, y=y)
    directions = jax.random.normal(key, (projections, x.shape[1]), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    return jax.lax.map(lambda d: wasserstein_1d(x @ d, y @ d), directions).mean()


def mmd_squared(x: Array, y: Array, bandwidth: float | Array = 1.0, biased: bool = False) -> Array:
    """The squared maximum mean discrepancy of k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)), a scalar.

    Gretton et al. 2012, "A Kernel Two-Sample Test". No root is taken: the unbiased estimate may be negative.

    Args:
        bandwidth: in the data's units; `data_bandwidth` of the real rows suits any data.
        biased: equation 5, which counts each row's likeness to itself: never negative, and too great by about
            (1 - E k) / N + (1 - E k) / M. Else equation 3, without.
    """
    number("bandwidth", bandwidth, 0, above=True)
    (bandwidth,) = arrays("", bandwidth=bandwidth)
    x, y = flatten_examples(1 if biased else 2, x=x, y=y)
    # distances by products, which takes N M numbers instead of N M D, lose fewer digits around a common middle
    middle = x.mean(0)
    x, y = x - middle, y - middle

    def kernel(row: Array, others: Array) -> Array:
        squared = (row**2).sum() + (others**2).sum(1) - 2 * _products(others, row)
        return jnp.exp(-jnp.maximum(squared, 0) / (2 * bandwidth**2))

    return _discrepancy(kernel, x, y, biased)


def data_bandwidth(x: Array) -> Array:
    """The root of the mean squared distance between two of the rows, in the data's units, a scalar."""
    (x,) = flatten_examples(2, x=x)
    return jnp.sqrt(2 * x.var(0, ddof=1).sum())


def kernel_distance(
    real: Array, fake: Array, key: Key, subsets: int = 100, size: int = 1000
) -> tuple[Array, Array]:
    """The kernel Inception distance: unbiased `mmd_squared` of k(a, b) = (a.b / D + 1)^3, its mean over random subsets.

    Binkowski et al. 2018, "Demystifying MMD GANs", section 4. Unlike `frechet_distance` its expectation does not depend
    on the number of rows.

    Args:
        real, fake: features [N, D] and [M, D].
        subsets, size: how many are drawn, and the rows of each, taken without replacement.

    Returns:
        The mean and the standard deviation over subsets.

    Raises:
        ValueError: subsets larger than one of the sets.
    """
    counts(subsets=subsets)
    counts(2, size=size)
    real, fake = flatten_examples(2, real=real, fake=fake)
    for name, rows in (("real", real), ("fake", fake)):
        if len(rows) < size:
            raise ValueError(f"{name} must have at least size={size} rows, got {len(rows)}: give a smaller size")

    def kernel(row: Array, others: Array) -> Array:
        return (_products(others, row) / row.size + 1) ** 3

    def distance(key: Key) -> Array:
        keys = jax.random.split(key)
        x, y = (rows[jax.random.permutation(k, len(rows))[:size]] for k, rows in zip(keys, (real, fake), strict=True))
        return _discrepancy(kernel, x, y, biased=False)

    distances = jax.lax.map(distance, jax.random.split(key, subsets))
    return distances.mean(), distances.std()


def _products(x: Array, row: Array) -> Array:
    """Of each row with one, in full precision, which accelerators take only when asked: small differences matter."""
    return jnp.matmul(x, row, precision=jax.lax.Precision.HIGHEST)


def _discrepancy(kernel: Callable[[Array, Array], Array], x: Array, y: Array, biased: bool) -> Array:
    """E k(x, x') + E k(y, y') - 2 E k(x, y), for a kernel of one row [D] with others [N, D]."""

    def between(a: Array, b: Array) -> Array:
        return jax.lax.map(lambda row: kernel(row, b).mean(), a, batch_size=ROWS).mean()

    def within(a: Array) -> Array:
        n, mean = len(a), between(a, a)
        return mean if biased else (n * mean - jax.vmap(lambda row: kernel(row, row[None])[0])(a).mean()) / (n - 1)

    return within(x) + within(y) - 2 * between(x, y)


def frechet_distance(real: Array, fake: Array) -> float:
    """`frechet_distance_of_moments` of the rows' own means and covariances (over N - 1).

    With few rows it is too great, the more so the more dimensions: compare figures of equal numbers of rows alone.

    Args:
        real, fake: features [N, D] and [M, D].

    Raises:
        ValueError: a set of fewer than two rows.
    """

    flatten_examples(2, real=real, fake=fake)

    def moments(x: Array) -> tuple[np.ndarray, np.ndarray]:
        x = np.asarray(x, np.float64).reshape(len(x), -1)
        centred = x - x.mean(0)
        return x.mean(0), centred.T @ centred / (len(x) - 1)

    return frechet_distance_of_moments(*moments(real), *moments(fake))


def frechet_distance_of_moments(
    mean: np.ndarray, covariance: np.ndarray, other_mean: np.ndarray, other_covariance: np.ndarray
) -> float:
    """The squared Frechet (Wasserstein-2) distance of two normals: |m - m'|^2 + tr(S + S' - 2 (S^1/2 S' S^1/2)^1/2).

    Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", equation 6,
    which is not a root either. On the host, in float64: the root of a singular covariance has no digits to lose.

    Args:
        mean, other_mean: [D].
        covariance, other_covariance: [D, D].
    """
    given = dict(mean=mean, covariance=covariance, other_mean=other_mean, other_covariance=other_covariance)
    checked = arrays("D", "D D", "D", "D D", **given)
    check_finite(**dict(zip(given, checked, strict=True)))
    mean, covariance, other_mean, other_covariance = (
        np.asarray(a, np.float64) for a in (mean, covariance, other_mean, other_covariance)
    )
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    products = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.maximum(products, 0)).sum()
    return float(((mean - other_mean) ** 2).sum() + max(trace, 0.0))


def wasserstein_exact(x: Array, y: Array) -> float:
    """The Wasserstein-1 distance of Euclidean cost between two sets of N rows, by their best assignment.

    On the host, in a time of N^3: a second or so for 2,000 rows. Between two samples of one distribution in D > 2
    dimensions it falls no faster than N^(-1/D).

    Raises:
        ValueError: sets of different numbers of rows.
    """
    flatten_examples(x=x, y=y)
    if len(x) != len(y):
        raise ValueError(f"x and y must have as many rows as each other, got {len(x)} and {len(y)}")
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(*(np.asarray(a, np.float64).reshape(len(a), -1) for a in (x, y)))
    return float(cost[linear_sum_assignment(cost)].mean())


def sample_distances(real: Array, fake: Array) -> dict[str, Array]:
    """`sliced_wasserstein` along directions that are always the same, so that figures compare from call to call."""
    real, fake = flatten_examples(real=real, fake=fake)
    return {"sliced_wasserstein": sliced_wasserstein(real, fake, jax.random.key(0))}
