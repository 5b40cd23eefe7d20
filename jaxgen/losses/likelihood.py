"""Maximum likelihood."""

from __future__ import annotations

import math

import jax

from jaxgen.arguments import as_arrays, check_number


def negative_log_likelihood(log_prob: jax.Array) -> jax.Array:
    """-mean_i log p(x_i), a scalar in nats.

    Args:
        log_prob: [B], in nats, summed over each event.
    """
    (log_prob,) = as_arrays("B", log_prob=log_prob)
    return -log_prob.mean()


def bits_per_dim(log_prob: jax.Array, dims: int, levels: int = 1) -> jax.Array:
    """`(-log_prob / dims + log(levels)) / log(2)`: bits per coordinate.

    Args:
        log_prob: in nats, summed over each event, any shape.
        dims: coordinates of an event (height x width x channels).
        levels: grey levels per unit of x: 1 if `log_prob` is that of integers (as `Flow.log_prob`, which includes
            dequantization), 256 if it is the density of 8-bit images scaled to an interval of length 1.

    Returns:
        The shape of `log_prob`.

    Source: Theis et al. 2016, "A note on the evaluation of generative models".
    """
    check_number("dims", dims, 1)
    check_number("levels", levels, 1)
    (log_prob,) = as_arrays("*", log_prob=log_prob)
    return (-log_prob / dims + math.log(levels)) / math.log(2)
