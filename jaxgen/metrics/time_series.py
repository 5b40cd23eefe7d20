"""Metrics of generated time series, [N, T, D]; they see what scores of sliced or flattened series do not."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_counts, check_finite, check_shapes
from jaxgen.contracts import Array
from jaxgen.metrics.examples import flatten_examples

CHUNK = 64
"""Examples whose distances to all others are in memory at a time."""


def autocorrelation(x: Array, lags: int = 5) -> Array:
    """The mean over series of the autocorrelation of each column at lags 1, ..., `lags`: [lags, D].

    That of a series at lag k is sum_t (x_t - m) (x_(t+k) - m) / sum_t (x_t - m)^2 with its own mean m, so that it does
    not depend on a series' level and scale; of a constant series it is 0. The sum in the numerator has k terms less:
    independent values have about -1 / T.

    Raises:
        ValueError: `lags` is not below T; NaN or infinite values.
    """
    x = _series(lags, x=x)[0]
    return _autocorrelation(x, lags)


def autocorrelation_error(real: Array, fake: Array, lags: int = 5) -> Array:
    """The mean over lags of |autocorrelation of real - that of generated series| of each column, [D].

    Zero if time order is right. Unlike classifiers and predictors that are small, it tells series whose steps are
    shuffled, and constant ones with noise, from data with slow changes. Columns are compared one by one: it does not
    see whether they belong together.

    Args:
        real, fake: [N, T, D] and [M, T, D].

    Raises:
        ValueError: other shapes, `lags` is not below T, NaN or infinite values.
    """
    real, fake = _series(lags, real=real, fake=fake)
    return jnp.abs(_autocorrelation(real, lags) - _autocorrelation(fake, lags)).mean(0)


def nearest_training_ratio(fake: Array, train: Array, held_out: Array) -> Array:
    """The median distance of generated examples to their nearest training example, over that of held-out examples.

    One if generated examples are as far from the training examples as new data are; zero for copies; above one if they
    are unlike any data. Distances are Euclidean, over all steps and columns.

    Args:
        fake, train, held_out: [N, ...], [M, ...] and [K, ...].

    Raises:
        ValueError: different event shapes; NaN or infinite values.
    """
    check_shapes("N ...", "M ...", "K ...", fake=fake, train=train, held_out=held_out)
    fake, train = flatten_examples(fake=fake, train=train)
    (held_out,) = flatten_examples(held_out=held_out)
    columns = train.T

    def median(x: Array) -> Array:
        def nearest(a: Array) -> Array:
            return ((a[:, None] - columns) ** 2).sum(0).min()

        return jnp.median(jnp.sqrt(jax.lax.map(nearest, x, batch_size=CHUNK)))

    return median(fake) / median(held_out)


def _series(lags: int, **series: Array) -> tuple[Array, ...]:
    check_counts(lags=lags)
    values = as_arrays(*("N T D", "M T D")[: len(series)], **series)
    checked = dict(zip(series, values, strict=True))
    check_finite(**checked)
    if lags >= values[0].shape[1]:
        raise ValueError(f"`lags` must be below the {values[0].shape[1]} steps of the series, got {lags}")
    return values


def _autocorrelation(x: Array, lags: int) -> Array:
    x = x - x.mean(1, keepdims=True)
    power = (x**2).sum(1)
    # below the rounding of the mean a series is constant
    varies = power > 1e-12
    products = jnp.stack([(x[:, lag:] * x[:, :-lag]).sum(1) for lag in range(1, lags + 1)])
    return jnp.where(varies, products / jnp.where(varies, power, 1.0), 0.0).mean(1)
