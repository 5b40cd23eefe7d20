"""Borders and sizes of convolutions of stride 1."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")
Padding = tuple[tuple[int, int], tuple[int, int]]
"""Rows and columns of zeros: ((above, below), (left, right))."""


def padded(x: jax.Array, padding: Padding) -> jax.Array:
    """Zeros around an image, or where padding is negative a crop."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in ((0, 0), *padding, (0, 0))])


def opposite_padding(padding: Padding, kernel: Sequence[int]) -> Padding:
    """The padding with which a convolution of the output's size gives back the input's."""
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel, padding, strict=True))


def convolved_size(x: jax.Array, other: Sequence[int], padding: Padding) -> tuple[int, int]:
    """Of a convolution of x: the output's height and width by the kernel's, or the kernel's by the output's."""
    return tuple(n + sum(p) - m + 1 for n, m, p in zip(x.shape[1:3], other, padding, strict=True))


def kernel_size(x: jax.Array, g: jax.Array, padding: Padding) -> tuple[int, int]:
    return convolved_size(x, g.shape[1:3], padding)


def shifted(x: jax.Array, kernel: Sequence[int]) -> list[jax.Array]:
    """What each place of a kernel sees of an image that needs no padding: [B H W, C] each."""
    h, w = (n - k + 1 for n, k in zip(x.shape[1:3], kernel, strict=True))
    return [x[:, i : i + h, j : j + w].reshape(-1, x.shape[-1]) for i in range(kernel[0]) for j in range(kernel[1])]
