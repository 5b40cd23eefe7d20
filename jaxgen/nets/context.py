"""Conditioning by concatenation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import broadcast_context


def concatenate_context(x: jax.Array, context: jax.Array | None) -> jax.Array:
    """Appends a conditioning array to the last axis of `x`; None appends nothing.

    Args:
        x: [B, ..., C], vectors or images.
        context: [B, D], repeated at each position, or [B, ..., D] with the positions of `x`; B may be 1 for all.

    Returns:
        [B, ..., C + D].

    Raises:
        ValueError: other shapes.
    """
    if context is None:
        return x
    context = broadcast_context(context, x)
    message = f"`context` must be [B, D] or [B, ..., D] for data of shape {x.shape}, got shape {context.shape}"
    if context.ndim not in (2, x.ndim):
        raise ValueError(message)
    if context.ndim == 2:
        context = context.reshape(context.shape[0], *(1,) * (x.ndim - 2), context.shape[1])
    try:
        context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))
    except ValueError:
        raise ValueError(message) from None
    return jnp.concatenate([x, context.astype(x.dtype)], -1)
