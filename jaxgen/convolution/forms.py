"""The forms that a convolution of stride 1, and the gradient of its kernel, can take, and the rules that choose one.

Milliseconds of processor time on one core (AVX-512, float32, JAX 0.10.2, PyTorch 2.14), kernel gradients where not said
otherwise; `*` is the form that is taken. `python -m experiments.benchmarks.convolutions` measures them all.

    kernel, channels               batch x side, C to D  XLA's transposed products columns Winograd  torch
    3x3, C and D >= 64, even sides 64 x 4,  256 to 512    14.1       13.8     12.1    12.8     6.7*   12.7
                                   64 x 8,  128 to 256    17.6       16.7     15.3    15.3     8.3*   11.4
                                   64 x 16, 64 to 128     22.1       21.9     19.4    19.1    12.7*   11.6
                                   64 x 8,  64 to 128      4.5        4.1      4.5     4.9     2.9*    3.2
    D <= 32 and D <= C             64 x 8,  128 to 32      2.6        2.1      5.8    2.0*      3.1    1.9
                                   64 x 16, 64 to 12       4.4        3.9     10.4    2.6*      8.2    2.2
                                   64 x 32, 32 to 3        6.2        5.8     18.8    3.4*     15.7    4.4
                                   16 x 70, 64 to 3, 7x7  62.9       72.1    260.1   20.9*        -   32.8
    C < 16, at most 9 places       16 x 16, 6 to 64        0.4        0.3     0.3*     1.0      0.6    0.6
    at most 4 places               64 x 9,  256 to 128    22.8       23.0     9.7*     8.1        -    6.6
                                   64 x 5,  512 to 256    11.3       10.4     7.7*     8.9        -    7.9
    other kernels: transposed      16 x 70, 3 to 64, 7x7  15.0      13.0*     27.1   212.0        -    7.4

    forward and input gradient     batch x side, C to D  XLA's convolution products overlaps Winograd  torch
    at most 4 places: no padding   64 x 9,  256 to 128     8.7         6.5     7.3*      7.2        -    5.7
    full padding: at most 4 places 64 x 4,  256 to 512     8.3         8.1      9.4     6.2*        -    5.7
                                   64 x 16, 64 to 12       2.0         1.7      3.4     0.9*        -    1.8
    full padding, D <= 8           16 x 64, 64 to 3, 7x7  76.3        75.6    173.1    13.4*        -   30.6
    3x3, C and D >= 128            32 x 16, 256 to 256    47.8        47.5        -        -    27.6*      -
                                   64 x 8,  128 to 256    11.5        11.0     15.2     14.0     7.8*   10.4
    other kernels                  64 x 16, 64 to 128     10.7       10.5*     20.6     17.8        -   11.2
                                   16 x 70, 64 to 3, 7x7  68.8       11.9*    138.9     12.5        -   29.6

    stride 2                       batch x side, C to D          XLA's products  folded   torch
    forward                        32 x 64, 64 to 128, 3x3       25.8*              69.4    30.8
                                   64 x 16, 64 to 128, 4x4        7.0*               8.8     5.7
    input gradient: odd kernels    32 x 64, 64 to 128, 3x3       31.1*              57.7    34.0
    even kernels                   64 x 8, 128 to 256, 4x4        6.9                6.4*    7.8
    kernel gradient (XLA's not in  32 x 64, 64 to 128, 3x3       65.3      55.8*    93.7    28.0
    loops)                         64 x 8, 128 to 256, 4x4        7.1       7.2*    11.1     6.8
    C < 16                         64 x 32, 3 to 64, 4x4          1.7       1.8      1.0*    1.1
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.convolution import winograd
from jaxgen.convolution.padding import NHWC, Padding, convolved_size, kernel_size, opposite_padding, padded, shifted

FEW_PLACES = 4  # of a kernel; above, the copies of the shifted images cost more than products of matrices save
SOME_PLACES = 9  # of a kernel, if images have few channels
COLORS, FEW_INPUTS, FEW_OUTPUTS = 8, 16, 32  # channels
WINOGRAD_CHANNELS = 128  # on either side, from which fewer products outweigh the transforms
GRADIENT_WINOGRAD_CHANNELS = 64


def forward_form(x: jax.Array, kernel_shape: Sequence[int], padding: Padding) -> str:
    """The rule for `unit_stride`: a name in `FORWARD_FORMS`."""
    h, w, inputs, outputs = kernel_shape
    if padding == ((h - 1, h - 1), (w - 1, w - 1)) and (h * w <= FEW_PLACES or outputs <= COLORS):
        return "overlaps"
    if h * w <= FEW_PLACES and padding == ((0, 0), (0, 0)) and inputs >= FEW_INPUTS:
        return "products"
    if min(inputs, outputs) >= WINOGRAD_CHANNELS and winograd.fits(x, (h, w), convolved_size(x, (h, w), padding)):
        return "Winograd"
    return "convolution"


def by_convolution(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int = 1) -> jax.Array:
    height = (x.shape[1] + sum(padding[0]) - kernel.shape[0]) // stride + 1
    if not any(map(any, padding)):
        # JAX 0.10 hands convolutions without padding to YNNPACK, which takes up to 30 times as long
        padding = ((0, 1), (0, 0))
    y = lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=NHWC)
    return y[:, :height]


def by_shifted_products(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    h, w, _, features = kernel.shape
    x = padded(x, padding)
    products = map(jnp.matmul, shifted(x, (h, w)), kernel.reshape(h * w, -1, features))
    return sum(products).reshape(-1, x.shape[1] - h + 1, x.shape[2] - w + 1, features)


def by_overlaps(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """One product for all places of the kernel, each part of which is then added to the output where it belongs."""
    h, w, inputs, features = kernel.shape
    products = x.reshape(-1, inputs) @ jnp.flip(kernel, (0, 1)).transpose(2, 0, 1, 3).reshape(inputs, -1)
    return overlapped(products.reshape(*x.shape[:3], h, w, features), opposite_padding(padding, (h, w)))


def overlapped(products: jax.Array, crop: Padding) -> jax.Array:
    """The sum over places (i, j) of products [B, H, W, h, w, D], each i lower and j to the right, without a border."""
    h, w = products.shape[3:5]
    (top, bottom), (left, right) = crop
    return sum(
        padded(products[:, :, :, i, j], ((i - top, h - 1 - i - bottom), (j - left, w - 1 - j - right)))
        for i in range(h) for j in range(w)
    )


FORWARD_FORMS = {
    "convolution": by_convolution,
    "products": by_shifted_products,
    "overlaps": by_overlaps,
    "Winograd": winograd.convolution,
}
"""By name, functions `(x, kernel, padding) -> y`, stride 1."""


def kernel_gradient_form(x: jax.Array, g: jax.Array, padding: Padding) -> str:
    """The rule for `kernel_gradient`: a name in `KERNEL_GRADIENT_FORMS`."""
    kernel, inputs, outputs = kernel_size(x, g, padding), x.shape[-1], g.shape[-1]
    if math.prod(kernel) <= FEW_PLACES:
        return "products"
    if outputs <= min(FEW_OUTPUTS, inputs):
        return "columns"
    if inputs < FEW_INPUTS:
        return "products" if math.prod(kernel) <= SOME_PLACES else "transposed"
    if min(inputs, outputs) >= GRADIENT_WINOGRAD_CHANNELS and winograd.fits(x, kernel, g.shape[1:3]):
        return "Winograd"
    return "transposed"


def gradient_by_transposed_convolution(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The convolution of the transposed image with the transposed cotangent."""
    if g.shape[1] * g.shape[2] > x.shape[1] * x.shape[2]:
        # XLA turns a convolution with a kernel greater than its image around, and then takes the naive loop. So the
        # image is the kernel here, and what comes out is the flipped gradient. It is met in second derivatives.
        opposite = opposite_padding(padding, kernel_size(x, g, padding))
        dkernel = by_convolution(g.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3), opposite)
        return jnp.flip(dkernel, (1, 2)).transpose(1, 2, 3, 0)
    return by_convolution(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), padding).transpose(1, 2, 0, 3)


def gradient_by_products(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """A product for each place of the kernel, of one image with the other, the larger one, shifted."""
    kernel = kernel_size(x, g, padding)
    if g.shape[1] * g.shape[2] > x.shape[1] * x.shape[2]:
        rows = x.reshape(-1, x.shape[-1]).T
        products = [rows @ shift for shift in shifted(padded(g, opposite_padding(padding, kernel)), kernel)[::-1]]
    else:
        columns = g.reshape(-1, g.shape[-1])
        products = [shift.T @ columns for shift in shifted(padded(x, padding), kernel)]
    return jnp.stack(products).reshape(*kernel, x.shape[-1], g.shape[-1])


def gradient_by_columns(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """One product of the image with all shifts of the cotangent."""
    kernel = kernel_size(x, g, padding)
    columns = jnp.concatenate(shifted(padded(g, opposite_padding(padding, kernel)), kernel)[::-1], -1)
    products = x.reshape(-1, x.shape[-1]).T @ columns
    return products.reshape(x.shape[-1], *kernel, g.shape[-1]).transpose(1, 2, 0, 3)


KERNEL_GRADIENT_FORMS = {
    "transposed": gradient_by_transposed_convolution,
    "products": gradient_by_products,
    "columns": gradient_by_columns,
    "Winograd": winograd.kernel_gradient,
}
"""By name, functions `(x, g, padding) -> dkernel` of a convolution of stride 1 with cotangent g."""
