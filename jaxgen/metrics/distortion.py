"""Distortion of images."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_finite, check_number
from jaxgen.contracts import Array

MAX_DECIBELS = 100.0
"""The value for equal images."""


def psnr(x: Array, reference: Array, peak: float) -> Array:
    """The peak signal-to-noise ratio per example in decibels, [B]: `10 log10(peak^2 / mean((x - reference)^2))`.

    At most `MAX_DECIBELS`, so that means over examples are finite.

    Args:
        x, reference: [B, ...], in the same units.
        peak: the greatest value in those units: 255 for 256 grey levels, 1 for images in [0, 1].
    """
    check_number("peak", peak, 0, above=True)
    x, reference = as_arrays("B ...", x=x, reference=reference)
    check_finite(x=x, reference=reference)
    difference = x.astype(jnp.float32) - reference.astype(jnp.float32)
    squared = jnp.square(difference / peak).reshape(difference.shape[0], -1).mean(1)
    return -10 * jnp.log10(jnp.maximum(squared, 10 ** (-MAX_DECIBELS / 10)))
