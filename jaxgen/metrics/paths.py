"""How evenly samples change along paths between latents."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_finite, check_number
from jaxgen.contracts import Array
from jaxgen.precision import at_least_float32

NEARLY_PARALLEL = 1e-6
"""The sine below which great circles are replaced by lines."""


def spherical_interpolation(a: Array, b: Array, t: Array) -> Array:
    """Points of the great circles from a/|a| to b/|b|, at an angle of t times theirs: unit vectors, [B, L].

    Source: Shoemake 1985, "Animating Rotation with Quaternion Curves".

    Args:
        a, b: [B, L].
        t: [B].
    """
    a, b, t = as_arrays("B L", "B L", "B", a=a, b=b, t=t)
    a, b = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    cosine = jnp.clip((a * b).sum(-1), -1, 1)
    # the part of b that is orthogonal to a; its norm is the sine, also where the cosine is rounded to one
    across = b - cosine[:, None] * a
    sine = jnp.linalg.norm(across, axis=-1)
    small = sine < NEARLY_PARALLEL
    across = across / jnp.where(small, 1.0, sine)[:, None]
    angle = t * jnp.arctan2(sine, cosine)
    return jnp.where(small[:, None], a, jnp.cos(angle)[:, None] * a + jnp.sin(angle)[:, None] * across)


def perceptual_path_length(curve: Callable[[Array], Array], t: Array, trim: float = 0.01) -> Array:
    """E |d curve(t) / dt|^2, a scalar: the perceptual path length.

    Karras et al. 2019, "A Style-Based Generator Architecture for Generative Adversarial Networks", section 4.1, with
    the exact derivative in place of a difference over t + 1e-4. As in the authors' code, a fraction of the smallest and
    of the largest lengths is left out. Their features are those of LPIPS; lengths of other features do not compare.

    Args:
        curve: t [B] to features [B, ...] of the samples between two latents, each a function of its own t only.
        t: positions, ~ U[0, 1).
        trim: fraction of the lengths that is left out at each end.

    Raises:
        ValueError: positions that are not finite; `trim` out of range.
    """
    check_number("trim", trim, 0, 0.5)
    (t,) = as_arrays("B", t=t)
    check_finite(t=t)
    _, speed = jax.jvp(curve, (t,), (jnp.ones_like(t),))
    squared = (at_least_float32(speed) ** 2).reshape(len(t), -1).sum(1)
    low, high = jnp.quantile(squared, trim, method="lower"), jnp.quantile(squared, 1 - trim, method="higher")
    kept = (squared >= low) & (squared <= high)
    return jnp.where(kept, squared, 0).sum() / kept.sum()
