"""How generated rows lie among real ones, by nearest neighbours: features [N, D], Euclidean distance.

A row is never its own neighbour; what lies exactly on a ball is within it. Distances are sums of squared differences,
so that equal rows are at distance zero, and equally far from everything.

All raise ValueError, naming the argument, for features of different widths, too few rows, and NaN or infinite values
(traced values are not checked).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.arguments import arrays, counts, number
from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples

ROWS = 64
"""Rows whose distances to all others are held at a time."""


def one_nearest_neighbour(real: Array, fake: Array) -> dict[str, Array]:
    """The leave-one-out accuracy of a nearest neighbour that tells real rows from generated ones.

    One half for samples of one distribution. Much higher on real rows than on generated ones, the generated ones lie in
    a part of the data; zero, they are copies of real ones. Of equally near neighbours each has an equal part in the
    answer. Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests"; Xu et al. 2018, "An empirical study on
    evaluation metrics of generative adversarial networks".

    Args:
        real, fake: [N, D] each.

    Returns:
        `nn_accuracy`, and of the rows of each kind, `nn_accuracy_real` and `nn_accuracy_fake`.

    Raises:
        ValueError: different numbers of rows, for which one half would mean nothing.
    """
    real, fake = flatten_examples(real=real, fake=fake)
    if len(real) != len(fake):
        raise ValueError(f"real and fake must have as many rows as each other, got {len(real)} and {len(fake)}")
    rows = jnp.concatenate([real, fake])
    is_real = jnp.arange(len(rows)) < len(real)

    def right(i: Array, squared: Array) -> Array:
        nearest = squared == squared.min()
        return (nearest & (is_real == is_real[i])).sum() / nearest.sum()

    accuracy = _over_others(right, rows)
    on_real, on_fake = accuracy[: len(real)].mean(), accuracy[len(real) :].mean()
    return {"nn_accuracy": (on_real + on_fake) / 2, "nn_accuracy_real": on_real, "nn_accuracy_fake": on_fake}


def precision_recall_of_manifolds(real: Array, fake: Array, k: int = 3) -> dict[str, Array]:
    """The share of generated rows on the real manifold, and of real rows on the generated one.

    A manifold is the union of balls around its rows, each up to the row's k-th nearest neighbour in its own set.
    Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models", with their k.

    Args:
        real, fake: [N, D] and [M, D].

    Returns:
        `precision`, of `fake` within the balls of `real`; `recall`, of `real` within the balls of `fake`.

    Raises:
        ValueError: a set of k rows or fewer.
    """
    real, fake = flatten_examples(real=real, fake=fake)
    _require_neighbours(k, real=real, fake=fake)

    def within(rows: Array, centers: Array) -> Array:
        radii = _squared_radii(centers, k)
        return _over(lambda squared: (squared <= radii).any(), rows, centers).mean()

    return {"precision": within(fake, real), "recall": within(real, fake)}


def density_coverage(real: Array, fake: Array, k: int = 5) -> dict[str, Array]:
    """How densely generated rows fill the balls of real ones, and the share of these balls that have any in them.

    Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models". For samples of one distribution
    the expectation of density is 1, and it may be above; that of coverage is near 1 - 2^-k for many rows, M = N.

    Args:
        real, fake: [N, D] and [M, D].

    Returns:
        `density`, the number of real balls around a generated row over k, its mean; `coverage`.

    Raises:
        ValueError: k real rows or fewer.
    """
    real, fake = flatten_examples(real=real, fake=fake)
    _require_neighbours(k, real=real)
    radii = _squared_radii(real, k)
    balls = _over(lambda squared: (squared <= radii).sum(), fake, real)
    return {"density": balls.mean() / k, "coverage": (_over(jnp.min, real, fake) <= radii).mean()}


def nearest_distances(x: Array) -> Array:
    """Of each row the distance to the nearest other one, [N]."""
    (x,) = flatten_examples(2, x=x)
    return jnp.sqrt(_squared_radii(x, 1))


def birthday_duplicates(samples: Array, threshold: float | Array) -> dict[str, Array]:
    """Pairs of samples that are nearly the same, and what their number says of the size of the support.

    N equally likely values have n (n - 1) / (2 N) equal pairs among n draws on average, so that a batch of about the
    root of the support's size has one. Arora and Zhang 2017, "Do GANs actually learn the distribution?", who look at
    the nearest pairs; a threshold has to be found for the data.

    Args:
        samples: [n, D].
        threshold: the greatest distance of duplicates.

    Returns:
        `pairs`; `support`, n (n - 1) / (2 pairs), infinite where there are none.
    """
    number("threshold", threshold, 0)
    (threshold,) = arrays("", threshold=threshold)
    (samples,) = flatten_examples(2, samples=samples)
    n, index = len(samples), jnp.arange(len(samples))
    later = _over_others(lambda i, squared: ((squared <= threshold**2) & (index > i)).sum(), samples)
    pairs = later.sum()
    return {"pairs": pairs, "support": n * (n - 1) / (2 * pairs)}


def _over(of: Callable[[Array], Array], rows: Array, others: Array) -> Array:
    """`of` the squared distances [M] of each row to the others, [N]."""
    columns = others.T
    return jax.lax.map(lambda row: of(((row[:, None] - columns) ** 2).sum(0)), rows, batch_size=ROWS)


def _over_others(of: Callable[[Array, Array], Array], rows: Array) -> Array:
    """`of` each row's index and its squared distances [N] to all rows, infinite to itself: [N]."""
    columns, index = rows.T, jnp.arange(len(rows))

    def one(i: Array) -> Array:
        squared = ((rows[i][:, None] - columns) ** 2).sum(0)
        return of(i, jnp.where(index == i, jnp.inf, squared))

    return jax.lax.map(one, index, batch_size=ROWS)


def _require_neighbours(k: int, **samples: Array) -> None:
    counts(k=k)
    for name, rows in samples.items():
        if len(rows) <= k:
            raise ValueError(f"{name} must have more rows than k={k}, got {len(rows)} rows")


def _squared_radii(rows: Array, k: int) -> Array:
    """The squared distance of each row to its k-th nearest other row, [N]."""
    return _over_others(lambda i, squared: -jax.lax.top_k(-squared, k)[0][-1], rows)
