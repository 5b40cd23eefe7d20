"""Sharpness of images."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_finite
from jaxgen.contracts import Array


def laplacian_energy(x: Array) -> Array:
    """The mean over positions and channels of (4 x - the four neighbours)^2, per image in squared units of x: [B].

    Blur lowers it and noise raises it: compare the mean over generated images with that over real ones, whose ratio is
    1 for images as sharp. The border is left out.

    Args:
        x: [B, H, W, C], at least 3 pixels a side.

    Raises:
        ValueError: another shape, images that are too small, NaN or infinite values.
    """
    (x,) = as_arrays("B H W C", x=x)
    check_finite(x=x)
    if min(x.shape[1:3]) < 3:
        raise ValueError(f"`x` must be images of at least 3 pixels a side, got shape {x.shape}")
    x = x.astype(jnp.float32)
    neighbours = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return ((4 * x[:, 1:-1, 1:-1] - neighbours) ** 2).mean((1, 2, 3))
