"""Bilinear sampling of images, affine warps, and the similarity that takes points to points.

Coordinates are (x, y) in pixels: x counts columns to the right, y rows downwards, and (0, 0) is the centre of the first
pixel. Warps are backward: they read the input where the coordinates of each pixel of the output point to.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays

Border = Literal["zero", "edge"]


def warp(images: jax.Array, coordinates: jax.Array, border: Border = "zero") -> jax.Array:
    """Bilinear samples of images, differentiable in the images and in the coordinates.

    Exact at whole pixels, so that the identity is exact. As `scipy.ndimage.map_coordinates(order=1)`, whose coordinates
    are (row, column), with mode "grid-constant" for zeros and "nearest" for the edge.

    Args:
        images: [B, H, W, C].
        coordinates: [B, h, w, 2], where to read each pixel of the output, (x, y).
        border: what lies outside of the images: zeros, or the nearest pixel of their edge.

    Returns:
        [B, h, w, C]. Where a coordinate is not finite, its pixel is NaN.
    """
    if border not in ("zero", "edge"):
        raise ValueError(f"`border` must be 'zero' or 'edge', got {border!r}")
    images, coordinates = as_arrays("B *", images=images, coordinates=coordinates)
    if images.ndim != 4 or coordinates.ndim != 4 or coordinates.shape[-1] != 2:
        raise ValueError(
            "`images` must be [B, H, W, C] and `coordinates` [B, h, w, 2], "
            f"got shapes {images.shape} and {coordinates.shape}"
        )
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode={"zero": "constant", "edge": "edge"}[border])
    flat = padded.reshape(padded.shape[0], -1, padded.shape[3])
    # beyond the border of one pixel nothing changes
    x, y = jnp.clip(coordinates[..., 0], -1, width), jnp.clip(coordinates[..., 1], -1, height)
    # the last cell ends in the border: there the weight of its far side is one
    left, top = jnp.clip(jnp.floor(x), -1, width - 1), jnp.clip(jnp.floor(y), -1, height - 1)
    right_weight, bottom_weight = (x - left)[..., None], (y - top)[..., None]
    column, row = left.astype(jnp.int32) + 1, top.astype(jnp.int32) + 1
    corner = (row * (width + 2) + column).reshape(padded.shape[0], -1)

    def read(offset: int) -> jax.Array:
        at_corner = jax.vmap(lambda image, index: image.at[index + offset].get(mode="clip"))
        return at_corner(flat, corner).reshape(*x.shape, -1)

    upper = (1 - right_weight) * read(0) + right_weight * read(1)
    lower = (1 - right_weight) * read(width + 2) + right_weight * read(width + 3)
    return (1 - bottom_weight) * upper + bottom_weight * lower


def affine_coordinates(matrices: jax.Array, height: int, width: int) -> jax.Array:
    """The coordinates [B, height, width, 2] to which matrices [B, 2, 3] take the pixels: M (x, y, 1)."""
    m = matrices[:, None, None]
    x, y = jnp.arange(width, dtype=m.dtype)[:, None], jnp.arange(height, dtype=m.dtype)[:, None, None]
    # products of matrices may be computed with fewer bits on accelerators
    return m[..., 0] * x + m[..., 1] * y + m[..., 2]


def affine_warp(images: jax.Array, matrices: jax.Array, border: Border = "zero") -> jax.Array:
    """Affine warps of images: the output at (x, y) is the input at M (x, y, 1).

    Args:
        images: [B, H, W, C].
        matrices: [B, 2, 3], from pixels of the output to pixels of the input.
        border: as in `warp`.
    """
    images, matrices = as_arrays("B *", images=images, matrices=matrices)
    if images.ndim != 4 or matrices.shape[1:] != (2, 3):
        raise ValueError(
            f"`images` must be [B, H, W, C] and `matrices` [B, 2, 3], got shapes {images.shape} and {matrices.shape}"
        )
    return warp(images, affine_coordinates(matrices, *images.shape[1:3]), border)


def similarity(points: jax.Array, targets: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """The similarity M that minimises `sum_i w_i |M (x_i, y_i, 1) - t_i|^2`: [..., 2, 3].

    M = [[a, -b, c], [b, a, d]]: rotation, scale and shift, without reflection. With p and q the points and targets less
    their means, a = sum w p.q / sum w |p|^2 and b = sum w (p_x q_y - p_y q_x) / sum w |p|^2. Points that coincide are
    shifted (a = 1, b = 0); without any weight M is the identity.

    Args:
        points, targets: [..., N, 2].
        weights: [..., N], not negative; None: one each.
    """
    points, targets = as_arrays("*", points=points, targets=targets)
    if points.shape[-1:] != (2,) or points.ndim < 2 or points.shape != targets.shape:
        raise ValueError(
            f"`points` and `targets` must be [..., N, 2] of one shape, got {points.shape} and {targets.shape}"
        )
    weights = jnp.ones_like(points[..., 0]) if weights is None else jnp.broadcast_to(weights, points.shape[:-1])
    w, total = weights[..., None], weights.sum(-1)[..., None]
    total = jnp.where(total > 0, total, 1)
    center, target_center = (w * points).sum(-2) / total, (w * targets).sum(-2) / total
    p, q = points - center[..., None, :], targets - target_center[..., None, :]
    size = (w * p**2).sum((-1, -2))
    distinct = size > 0
    size = jnp.where(distinct, size, 1)
    a = jnp.where(distinct, (w * p * q).sum((-1, -2)) / size, 1)
    b = jnp.where(distinct, (weights * (p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0])).sum(-1) / size, 0)
    c = target_center[..., 0] - (a * center[..., 0] - b * center[..., 1])
    d = target_center[..., 1] - (b * center[..., 0] + a * center[..., 1])
    return jnp.stack([jnp.stack([a, -b, c], -1), jnp.stack([b, a, d], -1)], -2)
