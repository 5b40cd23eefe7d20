"""A convolution of stride 1, its gradients, and theirs."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxgen.convolution import winograd
from jaxgen.convolution.bilinear import bilinear, swapped
from jaxgen.convolution.forms import (
    FORWARD_FORMS, KERNEL_GRADIENT_FORMS, by_convolution, forward_form, kernel_gradient_form, overlapped,
)  # fmt: skip
from jaxgen.convolution.padding import Padding, convolved_size, opposite_padding, padded, shifted


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def unit_stride(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    return FORWARD_FORMS[forward_form(x, kernel.shape, padding)](x, kernel, padding)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def input_gradient(g: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """The transpose of `unit_stride` in x, itself a convolution."""
    h, w, inputs, outputs = kernel.shape
    opposite = opposite_padding(padding, (h, w))
    form = forward_form(g, (h, w, outputs, inputs), opposite)
    if form == "convolution":
        return by_convolution(g, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), opposite)
    # products with the kernel as it is: to transpose a large one takes longer than a small product
    if form == "Winograd":
        return winograd.from_tiles(g, winograd.transformed(kernel), opposite, 2, (3, 1, 2, 0))
    if form == "overlaps":
        products = (kernel.reshape(-1, outputs) @ g.reshape(-1, outputs).T).T
        return overlapped(products.reshape(*g.shape[:3], h, w, inputs), padding)
    shifts = shifted(padded(g, opposite), (h, w))[::-1]
    products = [shift @ place.T for shift, place in zip(shifts, kernel.reshape(-1, inputs, outputs), strict=True)]
    return sum(products).reshape(-1, *convolved_size(g, (h, w), opposite), inputs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def kernel_gradient(x: jax.Array, g: jax.Array, padding: Padding) -> jax.Array:
    """The transpose of `unit_stride` in its kernel."""
    return KERNEL_GRADIENT_FORMS[kernel_gradient_form(x, g, padding)](x, g, padding)


bilinear(unit_stride, (swapped(input_gradient), kernel_gradient))
bilinear(input_gradient, (swapped(unit_stride), swapped(kernel_gradient)))
bilinear(kernel_gradient, (input_gradient, unit_stride))
