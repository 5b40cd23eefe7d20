"""Uses of a trained flow's latents: interpolation, attribute vectors, transport between data sets.

The functions take trained flows, as `jaxgen.fit` and `jaxgen.load` return them: anything with `encode(x, key, context)`
and `decode(z, context)`. A flow that dequantizes needs a key for its noise; it decodes its latents to the same images,
so that paths begin and end at the images themselves. A context is [1, ...] or [B, ...].
"""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key


class Encoder(Protocol):
    """A trained flow, or any other model that maps data to latents and back."""

    def encode(self, x: Array, key: Key | None, context: Array | None) -> Array: ...

    def decode(self, z: Array, context: Array | None) -> Array: ...


def interpolate(
    flow: Encoder,
    a: Array,
    b: Array,
    steps: int,
    key: Key | None = None,
    context: Array | None = None,
    spherical: bool = False,
) -> Array:
    """Interpolates between examples a and b in latent space, at equal distances with both ends: [steps, B, *event].

    The path is the straight line `z(t) = (1 - t) z_a + t z_b` (Dinh et al. 2017, Kingma and Dhariwal 2018), whose
    latents are shorter than those of a high-dimensional normal. The spherical path,
    `z(t) = (sin((1 - t) w) z_a + sin(t w) z_b) / sin w` with w the angle between the latents, keeps their length.

    Args:
        a, b: [B, *event].

    Raises:
        ValueError: `steps` below 2, or a and b of different shapes.
    """
    if steps < 2 or a.shape != b.shape:
        raise ValueError(f"`steps` must be at least 2, `a` and `b` of one shape, got {steps}, {a.shape}, {b.shape}")
    a_key, b_key = (None, None) if key is None else jax.random.split(key)
    z_a, z_b = flow.encode(a, a_key, context), flow.encode(b, b_key, context)
    t = jnp.linspace(0.0, 1.0, steps, dtype=z_a.dtype).reshape(steps, *(1,) * z_a.ndim)
    # exactly 1 and 0 at the ends
    weights = _arc(z_a, z_b, t) if spherical else (1 - t, t)
    z = weights[0] * z_a + weights[1] * z_b
    if context is not None and context.shape[0] > 1:
        context = jnp.tile(context, (steps, *(1,) * (context.ndim - 1)))
    x = flow.decode(z.reshape(-1, *z_a.shape[1:]), context)
    return x.reshape(steps, a.shape[0], *x.shape[1:])


def mean_latent(
    flow: Encoder, x: Array, key: Key | None = None, context: Array | None = None, batch_size: int = 512
) -> Array:
    """The mean latent [*event] of x [B, *event], encoded in batches."""
    total = 0.0
    for i, start in enumerate(range(0, x.shape[0], batch_size)):
        batch = slice(start, start + batch_size)
        part = context[batch] if context is not None and context.shape[0] > 1 else context
        total += flow.encode(x[batch], None if key is None else jax.random.fold_in(key, i), part).sum(0)
    return total / x.shape[0]


def attribute_vector(
    flow: Encoder,
    with_attribute: Array,
    without: Array,
    key: Key | None = None,
    context: Array | None = None,
    batch_size: int = 512,
) -> Array:
    """The mean latent of examples with an attribute minus that of examples without it, [*event].

    Source: Kingma and Dhariwal 2018, section 5.

    Args:
        with_attribute, without: [N, *event] and [M, *event].
        context: [1, ...], for all examples.
    """
    keys = (None, None) if key is None else jax.random.split(key)
    positive, negative = (
        mean_latent(flow, x, key, context, batch_size)
        for x, key in zip((with_attribute, without), keys, strict=True)
    )
    return positive - negative


def edit(
    flow: Encoder,
    x: Array,
    vector: Array,
    strength: Array | float,
    key: Key | None = None,
    context: Array | None = None,
) -> Array:
    """Examples x [B, *event] with an attribute added, or with negative strength removed: `f^-1(f(x) + strength v)`.

    Args:
        vector: [*event] or [B, *event].
        strength: a number or [B].
    """
    z = flow.encode(x, key, context)
    strength = jnp.asarray(strength, z.dtype)
    return flow.decode(z + strength.reshape(*strength.shape, *(1,) * (z.ndim - strength.ndim)) * vector, context)


def transfer(
    flow_a: Encoder,
    flow_b: Encoder,
    x: Array,
    key: Key | None = None,
    context_a: Array | None = None,
    context_b: Array | None = None,
) -> Array:
    """Transports examples x of the first flow's data to the second's: `f_b^-1(f_a(x))`.

    If both flows fit their data, examples distributed as A become examples distributed as B. With one flow in both
    places and two contexts it changes the context's attributes only, for example an image's class.
    """
    return flow_b.decode(flow_a.encode(x, key, context_a), context_b)


def _arc(a: Array, b: Array, t: Array) -> tuple[Array, Array]:
    """The weights of the great circle at times t, or of the straight line if the latents are collinear."""
    event = tuple(range(1, a.ndim))
    product, squared_a, squared_b = (jnp.sum(p * q, event, keepdims=True) for p, q in ((a, b), (a, a), (b, b)))
    lengths = jnp.sqrt(squared_a * squared_b)
    angle = jnp.arccos(jnp.clip(product / jnp.where(lengths > 0, lengths, 1), -1, 1))
    sine = jnp.sin(angle)
    collinear = (sine < 1e-3) | (lengths == 0)
    sine = jnp.where(collinear, 1, sine)
    return tuple(jnp.where(collinear, s, jnp.sin(s * angle) / sine) for s in (1 - t, t))
