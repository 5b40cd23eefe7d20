"""Resampling of images by the binomial filter [1, 3, 3, 1] in each direction, with zeros around the image.

Source: Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN"; Zhang 2019, "Making Convolutional
Networks Shift-Invariant Again".
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

HEIGHT, WIDTH = 1, 2
"""The axes of images [B, H, W, C]."""


def smooth(x: jax.Array, padding: tuple[int, int], stride: int = 1) -> jax.Array:
    """Weighted means by [1, 3, 3, 1] / 8 in both directions: [B, H, W, C] to [B, (H + p - 3) / stride, ..., C].

    Args:
        padding: zeros before and after each of both axes, p in all.
    """
    for axis in (HEIGHT, WIDTH):
        pads = [(0, 0)] * x.ndim
        pads[axis] = padding
        x = jnp.pad(x, pads)
        n = x.shape[axis] - 3
        first, second, third, fourth = (lax.slice_in_dim(x, t, t + n, stride, axis) for t in range(4))
        x = (first + fourth + 3 * (second + third)) / 8
    return x


def downsample(x: jax.Array) -> jax.Array:
    """Halves the resolution: [B, H, W, C] to [B, H/2, W/2, C]."""
    return smooth(x, (1, 1), stride=2)


def upsample(x: jax.Array) -> jax.Array:
    """Doubles the resolution: [B, H, W, C] to [B, 2H, 2W, C]; each pixel is 3/4 of the nearest and 1/4 of the next."""
    for axis in (HEIGHT, WIDTH):
        n, pads = x.shape[axis], [(0, 0)] * x.ndim
        pads[axis] = (1, 1)
        padded = jnp.pad(x, pads)
        before, after = lax.slice_in_dim(padded, 0, n, axis=axis), lax.slice_in_dim(padded, 2, n + 2, axis=axis)
        pairs = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pairs.reshape(*x.shape[:axis], 2 * n, *x.shape[axis + 1 :])
    return x
