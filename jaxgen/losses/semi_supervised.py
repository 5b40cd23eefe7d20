"""Bounds of models of data and classes, where the class of some rows is not known. In nats."""

from __future__ import annotations

import chex
import jax.numpy as jnp

from jaxgen.contracts import Array


def marginal_bound(log_classes: Array, bounds: Array) -> Array:
    """sum_y q(y|x) bound(x, y) + H(q(y|x)): a bound on log p(x) of bounds on log p(x, y), by enumeration.

    Minus the U(x) of Kingma et al. 2014, "Semi-supervised Learning with Deep Generative Models", equation 7.

    Args:
        log_classes: [B, K], log q(y|x), normalised.
        bounds: [B, K], on log p(x, y), the class's own log p(y) in it.

    Returns:
        [B].
    """
    chex.assert_rank([log_classes, bounds], 2)
    chex.assert_equal_shape([log_classes, bounds])
    return (jnp.exp(log_classes) * (bounds - log_classes)).sum(-1)
