"""Convolutions whose gradients are fast everywhere, also inside `lax.scan` on a CPU.

XLA's CPU backend computes the gradient of a convolution's kernel by a naive loop, some forty times slower, when the
convolution stands inside a `scan` or `while`; strided and transposed convolutions have the same problem. So on a CPU
convolutions have a gradient of their own, through the same functions to any order and in forward mode:

- upsampling is a convolution to s^2 times the channels followed by `depth_to_space`;
- the gradient with respect to the input is the convolution of the cotangent with the flipped kernel;
- a convolution of stride s equals one of stride 1 on `space_to_depth(x, s)`, at the same arithmetic if s divides the
  kernel's size ("folded"); gradients take this form or those of the table;
- each of these, and the gradient with respect to the kernel, takes the form that was measured to be fastest. In
  milliseconds of processor time on one core (AVX-512, float32, JAX 0.10.2, PyTorch 2.14), kernel gradients where not
  said otherwise; `*` is the form that is taken, `python -m experiments.benchmarks.convolutions` measures them all:

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

XLA's own forward and input gradient are oneDNN's in JAX 0.10 and 0.11, except that JAX 0.10 hands convolutions without
padding to YNNPACK, which takes up to 30 times as long. They get one row of padding, whose output is cropped.

On an accelerator the stock convolution is right, and is taken.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxgen.autodiff import linear_call

from jaxgen.sharding import vary_like

_NHWC = ("NHWC", "HWIO", "NHWC")
Padding = tuple[tuple[int, int], tuple[int, int]]


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


_FEW_PLACES = 4  # of a kernel; above, the copies of the shifted images cost more than products of matrices save
_SOME_PLACES = 9  # of a kernel, if images have few channels
_COLORS, _FEW_INPUTS, _FEW_OUTPUTS = 8, 16, 32  # channels
_WINOGRAD_CHANNELS = 128  # on either side, from which fewer products outweigh the transforms
_GRADIENT_WINOGRAD_CHANNELS = 64
_WINOGRAD_TILES = 16  # from which the image outweighs the kernel's transform
_TILES, _GRADIENT_TILES = 512, 1024  # that are transformed at a time, about


def _shifts(x: jax.Array, kernel: Sequence[int]) -> list[jax.Array]:
    """What each place of a kernel sees of an image that needs no padding: [B H W, C] each."""
    h, w = (n - k + 1 for n, k in zip(x.shape[1:3], kernel, strict=True))
    return [x[:, i : i + h, j : j + w].reshape(-1, x.shape[-1]) for i in range(kernel[0]) for j in range(kernel[1])]


def _padded(x: jax.Array, padding: Padding) -> jax.Array:
    """Zeros around an image, or where padding is negative a crop."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in ((0, 0), *padding, (0, 0))])


def _opposite(padding: Padding, kernel: Sequence[int]) -> Padding:
    """The padding with which a convolution of the output's size gives back the input's."""
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel, padding, strict=True))


def _forward_form(x: jax.Array, kernel_shape: Sequence[int], padding: Padding) -> str:
    """The rule for `_unit_stride`: a name in `FORWARD_FORMS`."""
    h, w, inputs, outputs = kernel_shape
    if padding == ((h - 1, h - 1), (w - 1, w - 1)) and (h * w <= _FEW_PLACES or outputs <= _COLORS):
        return "overlaps"
    if h * w <= _FEW_PLACES and padding == ((0, 0), (0, 0)) and inputs >= _FEW_INPUTS:
        return "products"
    if min(inputs, outputs) >= _WINOGRAD_CHANNELS and _winograd_fits(x, (h, w), _sizes(x, (h, w), padding)):
        return "Winograd"
    return "convolution"


def _winograd_fits(x: jax.Array, kernel: Sequence[int], outputs: Sequence[int]) -> bool:
    even = outputs[0] % 2 == outputs[1] % 2 == 0
    tiles = x.shape[0] * math.prod(outputs) // 4
    return tuple(kernel) == (3, 3) and even and tiles >= _WINOGRAD_TILES and x.dtype.itemsize >= 4


def _by_convolution(x: jax.Array, kernel: jax.Array, padding: Padding, stride: int = 1) -> jax.Array:
    height = (x.shape[1] + sum(padding[0]) - kernel.shape[0]) // stride + 1
    if not any(map(any, padding)):
        # JAX 0.10 hands convolutions without padding to YNNPACK, which takes up to 30 times as long
        padding = ((0, 1), (0, 0))
    y = lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=_NHWC)
    return y[:, :height]


def _by_shifted_products(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    h, w, _, features = kernel.shape
    x = _padded(x, padding)
    products = map(jnp.matmul, _shifts(x, (h, w)), kernel.reshape(h * w, -1, features))
    return sum(products).reshape(-1, x.shape[1] - h + 1, x.shape[2] - w + 1, features)


def _by_overlaps(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """One product for all places of the kernel, each part of which is then added to the output where it belongs."""
    h, w, inputs, features = kernel.shape
    products = x.reshape(-1, inputs) @ jnp.flip(kernel, (0, 1)).transpose(2, 0, 1, 3).reshape(inputs, -1)
    return _overlapped(products.reshape(*x.shape[:3], h, w, features), _opposite(padding, (h, w)))


def _overlapped(products: jax.Array, crop: Padding) -> jax.Array:
    """The sum over places (i, j) of products [B, H, W, h, w, D], each i lower and j to the right, without a border."""
    h, w = products.shape[3:5]
    (top, bottom), (left, right) = crop
    return sum(
        _padded(products[:, :, :, i, j], ((i - top, h - 1 - i - bottom), (j - left, w - 1 - j - right)))
        for i in range(h) for j in range(w)
    )


def _by_winograd(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """A convolution with a 3x3 kernel and outputs even in height and width, in 16 products a tile in place of 36.

    Winograd's F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308): `A^T ((G g G^T) (B^T x B)) A` with tiles 4x4 of x
    and 2x2 of the output.
    """
    return _from_tiles(x, _transformed(kernel), padding, 1, (0, 1, 2, 3))


def _transformed(kernel: jax.Array) -> jax.Array:
    """`G g G^T` of a 3x3 kernel [3, 3, C, D]: [16, C, D]."""
    shape = kernel.shape[2:]
    for _ in range(2):  # rows, then columns
        half_sum, half = (kernel[0] + kernel[2]) / 2, kernel[1] / 2
        kernel = jnp.stack([kernel[0], half_sum + half, half_sum - half, kernel[2]]).swapaxes(0, 1)
    return kernel.reshape(16, *shape)


def _from_tiles(
    x: jax.Array, kernel: jax.Array, padding: Padding, contracted: int, order: Sequence[int]
) -> jax.Array:
    """Outputs of tiles by a transformed kernel.

    Args:
        contracted: the axis of the kernel that x's channels belong to.
        order: of the transformed kernel's rows and columns; a flipped kernel has the first and the last exchanged.
    """
    features = kernel.shape[3 - contracted]
    height, width = _sizes(x, (3, 3), padding)

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
    x, channels = lax.optimization_barrier(_padded(x, padding)), x.shape[-1]
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


FORWARD_FORMS = {
    "convolution": _by_convolution,
    "products": _by_shifted_products,
    "overlaps": _by_overlaps,
    "Winograd": _by_winograd,
}
"""By name, functions `(x, kernel, padding) -> y`, stride 1."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _unit_stride(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    return FORWARD_FORMS[_forward_form(x, kernel.shape, padding)](x, kernel, padding)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _input_gradient(g: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """The transpose of `_unit_stride` in x, itself a convolution."""
    h, w, inputs, outputs = kernel.shape
    opposite = _opposite(padding, (h, w))
    form = _forward_form(g, (h, w, outputs, inputs), opposite)
    if form == "convolution":
        return _by_convolution(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), opposite)
    # products with the kernel as it is: to transpose a large one takes longer than a small product
    if form == "Winograd":
        return _from_tiles(g, _transformed(kernel), opposite, 2, (3, 1, 2, 0))
    if form == "overlaps":
        products = (kernel.reshape(-1, outputs) @ g.reshape(-1, outputs).T).T
        return _overlapped(products.reshape(*g.shape[:3], h, w, inputs), padding)
    shifts = _shifts(_padded(g, opposite), (h, w))[::-1]
    products = [shift @ place.T for shift, place in zip(shifts, kernel.reshape(-1, inputs, outputs), strict=True)]
    return sum(products).reshape(-1, *_sizes(g, (h, w), opposite), inputs)


def _kernel_size(x: jax.Array, g: jax.Array, padding: Padding) -> tuple[int, int]:
    return _sizes(x, g.shape[1:3], padding)


def _sizes(x: jax.Array, other: Sequence[int], padding: Padding) -> tuple[int, int]:
    """Of a convolution of x: the output's height and width by the kernel's, or the kernel's by the output's."""
    return tuple(n + sum(p) - m + 1 for n, m, p in zip(x.shape[1:3], other, padding, strict=True))


def _kernel_gradient_form(x: jax.Array, g: jax.Array, padding: Padding) -> str:
    """The rule for `_kernel_gradient`: a name in `KERNEL_GRADIENT_FORMS`."""
    kernel, inputs, outputs = _kernel_size(x, g, padding), x.shape[-1], g.shape[-1]
    if math.prod(kernel) <= _FEW_PLACES:
        return "products"
    if outputs <= min(_FEW_OUTPUTS, inputs):
        return "columns"
    if inputs < _FEW_INPUTS:
        return "products" if math.prod(kernel) <= _SOME_PLACES else "transposed"
    if min(inputs, outputs) >= _GRADIENT_WINOGRAD_CHANNELS and _winograd_fits(x, kernel, g.shape[1:3]):
        return "Winograd"
    return "transposed"


def _gradient_by_transposed_convolution(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The convolution of the transposed image with the transposed cotangent."""
    if g.shape[1] * g.shape[2] > x.shape[1] * x.shape[2]:
        # XLA turns a convolution with a kernel greater than its image around, and then takes the naive loop. So the
        # image is the kernel here, and what comes out is the flipped gradient. It is met in second derivatives.
        opposite = _opposite(padding, _kernel_size(x, g, padding))
        dkernel = _by_convolution(g.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3), opposite)
        return jnp.flip(dkernel, (1, 2)).transpose(1, 2, 3, 0)
    return _by_convolution(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), padding).transpose(1, 2, 0, 3)


def _gradient_by_products(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """A product for each place of the kernel, of one image with the other, the larger one, shifted."""
    kernel = _kernel_size(x, g, padding)
    if g.shape[1] * g.shape[2] > x.shape[1] * x.shape[2]:
        rows = x.reshape(-1, x.shape[-1]).T
        products = [rows @ shift for shift in _shifts(_padded(g, _opposite(padding, kernel)), kernel)[::-1]]
    else:
        columns = g.reshape(-1, g.shape[-1])
        products = [shift.T @ columns for shift in _shifts(_padded(x, padding), kernel)]
    return jnp.stack(products).reshape(*kernel, x.shape[-1], g.shape[-1])


def _gradient_by_columns(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """One product of the image with all shifts of the cotangent."""
    kernel = _kernel_size(x, g, padding)
    columns = jnp.concatenate(_shifts(_padded(g, _opposite(padding, kernel)), kernel)[::-1], -1)
    products = x.reshape(-1, x.shape[-1]).T @ columns
    return products.reshape(x.shape[-1], *kernel, g.shape[-1]).transpose(1, 2, 0, 3)


def _gradient_by_winograd(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The gradient of a 3x3 kernel, its outputs even in height and width, in 16 products a tile in place of 36.

    The transpose of Winograd's F(2x2, 3x3) (Lavin and Gray 2016, arXiv:1509.09308) in the kernel:
    `G^T (sum over tiles of (B^T x B) (A g A^T)) G` with tiles 4x4 of x and 2x2 of g.
    """
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


KERNEL_GRADIENT_FORMS = {
    "transposed": _gradient_by_transposed_convolution,
    "products": _gradient_by_products,
    "columns": _gradient_by_columns,
    "Winograd": _gradient_by_winograd,
}
"""By name, functions `(x, g, padding) -> dkernel` of a convolution of stride 1 with cotangent g."""


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _kernel_gradient(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The transpose of `_unit_stride` in its kernel."""
    return KERNEL_GRADIENT_FORMS[_kernel_gradient_form(x, g, padding)](x, g, padding)


def _bilinear(function: Callable, transposes: Sequence[Callable]) -> None:
    """Gives `function(a, b, padding)`, linear in each, its derivatives.

    Args:
        transposes: of the maps a -> function(a, b) and b -> function(a, b), each with arguments `(other, cotangent)`.
    """

    @functools.partial(function.defjvp, symbolic_zeros=True)
    def tangent(padding, primals, tangents):
        (a, b), (da, db) = primals, tangents
        of_a, of_b = (lambda other, cotangent, f=f: f(other, cotangent, padding) for f in transposes)
        y, changes = function(a, b, padding), []
        if not isinstance(da, SymbolicZero):
            changes.append(linear_call(lambda b, da: function(da, b, padding), of_a, b, da, y))
        if not isinstance(db, SymbolicZero):
            changes.append(linear_call(lambda a, db: function(a, db, padding), of_b, a, db, y))
        return y, sum(changes[1:], changes[0])


def _swapped(function: Callable) -> Callable:
    return lambda b, a, padding: function(a, b, padding)


_bilinear(_unit_stride, (_swapped(_input_gradient), _kernel_gradient))
_bilinear(_input_gradient, (_swapped(_unit_stride), _swapped(_kernel_gradient)))
_bilinear(_kernel_gradient, (_input_gradient, _unit_stride))


def _explicit(padding: str | Sequence, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> Padding:
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, kernel, strides, padding)
    return tuple((int(low), int(high)) for low, high in padding)


class _Geometry(NamedTuple):
    """Of a convolution with a stride: its sizes and the stride are of height and width."""

    stride: int
    padding: Padding
    size: tuple[int, int]
    kernel: tuple[int, int]

    @property
    def outputs(self) -> tuple[int, int]:
        sizes = zip(self.size, self.padding, self.kernel, strict=True)
        return tuple((n + sum(p) - k) // self.stride + 1 for n, p, k in sizes)

    @property
    def small(self) -> bool:
        """Whether XLA may turn the convolution around, see `_gradient_by_transposed_convolution`."""
        return any(k > n for k, n in zip(self.kernel, self.outputs, strict=True))


def _folded(x: jax.Array, kernel: jax.Array, geometry: _Geometry) -> jax.Array:
    """The convolution of stride 1 on `space_to_depth(x)`, for which image and kernel are extended to multiples."""
    s, padding, size, places = geometry
    folded = [-(-k // s) for k in places]
    sizes = zip(size, padding, folded, geometry.outputs, strict=True)
    x = _padded(x, tuple((low, s * (o + f - 1) - n - low) for n, (low, _), f, o in sizes))
    kernel = jnp.pad(kernel, [*((0, f * s - k) for f, k in zip(folded, places, strict=True)), (0, 0), (0, 0)])
    h, w = folded
    kernel = kernel.reshape(h, s, w, s, *kernel.shape[2:]).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(h, w, -1, kernel.shape[-1])
    return _unit_stride(space_to_depth(x, s), kernel, ((0, 0), (0, 0)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _strided(x: jax.Array, kernel: jax.Array, geometry: _Geometry) -> jax.Array:
    if geometry.small:
        return _folded(x, kernel, geometry)
    return _by_convolution(x, kernel, geometry.padding, geometry.stride)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _strided_input_gradient(g: jax.Array, kernel: jax.Array, geometry: _Geometry) -> jax.Array:
    """The transpose of `_strided` in x."""
    s, padding, size, places = geometry
    if not any(k % s for k in places) or geometry.small:
        x = jnp.zeros_like(g, shape=(g.shape[0], *size, kernel.shape[2]))
        return jax.vjp(lambda x: _folded(x, kernel, geometry), x)[1](g)[0]
    # the zeros that extend the kernel cost more than those between the cotangents
    sizes = zip(size, padding, places, geometry.outputs, strict=True)
    padding = [(k - 1 - low, n + low - s * (o - 1) - 1) for n, (low, _), k, o in sizes]
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return lax.conv_general_dilated(g, flipped, (1, 1), padding, lhs_dilation=(s, s), dimension_numbers=_NHWC)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _strided_kernel_gradient(x: jax.Array, g: jax.Array, geometry: _Geometry) -> jax.Array:
    """The transpose of `_strided` in its kernel."""
    (s, padding, _, (h, w)), (rows, columns), inputs = geometry, geometry.outputs, x.shape[-1]
    if inputs < _FEW_INPUTS:
        kernel = jnp.zeros_like(x, shape=(h, w, inputs, g.shape[-1]))
        return jax.vjp(lambda kernel: _folded(x, kernel, geometry), kernel)[1](g)[0]
    # a product for each place of the kernel, of what it sees of the image with the cotangent
    x, cotangents = _padded(x, padding), g.reshape(-1, g.shape[-1])
    ends = s * (rows - 1) + 1, s * (columns - 1) + 1
    seen = [x[:, i : i + ends[0] : s, j : j + ends[1] : s].reshape(-1, inputs) for i in range(h) for j in range(w)]
    return jnp.stack([a.T @ cotangents for a in seen]).reshape(h, w, inputs, -1)


_bilinear(_strided, (_swapped(_strided_input_gradient), _strided_kernel_gradient))
_bilinear(_strided_input_gradient, (_swapped(_strided), _swapped(_strided_kernel_gradient)))
_bilinear(_strided_kernel_gradient, (_strided_input_gradient, _strided))


def convolution(x: jax.Array, kernel: jax.Array, strides: Sequence[int] = (1, 1), padding: Any = "SAME") -> jax.Array:
    """A two-dimensional convolution of `x` [B, H, W, C] with `kernel` [h, w, C, D], its gradients fast in loops.

    Args:
        padding: `"SAME"`, `"VALID"` or ((low, high), (low, high)).
    """
    size, places = x.shape[1:3], kernel.shape[:2]
    padding = _explicit(padding, size, places, strides)
    # outside of the gradient's own rule: in `shard_map` the kernel's gradient is then summed over devices
    x, kernel = vary_like(x, kernel), vary_like(kernel, x)
    s = strides[0]
    if s != strides[1] or any(low < 0 or high < 0 for low, high in padding):
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_NHWC)
    if s == 1:
        return _unit_stride(x, kernel, padding)
    apply = _folded if places == (s, s) else _strided
    return apply(x, kernel, _Geometry(s, padding, size, places))


def conv_general_dilated(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None,
    feature_group_count=1, batch_group_count=1, precision=None, preferred_element_type=None,
):
    """`lax.conv_general_dilated` for Flax layers: on a CPU, plain 2-D convolutions take `convolution`."""
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    # under explicit axes, where each product must say how its result is sharded, the stock gradient does
    sharded = any(axis is not None for a in (lhs, rhs) for axis in jax.typeof(a).sharding.spec)
    special = dilated or sharded or feature_group_count != 1 or batch_group_count != 1
    if jax.default_backend() != "cpu" or lhs.ndim != 4 or special:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
            feature_group_count, batch_group_count, precision, preferred_element_type,
        )
    return convolution(lhs, rhs, window_strides, padding)


def Conv(features: int, kernel_size: int = 3, strides: int = 1, **fields: Any) -> nn.Conv:
    """`nn.Conv` with a square kernel, "SAME" padding and fast gradients; other fields are `nn.Conv`'s own."""
    square = (kernel_size, kernel_size)
    return nn.Conv(features, square, (strides, strides), conv_general_dilated=conv_general_dilated, **fields)


class UpConv(nn.Module):
    """Doubles the resolution: a convolution to f^2 times the features, then `depth_to_space`.

    Equal in form to a transposed convolution of stride f, and free of its uneven overlaps (Shi et al. 2016).
    """

    features: int
    kernel_size: int = 3
    factor: int = 2
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        folded = self.features * self.factor**2
        x = Conv(folded, self.kernel_size, use_bias=self.use_bias, kernel_init=self.kernel_init, dtype=self.dtype)(x)
        return depth_to_space(x, self.factor)


class TransposedConv(nn.Module):
    """Doubles the resolution: a transposed convolution with a 4x4 kernel, stride 2 and padding 1.

    Each of the four output pixels of a position sees 2x2 inputs, so it is computed as a 2x2 convolution to four times
    the features: in 16 products an input where an `UpConv` takes 36.
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        folded, full = 4 * self.features, ((1, 1), (1, 1))
        y = Conv(folded, 2, padding=full, use_bias=False, kernel_init=self.kernel_init, dtype=self.dtype)(x)
        y = y.reshape(*y.shape[:3], self.features, 2, 2)
        # output 2 i + r sees inputs i + r - 1 and i + r
        rows = jnp.stack([y[:, r : r + height, :, :, r] for r in range(2)], -2)
        both = jnp.stack([rows[:, :, s : s + width, ..., s] for s in range(2)], -1)
        y = depth_to_space(both.reshape(-1, height, width, folded), 2)
        if self.use_bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,)).astype(y.dtype)
        return y
