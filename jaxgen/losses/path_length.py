"""The path length regularisation of StyleGAN2 (Karras et al. 2020, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array
from jaxgen.precision import at_least_float32


def path_lengths(synthesize: Callable[[Array], Array], styles: Array, directions: Array) -> Array:
    """|J^T y| / sqrt(H W) of each example, J the derivatives of its image in its styles: [B].

    With a style for each layer, the root of the mean over layers of the squared norms, as in the authors' code.

    Args:
        synthesize: styles to images [B, H, W, C], each a function of its own example only.
        styles: [B, layers, W].
        directions: y ~ N(0, I), [B, H, W, C].

    Raises:
        ValueError: other shapes, or directions that are not of the shape of the images.
    """
    styles, directions = as_arrays("B K W", "B H V C", styles=styles, directions=directions)
    images, pullback = jax.vjp(synthesize, styles)
    if images.shape != directions.shape:
        raise ValueError(f"`directions` must have the shape {images.shape} of the images, got {directions.shape}")
    scale = 1 / math.sqrt(math.prod(images.shape[1:3]))
    (gradient,) = pullback((scale * directions).astype(images.dtype))
    squared = (at_least_float32(gradient) ** 2).sum(-1).mean(-1)
    # the derivative at zero is zero
    flat = squared == 0
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))


def path_length_penalty(lengths: Array, target: Array, weight: float = 2.0) -> Array:
    """weight E (|J^T y| - a)^2, a scalar, least where J is orthogonal up to a scale (appendix C of the paper).

    Args:
        lengths: [B], of `path_lengths`.
        target: a, a scalar from `next_path_length`; no gradient flows into it.
    """
    check_number("weight", weight, 0)
    (lengths,) = as_arrays("B", lengths=lengths)
    return weight * ((lengths - jax.lax.stop_gradient(target)) ** 2).mean()


def next_path_length(target: Array, lengths: Array, decay: float = 0.99) -> Array:
    """a <- decay a + (1 - decay) E |J^T y|, without gradient. It is updated before it is used.

    Args:
        lengths: [B], of `path_lengths`.
    """
    check_number("decay", decay, 0, 1)
    (lengths,) = as_arrays("B", lengths=lengths)
    return jax.lax.stop_gradient(decay * target + (1 - decay) * lengths.mean())
