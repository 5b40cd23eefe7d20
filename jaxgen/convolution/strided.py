"""A convolution of any stride."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.convolution.bilinear import bilinear, swapped
from jaxgen.convolution.blocks import space_to_depth
from jaxgen.convolution.forms import FEW_INPUTS, by_convolution
from jaxgen.convolution.padding import NHWC, Padding, padded
from jaxgen.convolution.unit_stride import unit_stride
from jaxgen.sharding import vary_like


class Geometry(NamedTuple):
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
        """Whether XLA may turn the convolution around, see `forms.gradient_by_transposed_convolution`."""
        return any(k > n for k, n in zip(self.kernel, self.outputs, strict=True))


def convolve_folded(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution of stride 1 on `space_to_depth(x)`, for which image and kernel are extended to multiples."""
    s, padding, size, places = geometry
    folded = [-(-k // s) for k in places]
    sizes = zip(size, padding, folded, geometry.outputs, strict=True)
    x = padded(x, tuple((low, s * (o + f - 1) - n - low) for n, (low, _), f, o in sizes))
    kernel = jnp.pad(kernel, [*((0, f * s - k) for f, k in zip(folded, places, strict=True)), (0, 0), (0, 0)])
    h, w = folded
    kernel = kernel.reshape(h, s, w, s, *kernel.shape[2:]).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(h, w, -1, kernel.shape[-1])
    return unit_stride(space_to_depth(x, s), kernel, ((0, 0), (0, 0)))


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def strided(x: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    if geometry.small:
        return convolve_folded(x, kernel, geometry)
    return by_convolution(x, kernel, geometry.padding, geometry.stride)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def strided_input_gradient(g: jax.Array, kernel: jax.Array, geometry: Geometry) -> jax.Array:
    """The transpose of `strided` in x."""
    s, padding, size, places = geometry
    if not any(k % s for k in places) or geometry.small:
        x = jnp.zeros_like(g, shape=(g.shape[0], *size, kernel.shape[2]))
        return jax.vjp(lambda x: convolve_folded(x, kernel, geometry), x)[1](g)[0]
    # the zeros that extend the kernel cost more than those between the cotangents
    sizes = zip(size, padding, places, geometry.outputs, strict=True)
    padding = [(k - 1 - low, n + low - s * (o - 1) - 1) for n, (low, _), k, o in sizes]
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return lax.conv_general_dilated(g, flipped, (1, 1), padding, lhs_dilation=(s, s), dimension_numbers=NHWC)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def strided_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """The transpose of `strided` in its kernel."""
    (s, padding, _, (h, w)), (rows, columns), inputs = geometry, geometry.outputs, x.shape[-1]
    if inputs < FEW_INPUTS:
        kernel = jnp.zeros_like(x, shape=(h, w, inputs, g.shape[-1]))
        return jax.vjp(lambda kernel: convolve_folded(x, kernel, geometry), kernel)[1](g)[0]
    # a product for each place of the kernel, of what it sees of the image with the cotangent
    x, cotangents = padded(x, padding), g.reshape(-1, g.shape[-1])
    ends = s * (rows - 1) + 1, s * (columns - 1) + 1
    seen = [x[:, i : i + ends[0] : s, j : j + ends[1] : s].reshape(-1, inputs) for i in range(h) for j in range(w)]
    return jnp.stack([a.T @ cotangents for a in seen]).reshape(h, w, inputs, -1)


bilinear(strided, (swapped(strided_input_gradient), strided_kernel_gradient))
bilinear(strided_input_gradient, (swapped(strided), swapped(strided_kernel_gradient)))
bilinear(strided_kernel_gradient, (strided_input_gradient, strided))


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
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=NHWC)
    if s == 1:
        return unit_stride(x, kernel, padding)
    apply = convolve_folded if places == (s, s) else strided
    return apply(x, kernel, Geometry(s, padding, size, places))


def _explicit(padding: str | Sequence, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int]) -> Padding:
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(size, kernel, strides, padding)
    return tuple((int(low), int(high)) for low, high in padding)
