"""Nearest-neighbour metrics of generated and real examples: features [N, D], Euclidean distance.

An example is not its own neighbour; balls are closed. Distances are sums of squared differences, so equal examples have
distance zero and equal distances to all others.

All raise ValueError for features with different D, too few examples, and NaN or infinite values (traced values are not
checked).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_counts, check_number
from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples

CHUNK = 64
"""Examples whose distances to all others are in memory at a time."""


def one_nearest_neighbour(real: Array, fake: Array) -> dict[str, Array]:
    """The leave-one-out accuracy of a nearest-neighbour classifier of real and generated examples.

    One half for equal distributions; zero for copies of real examples; much higher on real than on generated examples
    if the latter cover a part of the data. Equally near neighbours have equal weights. Lopez-Paz and Oquab 2017,
    "Revisiting Classifier Two-Sample Tests"; Xu et al. 2018, "An empirical study on evaluation metrics of generative
    adversarial networks".

    Args:
        real, fake: [N, D] each.

    Returns:
        `nn_accuracy`, and on each set, `nn_accuracy_real` and `nn_accuracy_fake`.

    Raises:
        ValueError: the sets differ in size, for which one half has no meaning.
    """
    real, fake = flatten_examples(real=real, fake=fake)
    if len(real) != len(fake):
        raise ValueError(f"`real` and `fake` must have equally many examples, got {len(real)} and {len(fake)}")
    both = jnp.concatenate([real, fake])
    is_real = jnp.arange(len(both)) < len(real)

    def correct(i: Array, squared: Array) -> Array:
        nearest = squared == squared.min()
        return (nearest & (is_real == is_real[i])).sum() / nearest.sum()

    accuracy = _over_others(correct, both)
    on_real, on_fake = accuracy[: len(real)].mean(), accuracy[len(real) :].mean()
    return {"nn_accuracy": (on_real + on_fake) / 2, "nn_accuracy_real": on_real, "nn_accuracy_fake": on_fake}


def precision_recall_of_manifolds(real: Array, fake: Array, k: int = 3) -> dict[str, Array]:
    """The fractions of generated examples on the real manifold and of real examples on the generated one.

    A manifold is the union of balls around a set's examples, each with the radius to its k-th nearest neighbour.
    Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", with their k.

    Args:
        real, fake: [N, D] and [M, D].

    Returns:
        `precision`, of `fake` within the balls of `real`; `recall`, of `real` within the balls of `fake`.

    Raises:
        ValueError: a set with k examples or fewer.
    """
    real, fake = flatten_examples(real=real, fake=fake)
    _require_neighbours(k, real=real, fake=fake)

    def within(x: Array, centers: Array) -> Array:
        radii = _squared_radii(centers, k)
        return _over(lambda squared: (squared <= radii).any(), x, centers).mean()

    return {"precision": within(fake, real), "recall": within(real, fake)}


def density_coverage(real: Array, fake: Array, k: int = 5) -> dict[str, Array]:
    """The density of generated examples in the balls of real ones, and the fraction of these balls that have any.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models". For equal distributions, density
    has expectation 1 (single values may be higher) and coverage approaches 1 - 2^-k for large M = N.

    Args:
        real, fake: [N, D] and [M, D].

    Returns:
        `density`, the mean over generated examples of the number of real balls around them, over k; `coverage`.

    Raises:
        ValueError: k real examples or fewer.
    """
    real, fake = flatten_examples(real=real, fake=fake)
    _require_neighbours(k, real=real)
    radii = _squared_radii(real, k)
    balls = _over(lambda squared: (squared <= radii).sum(), fake, real)
    return {"density": balls.mean() / k, "coverage": (_over(jnp.min, real, fake) <= radii).mean()}


def nearest_distances(x: Array) -> Array:
    """Distances from each example to its nearest neighbour, [N]."""
    (x,) = flatten_examples(2, x=x)
    return jnp.sqrt(_squared_radii(x, 1))


def birthday_duplicates(samples: Array, threshold: float | Array) -> dict[str, Array]:
    """The number of near-duplicate pairs among samples, and the size of the support estimated from it.

    n samples of N equally likely values have n (n - 1) / (2 N) equal pairs on average. Arora and Zhang 2017, "Do GANs
    actually learn the distribution?", who inspect the nearest pairs; the threshold depends on the data.

    Args:
        samples: [n, D].
        threshold: the greatest distance of duplicates.

    Returns:
        `pairs`; `support`, n (n - 1) / (2 pairs), infinite without pairs.
    """
    check_number("threshold", threshold, 0)
    (threshold,) = as_arrays("", threshold=threshold)
    (samples,) = flatten_examples(2, samples=samples)
    n, index = len(samples), jnp.arange(len(samples))
    later = _over_others(lambda i, squared: ((squared <= threshold**2) & (index > i)).sum(), samples)
    pairs = later.sum()
    return {"pairs": pairs, "support": n * (n - 1) / (2 * pairs)}


def _over(function: Callable[[Array], Array], x: Array, others: Array) -> Array:
    """`function` of the squared distances [M] of each example of x to the others, [N]."""
    columns = others.T
    return jax.lax.map(lambda a: function(((a[:, None] - columns) ** 2).sum(0)), x, batch_size=CHUNK)


def _over_others(function: Callable[[Array, Array], Array], x: Array) -> Array:
    """`function` of each example's index and squared distances [N] to all examples, infinite to itself: [N]."""
    columns, index = x.T, jnp.arange(len(x))

    def one(i: Array) -> Array:
        squared = ((x[i][:, None] - columns) ** 2).sum(0)
        return function(i, jnp.where(index == i, jnp.inf, squared))

    return jax.lax.map(one, index, batch_size=CHUNK)


def _require_neighbours(k: int, **samples: Array) -> None:
    check_counts(k=k)
    for name, x in samples.items():
        if len(x) <= k:
            raise ValueError(f"`{name}` must have more than k={k} examples, got {len(x)}")


def _squared_radii(x: Array, k: int) -> Array:
    """The squared distance of each example to its k-th nearest neighbour, [N]."""
    return _over_others(lambda i, squared: -jax.lax.top_k(-squared, k)[0][-1], x)
