"""Couplings: one part of the event moves by a map whose parameters a network computes from the other part."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, sum_over_event
from jaxgen.bijectors.transformers import Transformer
from jaxgen.convolution import Conv
from jaxgen.precision import at_least_float32, float32_or_wider


class ZeroHead(nn.Module):
    """A last layer that starts constant: zero kernel, and the starting values as bias.

    A 3x3 convolution on images, dense elsewhere.

    Attributes:
        features: how many come out, a multiple of `len(start)`: the first parameter of every channel, then the second,
            and so on.
        start: the starting value of each parameter.
    """

    features: int
    start: tuple[float, ...] = (0.0,)

    @nn.compact
    def __call__(self, h: Array) -> Array:
        def bias_init(key, shape, dtype=jnp.float32):
            return jnp.repeat(jnp.asarray(self.start, dtype), shape[0] // len(self.start))

        layer, zeros = Conv if h.ndim == 4 else nn.Dense, nn.initializers.zeros
        return layer(self.features, kernel_init=zeros, bias_init=bias_init, dtype=float32_or_wider(h), name="layer")(h)


class SharedHead(nn.Module):
    """A `ZeroHead` for all but the last `shared` parameters of every channel, which do not depend on the input.

    Those are free parameters, the same in all rows and positions. (Where one vector [B, K] gives all positions of an
    image at once, each coordinate is a channel of its own.)

    Attributes:
        features, start: as of `ZeroHead`.
        shared: how many of the parameters in `start`, counted from its end, are free.

    Raises:
        ValueError: none of the parameters is left to the layer, or none is free.
    """

    features: int
    start: tuple[float, ...]
    shared: int = 1

    @nn.compact
    def __call__(self, h: Array) -> Array:
        own, channels = len(self.start) - self.shared, self.features // len(self.start)
        if own < 1 or self.shared < 1:
            raise ValueError(f"SharedHead needs 1 to {len(self.start) - 1} shared parameters, got {self.shared}.")
        p = ZeroHead(own * channels, self.start[:own], name="layer")(h)
        free = self.param("free", lambda _: jnp.repeat(jnp.asarray(self.start[own:], jnp.float32), channels))
        return jnp.concatenate([p, free.astype(p.dtype) + jnp.zeros_like(p[..., :1])], -1)


def fit_context(context: Array, shape: tuple[int, ...]) -> Array:
    """Brings a context to the resolution of a network's input of the given shape [B, ..., C].

    A vector [B, K] is repeated at every position; an image [B, h, w, K] is resized to height and width. Returns
    [B, ..., K].

    Raises:
        ValueError: other ranks, or other batch sizes.
    """
    inner = tuple(shape[1:-1])
    same_rank = context.ndim == len(shape) and (context.shape[1:-1] == inner or context.ndim == 4)
    if context.shape[:1] != tuple(shape[:1]) or not (context.ndim == 2 or same_rank):
        raise ValueError(f"A context of shape {context.shape} cannot be fitted to an input of shape {tuple(shape)}.")
    if context.ndim == 2:
        context = context.reshape(context.shape[0], *(1 for _ in inner), context.shape[1])
        return jnp.broadcast_to(context, (shape[0], *inner, context.shape[-1]))
    if context.shape[1:-1] != inner:
        context = jax.image.resize(at_least_float32(context), (shape[0], *inner, context.shape[-1]), "bilinear")
    return context


def head_parameters(
    head: Callable[..., nn.Module], transformer: Transformer, h: Array, shape: tuple[int, ...]
) -> Array:
    """Runs a head of the right size on features `h`, to a transformer's parameters [*shape, n].

    `h` either keeps the positions of the coordinates of `shape` [B, ..., C] (the head then works at each position), or
    is [B, K] (the head then gives all positions at once).

    Raises:
        ValueError: `h` does neither.
    """
    n = transformer.n
    if h.shape[:-1] != shape[:-1] and h.ndim != 2:
        raise ValueError(f"A conditioner put out {h.shape}: neither [B, features] nor the positions of {shape}.")
    per_position = h.shape[:-1] == shape[:-1]
    features = n * (shape[-1] if per_position else math.prod(shape[1:]))
    p = head(features, transformer.start(), name="head")(h)
    p = p.reshape(*shape[:-1], n, shape[-1]) if per_position else p.reshape(shape[0], n, *shape[1:])
    return jnp.moveaxis(p, -2 if per_position else 1, -1)


@jax.custom_jvp
def _same(x: Array, known: Array) -> Array:
    """x, in the shape of an array of the same numbers whose origin the compiler knows; differentiated in x."""
    return known


_same.defjvp(lambda primals, tangents: (primals[1], tangents[0]))


class Coupling(Bijector):
    """Moves one part of the event by `transformer`, whose parameters `conditioner` computes from the other part.

    Both directions take one pass of the network. Source: Dinh et al. 2015 and 2017.

    Attributes:
        transformer: an elementwise map: `AdditiveTransformer()`, `AffineTransformer()`, ... (`transformers.py`).
        conditioner: any network; it gets the part conditioned on, with the context's features after it on the last
            axis, and puts out features in any number, at each position or as one vector [B, K].
        mask: None splits the last axis in halves, the first of which conditions the second, and only the half that
            moves is computed; else True marks what is conditioned on: `Checkerboard()`, `Alternate()`, any function
            from event shape to a boolean array, or a nested tuple of booleans that broadcasts to the event.
        flip: swaps the two parts.
        head: the last layer, `head(features, start)`; sized here.

    Raises:
        ValueError: one of the parts is empty, or the context does not fit.
    """

    transformer: Any
    conditioner: nn.Module
    mask: Any = None
    flip: bool = False
    head: Callable[..., nn.Module] = ZeroHead

    def _parameters(self, h: Array, context: Array | None, shape: tuple[int, ...]) -> Array:
        dtype = h.dtype
        if context is not None:
            h = jnp.concatenate([h, fit_context(context, h.shape).astype(dtype)], -1)
        return head_parameters(self.head, self.transformer, self.conditioner(h), shape).astype(dtype)

    def _conditioned_on(self, event_shape: tuple[int, ...]) -> np.ndarray:
        mask = self.mask(event_shape) if callable(self.mask) else np.asarray(self.mask, bool)
        try:
            mask = np.broadcast_to(mask, event_shape) != self.flip
        except ValueError:
            raise ValueError(f"The mask {self.mask!r:.80} does not broadcast to an event {event_shape}.") from None
        if mask.all() or not mask.any():
            raise ValueError(f"The mask {self.mask} leaves one part of an event of shape {event_shape} empty.")
        return mask

    @nn.compact
    def _both(self, x: Array, context: Array | None, direction: str, y: Array | None = None) -> ValueAndLogDet:
        x, move = at_least_float32(x), getattr(self.transformer, direction)
        if self.mask is None:
            if x.shape[-1] < 2:
                raise ValueError(f"A coupling of halves needs two features on the last axis, got shape {x.shape}.")
            first, second = jnp.split(x, [x.shape[-1] // 2], -1)
            kept, moved = (second, first) if self.flip else (first, second)
            moved, log_derivative = move(moved, self._parameters(kept, context, moved.shape))
            parts = (moved, kept) if self.flip else (kept, moved)
            return jnp.concatenate(parts, -1), sum_over_event(log_derivative)
        keep = self._conditioned_on(x.shape[1:])
        kept = jnp.where(keep, x, 0)
        if y is not None:
            # x is itself where(keep, y, ...), which XLA does not see through
            kept = _same(kept, jnp.where(keep, y, 0))
        parameters = self._parameters(kept, context, x.shape)
        # What is kept goes in as zero, so that gradients of the branch not taken are finite.
        moved, log_derivative = move(jnp.where(keep, 0, x), parameters)
        return jnp.where(keep, x, moved), sum_over_event(jnp.where(keep, 0, log_derivative))

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, "forward")

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, context, "inverse")

    def differentiate_at(self, direction: str, x: Array, y: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, direction, y)
