"""Convolutions whose gradients are fast everywhere, also inside `lax.scan` on a CPU.

XLA's CPU backend computes the *weight gradient* of a convolution by a naive loop, some forty times slower, when the
convolution stands inside a `scan` or `while`; strided and transposed convolutions have the same problem. So on a CPU

- a convolution of stride 1 carries its own gradient: with respect to the input it is the convolution of the cotangent
  with the flipped kernel, with respect to the kernel the convolution of the transposed input with the transposed
  cotangent, both again of stride 1 and through the same function, so that second derivatives (gradient penalties)
  are fast too;
- a convolution of stride s is one of stride 1 on `space_to_depth(x, s)`, at the same arithmetic;
- one with a kernel of four places at the most, as these are, is a sum of matrix products over the kernel's places, and
  so is the gradient with respect to its kernel: two or three times faster than XLA's convolutions of that size;
- upsampling is a convolution to s^2 times the channels followed by `depth_to_space`.

On an accelerator the stock convolution is right, and is taken.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

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


_FEW_PLACES = 4  # of a kernel, as products of matrices; above, the copies of the shifted inputs cost more than they save


def _shifts(x: jax.Array, kernel: tuple[int, int], outputs: tuple[int, int]) -> list[jax.Array]:
    """What each place of a kernel sees of an image that needs no padding: [B H W, C] each."""
    h, w = outputs
    return [x[:, i : i + h, j : j + w].reshape(-1, x.shape[-1]) for i in range(kernel[0]) for j in range(kernel[1])]


def _padded(x: jax.Array, padding: Padding) -> jax.Array:
    """Zeros around an image, or where padding is negative a crop."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(low, high, 0) for low, high in ((0, 0), *padding, (0, 0))])


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _unit_stride(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    h, w, _, features = kernel.shape
    if h * w <= _FEW_PLACES and padding == ((0, 0), (0, 0)):
        outputs = (x.shape[1] - h + 1, x.shape[2] - w + 1)
        products = map(jnp.matmul, _shifts(x, (h, w), outputs), kernel.reshape(h * w, -1, features))
        return sum(products).reshape(x.shape[0], *outputs, features)
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=_NHWC)


def _opposite(padding: Padding, kernel: Sequence[int]) -> Padding:
    """The padding with which a convolution of the output's size gives back the input's."""
    return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in zip(kernel, padding, strict=True))


def _input_gradient(g: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """The transpose of `_unit_stride` in x, itself a convolution."""
    return _unit_stride(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), _opposite(padding, kernel.shape[:2]))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _kernel_gradient(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The transpose of `_unit_stride` in its kernel."""
    h, w = (n + sum(p) - m + 1 for n, m, p in zip(x.shape[1:3], g.shape[1:3], padding, strict=True))
    if h * w <= _FEW_PLACES:
        columns = g.reshape(-1, g.shape[-1])
        products = [shift.T @ columns for shift in _shifts(_padded(x, padding), (h, w), g.shape[1:3])]
        return jnp.stack(products).reshape(h, w, x.shape[-1], g.shape[-1])
    if g.shape[1] * g.shape[2] > x.shape[1] * x.shape[2]:
        # XLA turns a convolution with a kernel greater than its image around, and then takes the naive loop. So the
        # image is the kernel here, and what comes out is the flipped gradient. It is met in second derivatives.
        dkernel = _unit_stride(g.transpose(3, 1, 2, 0), x.transpose(1, 2, 0, 3), _opposite(padding, (h, w)))
        return jnp.flip(dkernel, (1, 2)).transpose(1, 2, 3, 0)
    return _unit_stride(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), padding).transpose(1, 2, 0, 3)


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


_bilinear(_unit_stride, (lambda kernel, g, padding: _input_gradient(g, kernel, padding), _kernel_gradient))
_bilinear(_kernel_gradient, (lambda g, kernel, padding: _input_gradient(g, kernel, padding), _unit_stride))


def _explicit(padding: str | Sequence, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> Padding:
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, kernel, strides, padding)
    return tuple((int(low), int(high)) for low, high in padding)


def convolution(x: jax.Array, kernel: jax.Array, strides: Sequence[int] = (1, 1), padding: Any = "SAME") -> jax.Array:
    """A two-dimensional convolution of `x` [B, H, W, C] with `kernel` [h, w, C, D], its gradients fast in loops.

    Args:
        padding: `"SAME"`, `"VALID"` or ((low, high), (low, high)).
    """
    padding = _explicit(padding, x.shape[1:3], kernel.shape[:2], strides)
    # outside of the gradient's own rule: in `shard_map` the kernel's gradient is then summed over devices
    x, kernel = vary_like(x, kernel), vary_like(kernel, x)
    s = strides[0]
    if s != strides[1] or any(low < 0 or high < 0 for low, high in padding):
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_NHWC)
    if s == 1:
        return _unit_stride(x, kernel, padding)
    # Pad explicitly, then enlarge the kernel with zeros and the image with zeros or a crop to multiples of the stride.
    outputs = [(n + sum(p) - k) // s + 1 for n, p, k in zip(x.shape[1:3], padding, kernel.shape[:2], strict=True)]
    folded = [-(-k // s) for k in kernel.shape[:2]]
    ends = [s * (o + f - 1) - n - low for o, f, n, (low, _) in zip(outputs, folded, x.shape[1:3], padding, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((p[0], e, 0) for p, e in zip(padding, ends)), (0, 0, 0)))
    kernel = jnp.pad(kernel, [*((0, f * s - k) for f, k in zip(folded, kernel.shape[:2])), (0, 0), (0, 0)])
    h, w = folded
    kernel = kernel.reshape(h, s, w, s, *kernel.shape[2:]).transpose(0, 2, 4, 1, 3, 5).reshape(h, w, -1, kernel.shape[3])
    return _unit_stride(space_to_depth(x, s), kernel, ((0, 0), (0, 0)))


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
