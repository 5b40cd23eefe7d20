"""Maximum likelihood."""

from __future__ import annotations

import math

import jax

from jaxgen.arguments import arrays, number


def negative_log_likelihood(log_prob: jax.Array) -> jax.Array:
    """-mean_i log p(x_i), in the units of `log_prob` (nats).

    Args:
        log_prob: [B], summed over each event.

    Returns:
        A scalar.
    """
    (log_prob,) = arrays("B", log_prob=log_prob)
    return -log_prob.mean()


def bits_per_dim(log_prob: jax.Array, dims: int, levels: int = 1) -> jax.Array:
    """`(-log_prob / dims + log(levels)) / log(2)`: bits that a code by this model takes for one coordinate.

    Args:
        log_prob: nats, summed over each event, any shape.
        dims: coordinates of an event (height x width x channels).
        levels: how many grey levels one unit of x holds: 1 if `log_prob` is of the integers already (as `Flow` gives
            it, its dequantization included), 256 if it is a density of 8-bit images scaled to an interval of length 1.

    Returns:
        The shape of `log_prob`.

    Source: Theis et al. 2016, "A note on the evaluation of generative models".
    """
    number("dims", dims, 1)
    number("levels", levels, 1)
    (log_prob,) = arrays("*", log_prob=log_prob)
    return (-log_prob / dims + math.log(levels)) / math.log(2)
