"""Exponentials that stay finite, and so do their gradients."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp


def bounded_exp(x: jax.Array) -> jax.Array:
    """exp(x) for x <= b, and above it the tangent exp(b) (1 + x - b), elementwise.

    b is three quarters of the logarithm of the greatest float, 66.5 in float32: products with what it is multiplied by
    are finite, and so are gradients. A variance below exp(-b) is far below what the rounding of a mean resolves.
    """
    bound = _bound(x)
    return jnp.exp(jnp.minimum(x, bound)) * (1 + jnp.maximum(x - bound, 0))


def bounded_expm1(x: jax.Array) -> jax.Array:
    """`bounded_exp(x) - 1` with all digits near zero."""
    bound = _bound(x)
    return jnp.expm1(jnp.minimum(x, bound)) + math.exp(bound) * jnp.maximum(x - bound, 0)


def _bound(x: jax.Array) -> float:
    return math.log(float(jnp.finfo(jnp.result_type(x, float)).max)) * 0.75
