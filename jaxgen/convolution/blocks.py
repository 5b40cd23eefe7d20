"""Pixels as channels, and back."""

from __future__ import annotations

import jax


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """Folds `factor` x `factor` neighbourhoods into channels: [B, H, W, C] to [B, H/f, W/f, C f^2], channel-major."""
    b, h, w, c = x.shape
    # flat in between: under explicit sharding a reshape may split or merge one axis
    x = x.reshape(b, -1).reshape(b, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 5, 2, 4).reshape(b, h // factor, w // factor, c * factor**2)


def depth_to_space(x: jax.Array, factor: int) -> jax.Array:
    """The inverse of `space_to_depth`: [B, H, W, C f^2] to [B, H f, W f, C]."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, c // factor**2, factor, factor)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(b, -1).reshape(b, h * factor, w * factor, c // factor**2)
