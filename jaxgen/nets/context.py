"""Conditioning by concatenation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import context_rows


def concatenate_context(x: jax.Array, context: jax.Array | None) -> jax.Array:
    """Appends a conditioning array to the last axis of `x`; None appends nothing.

    Args:
        x: [B, ..., C], a vector or an image a row.
        context: [B, D], repeated at each place of an image, or [B, ..., D] with the places of `x`; one row serves all.

    Returns:
        [B, ..., C + D].
    """
    if context is None:
        return x
    context = context_rows(context, x)
    if context.ndim not in (2, x.ndim):
        raise ValueError(f"context of shape {context.shape} does not fit data of shape {x.shape}: [B, D] is needed")
    if context.ndim == 2:
        context = context.reshape(context.shape[0], *(1,) * (x.ndim - 2), context.shape[1])
    try:
        context = jnp.broadcast_to(context, (*x.shape[:-1], context.shape[-1]))
    except ValueError:
        raise ValueError(f"context of shape {context.shape} does not fit data of shape {x.shape}") from None
    return jnp.concatenate([x, context.astype(x.dtype)], -1)
