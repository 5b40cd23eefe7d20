"""What the latents of a trained flow are for: paths between data, edits by an attribute, transport from set to set.

Functions of flows that are bound to their variables, as `jaxgen.fit` and `jaxgen.load` return them: all they ask for is
`encode(x, key, context)` and `decode(z, context)`. A flow that dequantizes needs a key for its noise; its images come
back exactly, so a path begins and ends at the images themselves. A context has one row, or one for each row of data.
"""

from __future__ import annotations

from typing import Protocol

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key


class Encoder(Protocol):
    """A bound flow, or whatever else goes from data to latents and back."""

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
    """Data on the way from rows a to rows b, [steps, B, *event]: decoded at equal distances, both ends among them.

    The way is the straight line `z(t) = (1 - t) z_a + t z_b` of Dinh et al. 2017 and of Kingma and Dhariwal 2018, which
    passes through shorter latents than a normal of many dimensions ever draws. The spherical one,
    `z(t) = (sin((1 - t) w) z_a + sin(t w) z_b) / sin w` with w the angle between the latents, keeps their length.

    Args:
        a, b: [B, *event].

    Raises:
        ValueError: fewer than two steps, or a and b of different shapes.
    """
    if steps < 2 or a.shape != b.shape:
        raise ValueError(f"A path needs two ends of one shape and at least 2 steps, got {a.shape}, {b.shape}, {steps}.")
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
    """The mean of the rows' latents, [*event], encoded `batch_size` rows at a time."""
    total = 0.0
    for i, start in enumerate(range(0, x.shape[0], batch_size)):
        rows = slice(start, start + batch_size)
        given = context[rows] if context is not None and context.shape[0] > 1 else context
        total += flow.encode(x[rows], None if key is None else jax.random.fold_in(key, i), given).sum(0)
    return total / x.shape[0]


def attribute_vector(
    flow: Encoder,
    with_attribute: Array,
    without: Array,
    key: Key | None = None,
    context: Array | None = None,
    batch_size: int = 512,
) -> Array:
    """The direction of an attribute, [*event]: the mean latent of rows that have it minus that of rows that do not.

    Source: Kingma and Dhariwal 2018, section 5. `edit` goes along it.

    Args:
        with_attribute, without: two sets of rows, in any numbers.
        context: [1, ...], for all rows of both.
    """
    keys = (None, None) if key is None else jax.random.split(key)
    there, not_there = (
        mean_latent(flow, rows, key, context, batch_size)
        for rows, key in zip((with_attribute, without), keys, strict=True)
    )
    return there - not_there


def edit(
    flow: Encoder,
    x: Array,
    vector: Array,
    strength: Array | float,
    key: Key | None = None,
    context: Array | None = None,
) -> Array:
    """Rows x [B, *event] with an attribute added: the latents move by `strength * vector`; a negative one takes it off.

    Args:
        vector: [*event], or one for each row.
        strength: a number, or one for each row [B].
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
    """Transports rows x of the first flow's data onto the second's, through the latent space that both share.

    `x_b = f_b^-1(f_a(x))`: where both flows fit their data, rows distributed as A become rows distributed as B. One
    flow in both places with two contexts keeps what is not in the context: an image under another class.
    """
    return flow_b.decode(flow_a.encode(x, key, context_a), context_b)


def _arc(a: Array, b: Array, t: Array) -> tuple[Array, Array]:
    """The weights of the great circle at times t; those of the straight line for latents on one line."""
    event = tuple(range(1, a.ndim))
    product, squared_a, squared_b = (jnp.sum(p * q, event, keepdims=True) for p, q in ((a, b), (a, a), (b, b)))
    lengths = jnp.sqrt(squared_a * squared_b)
    angle = jnp.arccos(jnp.clip(product / jnp.where(lengths > 0, lengths, 1), -1, 1))
    sine = jnp.sin(angle)
    on_one_line = (sine < 1e-3) | (lengths == 0)
    sine = jnp.where(on_one_line, 1, sine)
    return tuple(jnp.where(on_one_line, s, jnp.sin(s * angle) / sine) for s in (1 - t, t))
