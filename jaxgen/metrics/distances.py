"""Distances between two sets of samples [N, ...] and [M, ...]; in the limit zero only for equal distributions.

All raise ValueError for different event shapes, too few examples, and NaN or infinite values (traced values are not
checked).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import as_arrays, check_counts, check_finite, check_number
from jaxgen.contracts import Array, Key
from jaxgen.metrics.examples import flatten_examples

CHUNK = 256
"""Examples whose distances to all others are in memory at a time."""


def wasserstein_1d(x: Array, y: Array) -> Array:
    """The Wasserstein-1 distance of numbers [N] and [M]: the area between their distribution functions, a scalar."""
    x, y = as_arrays("N", "M", x=x, y=y)
    check_finite(x=x, y=y)
    values = jnp.sort(jnp.concatenate([x, y]))
    cdf_x = jnp.searchsorted(jnp.sort(x), values[:-1], side="right") / x.shape[0]
    cdf_y = jnp.searchsorted(jnp.sort(y), values[:-1], side="right") / y.shape[0]
    return jnp.sum(jnp.abs(cdf_x - cdf_y) * jnp.diff(values))


def sliced_wasserstein(x: Array, y: Array, key: Key, projections: int = 50) -> Array:
    """The mean over random directions of the Wasserstein-1 distance of projections, in the data's units, a scalar.

    Bonneel et al. 2015, "Sliced and Radon Wasserstein Barycenters of Measures". For two sets of N samples from the same
    distribution it is about the standard deviation over sqrt(N).
    """
    check_counts(projections=projections)
    x, y = flatten_examples(x=x, y=y)
    directions = jax.random.normal(key, (projections, x.shape[1]), x.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    return jax.lax.map(lambda d: wasserstein_1d(x @ d, y @ d), directions).mean()


def mmd_squared(x: Array, y: Array, bandwidth: float | Array = 1.0, biased: bool = False) -> Array:
    """The squared maximum mean discrepancy for k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2)), a scalar.

    Gretton et al. 2012, "A Kernel Two-Sample Test".

    Args:
        bandwidth: in the data's units, such as `data_bandwidth` of the real examples.
        biased: False: equation 3, unbiased and possibly negative. True: equation 5, which includes k(a, a):
            nonnegative, with a bias of about (1 - E k) / N + (1 - E k) / M.
    """
    check_number("bandwidth", bandwidth, 0, above=True)
    (bandwidth,) = as_arrays("", bandwidth=bandwidth)
    x, y = flatten_examples(1 if biased else 2, x=x, y=y)
    # distances by products need N M numbers, not N M D; centring reduces their loss of precision
    center = x.mean(0)
    x, y = x - center, y - center

    def kernel(a: Array, others: Array) -> Array:
        squared = (a**2).sum() + (others**2).sum(1) - 2 * _products(others, a)
        return jnp.exp(-jnp.maximum(squared, 0) / (2 * bandwidth**2))

    return _discrepancy(kernel, x, y, biased)


def data_bandwidth(x: Array) -> Array:
    """The root mean squared distance between two of the examples, in the data's units, a scalar."""
    (x,) = flatten_examples(2, x=x)
    return jnp.sqrt(2 * x.var(0, ddof=1).sum())


def kernel_distance(
    real: Array, fake: Array, key: Key, subsets: int = 100, size: int = 1000
) -> tuple[Array, Array]:
    """The kernel Inception distance: the unbiased squared MMD for k(a, b) = (a.b / D + 1)^3, over random subsets.

    Binkowski et al. 2018, "Demystifying MMD GANs", section 4. Unlike `frechet_distance`, its expectation does not
    depend on the number of examples.

    Args:
        real, fake: features [N, D] and [M, D].
        subsets, size: number of subsets, and examples in each, drawn without replacement.

    Returns:
        The mean and the standard deviation over subsets.

    Raises:
        ValueError: `size` exceeds a set's number of examples.
    """
    check_counts(subsets=subsets)
    check_counts(2, size=size)
    real, fake = flatten_examples(2, real=real, fake=fake)
    for name, x in (("real", real), ("fake", fake)):
        if len(x) < size:
            raise ValueError(f"`{name}` must have at least size={size} examples, got {len(x)}")

    def kernel(a: Array, others: Array) -> Array:
        return (_products(others, a) / a.size + 1) ** 3

    def distance(key: Key) -> Array:
        keys = jax.random.split(key)
        x, y = (x[jax.random.permutation(k, len(x))[:size]] for k, x in zip(keys, (real, fake), strict=True))
        return _discrepancy(kernel, x, y, biased=False)

    distances = jax.lax.map(distance, jax.random.split(key, subsets))
    return distances.mean(), distances.std()


def _products(x: Array, a: Array) -> Array:
    """x a, [N, D] and [D] to [N], in full precision also on accelerators, since small differences matter."""
    return jnp.matmul(x, a, precision=jax.lax.Precision.HIGHEST)


def _discrepancy(kernel: Callable[[Array, Array], Array], x: Array, y: Array, biased: bool) -> Array:
    """E k(x, x') + E k(y, y') - 2 E k(x, y), for a kernel of an example [D] with others [N, D]."""

    def between(a: Array, b: Array) -> Array:
        return jax.lax.map(lambda x: kernel(x, b).mean(), a, batch_size=CHUNK).mean()

    def within(a: Array) -> Array:
        n, mean = len(a), between(a, a)
        return mean if biased else (n * mean - jax.vmap(lambda x: kernel(x, x[None])[0])(a).mean()) / (n - 1)

    return within(x) + within(y) - 2 * between(x, y)


def frechet_distance(real: Array, fake: Array) -> float:
    """`frechet_distance_of_moments` from sample means and covariances (over N - 1).

    With few examples it is biased upwards, more so in more dimensions: compare only equal numbers of examples.

    Args:
        real, fake: features [N, D] and [M, D].

    Raises:
        ValueError: a set with fewer than two examples.
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
    which is squared too. Computed on the host in float64, for the roots of nearly singular covariances.

    Args:
        mean, other_mean: [D].
        covariance, other_covariance: [D, D].
    """
    moments = dict(mean=mean, covariance=covariance, other_mean=other_mean, other_covariance=other_covariance)
    checked = as_arrays("D", "D D", "D", "D D", **moments)
    check_finite(**dict(zip(moments, checked, strict=True)))
    mean, covariance, other_mean, other_covariance = (
        np.asarray(a, np.float64) for a in (mean, covariance, other_mean, other_covariance)
    )
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    products = np.linalg.eigvalsh(root @ other_covariance @ root)
    trace = np.trace(covariance) + np.trace(other_covariance) - 2 * np.sqrt(np.maximum(products, 0)).sum()
    return float(((mean - other_mean) ** 2).sum() + max(trace, 0.0))


def wasserstein_exact(x: Array, y: Array) -> float:
    """The Wasserstein-1 distance with Euclidean cost between two sets of N examples, by optimal assignment.

    Computed on the host in O(N^3), about a second for 2,000 examples. For two sets of samples from the same
    distribution in D > 2 dimensions it falls no faster than N^(-1/D).

    Raises:
        ValueError: the sets differ in size.
    """
    flatten_examples(x=x, y=y)
    if len(x) != len(y):
        raise ValueError(f"`x` and `y` must have equally many examples, got {len(x)} and {len(y)}")
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(*(np.asarray(a, np.float64).reshape(len(a), -1) for a in (x, y)))
    return float(cost[linear_sum_assignment(cost)].mean())


def sample_distances(real: Array, fake: Array) -> dict[str, Array]:
    """`sliced_wasserstein` along fixed directions, so that values are comparable between calls."""
    real, fake = flatten_examples(real=real, fake=fake)
    return {"sliced_wasserstein": sliced_wasserstein(real, fake, jax.random.key(0))}
