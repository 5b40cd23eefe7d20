"""Scales data to the interval that a network sees, and back."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.arguments import as_events, check_range
from jaxgen.contracts import Array


def from_data(x: Array, event_shape: tuple[int, ...], levels: int | None, low: float = 0.0, high: float = 1.0) -> Array:
    """Scales data [B, *event_shape]: integers 0..levels-1 linearly to [low, high]; floats are left as they are.

    Raises:
        ValueError: the event shape differs; integers without `levels`, or floats with them; concrete integers outside
            0..levels-1 (traced ones are not checked).
    """
    x = as_events("x", x, event_shape)
    if 0 in x.shape:
        raise ValueError(f"`x` must have at least one example, got shape {x.shape}")
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    if floating and levels is not None:
        raise ValueError(f"the model expects integers 0..{levels - 1}, got {x.dtype}; levels=None is for floats")
    if not floating and levels is None:
        raise ValueError(f"the model expects floats, got {x.dtype}; integers require a number of levels")
    if not floating:
        check_range("x", x, 0, levels - 1, whole=True)
    return x if floating else low + (high - low) / (levels - 1) * x.astype(jnp.float32)


def to_data(y: Array, levels: int | None, low: float = 0.0, high: float = 1.0) -> Array:
    """The inverse of `from_data`, to the nearest level: uint8 up to 256 levels, int32 above."""
    if levels is None:
        return y
    nearest = jnp.round((y - low) * ((levels - 1) / (high - low)))
    return jnp.clip(nearest, 0, levels - 1).astype(jnp.uint8 if levels <= 256 else jnp.int32)
