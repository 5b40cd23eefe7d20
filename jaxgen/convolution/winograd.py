"""Convolutions with 3x3 kernels in 16 products a tile in place of 36.

Winograd's F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308), with tiles 4x4 of x and 2x2 of the output:

    convolution        A^T ((G g G^T) (B^T x B)) A
    kernel's gradient  G^T (sum over tiles of (B^T x B) (A y A^T)) G
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.convolution.padding import Padding, convolved_size, padded

_FEWEST_TILES = 16  # from which the image outweighs the kernel's transform
_TILES, _GRADIENT_TILES = 512, 1024  # that are transformed at a time, about


def fits(x: jax.Array, kernel: Sequence[int], outputs: Sequence[int]) -> bool:
    """Whether a convolution of x with a kernel and an output of these sizes can take this form, and gains by it."""
    even = outputs[0] % 2 == outputs[1] % 2 == 0
    tiles = x.shape[0] * math.prod(outputs) // 4
    return tuple(kernel) == (3, 3) and even and tiles >= _FEWEST_TILES and x.dtype.itemsize >= 4


def convolution(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """A convolution with a 3x3 kernel, outputs even in height and width."""
    return from_tiles(x, transformed(kernel), padding, 1, (0, 1, 2, 3))


def transformed(kernel: jax.Array) -> jax.Array:
    """`G g G^T` of a 3x3 kernel [3, 3, C, D]: [16, C, D]."""
    shape = kernel.shape[2:]
    for _ in range(2):  # rows, then columns
        half_sum, half = (kernel[0] + kernel[2]) / 2, kernel[1] / 2
        kernel = jnp.stack([kernel[0], half_sum + half, half_sum - half, kernel[2]]).swapaxes(0, 1)
    return kernel.reshape(16, *shape)


def from_tiles(
    x: jax.Array, kernel: jax.Array, padding: Padding, contracted: int, order: Sequence[int]
) -> jax.Array:
    """Outputs of tiles by a transformed kernel.

    Args:
        contracted: the axis of the kernel that x's channels belong to.
        order: of the transformed kernel's rows and columns; a flipped kernel has the first and the last exchanged.
    """
    features = kernel.shape[3 - contracted]
    height, width = convolved_size(x, (3, 3), padding)

    def outputs(x):
        tiles = _tiles(x, padding)
        tiles = jnp.stack([tiles[4 * i + j] for i in order for j in order])
        m = lax.dot_general(tiles, kernel, (((2,), (contracted,)), ((0,), (0,))))
        m = m.reshape(4, 4, -1, height // 2, width // 2, features)
        for _ in range(2):
            m0, m1, m2, m3 = (m[i] for i in order)
            m = jnp.stack([m0 + m1 + m2, m1 - m2 - m3]).swapaxes(0, 1)
        return m.transpose(2, 3, 0, 4, 1, 5).reshape(-1, height, width, features)

    parts = _parts(x.shape[0], height, width, _TILES)
    y = outputs(x) if parts == 1 else lax.map(outputs, x.reshape(parts, -1, *x.shape[1:]))
    return y.reshape(-1, height, width, features)


def _tiles(x: jax.Array, padding: Padding) -> list[jax.Array]:
    """`B^T x B` of the overlapping 4x4 tiles of an image: 16 arrays [tiles, C]."""
    # without the barrier, each of the tiles would look for the border on its own
    x, channels = lax.optimization_barrier(padded(x, padding)), x.shape[-1]
    x = x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2 * channels)
    r0, r1, r2, r3 = x[:, :-1, 0], x[:, :-1, 1], x[:, 1:, 0], x[:, 1:, 1]
    tiles = []
    for r in (r0 - r2, r1 + r2, r2 - r1, r1 - r3):
        left, right = r[:, :, :-1], r[:, :, 1:]
        c0, c1, c2, c3 = left[..., :channels], left[..., channels:], right[..., :channels], right[..., channels:]
        tiles += [c0 - c2, c1 + c2, c2 - c1, c1 - c3]
    return [tile.reshape(-1, channels) for tile in tiles]


def _parts(batch: int, height: int, width: int, tiles: int) -> int:
    """Into how many a batch is split, so that tiles, four times what they are made from, stay in the cache."""
    return math.gcd(batch, max(1, batch * height * width // (4 * tiles)))


def kernel_gradient(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The gradient of a 3x3 kernel by the cotangent g, even in height and width."""
    batch, height, width, outputs = g.shape
    inputs = x.shape[-1]

    def products(x, g):
        g = g.reshape(-1, height // 2, 2, width // 2, 2 * outputs)
        g0, g1 = g[:, :, 0], g[:, :, 1]
        of_g = []
        for r in (g0, g0 + g1, g0 - g1, -g1):
            c0, c1 = r[..., :outputs], r[..., outputs:]
            of_g += [c0, c0 + c1, c0 - c1, -c1]
        return jnp.stack([a.T @ b.reshape(-1, outputs) for a, b in zip(_tiles(x, padding), of_g, strict=True)])

    parts = _parts(batch, height, width, _GRADIENT_TILES)
    if parts == 1:
        total = products(x, g)
    else:
        split = [a.reshape(parts, -1, *a.shape[1:]) for a in (x, g)]
        zero = jnp.zeros_like(x, shape=(16, inputs, outputs))
        total = lax.scan(lambda total, part: (total + products(*part), None), zero, split)[0]
    m = total.reshape(4, 4, inputs, outputs)
    for _ in range(2):  # rows, then columns
        half_sum, half_difference = (m[1] + m[2]) / 2, (m[1] - m[2]) / 2
        m = jnp.stack([m[0] + half_sum, half_difference, half_sum + m[3]]).swapaxes(0, 1)
    return m
