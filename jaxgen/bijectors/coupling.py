"""Couplings: a network computes the parameters of one part's map from the other part."""

from __future__ import annotations

import dataclasses
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
    """An output layer with a zero kernel and the initial parameters as bias: a 3x3 convolution on images, else dense.

    Attributes:
        features: number of outputs, a multiple of `len(initial_params)`: the first parameter of every channel, then the
            second, and so on.
        initial_params: the initial value of each parameter.
    """

    features: int
    initial_params: tuple[float, ...] = (0.0,)

    @nn.compact
    def __call__(self, h: Array) -> Array:
        def bias_init(key, shape, dtype=jnp.float32):
            return jnp.repeat(jnp.asarray(self.initial_params, dtype), shape[0] // len(self.initial_params))

        layer, zeros = Conv if h.ndim == 4 else nn.Dense, nn.initializers.zeros
        return layer(self.features, kernel_init=zeros, bias_init=bias_init, dtype=float32_or_wider(h), name="layer")(h)


class SharedHead(nn.Module):
    """A `ZeroHead` for all but the last `shared` parameters of every channel, which do not depend on the input.

    These are free parameters, the same for all examples and positions. (If one vector [B, K] parametrises all positions
    of an image at once, each coordinate is a channel of its own.)

    Attributes:
        features, initial_params: as in `ZeroHead`.
        shared: number of free parameters per channel.

    Raises:
        ValueError: `shared` below 1 or not below `len(initial_params)`.
    """

    features: int
    initial_params: tuple[float, ...]
    shared: int = 1

    @nn.compact
    def __call__(self, h: Array) -> Array:
        initial, n = self.initial_params, len(self.initial_params) - self.shared
        channels = self.features // len(initial)
        if n < 1 or self.shared < 1:
            raise ValueError(f"`shared` must be between 1 and {len(initial) - 1}, got {self.shared}")
        p = ZeroHead(n * channels, initial[:n], name="layer")(h)
        free = self.param("free", lambda _: jnp.repeat(jnp.asarray(initial[n:], jnp.float32), channels))
        return jnp.concatenate([p, free.astype(p.dtype) + jnp.zeros_like(p[..., :1])], -1)


def fit_context(context: Array, shape: tuple[int, ...]) -> Array:
    """A context at the resolution of an input of `shape` [B, ..., C]: [B, ..., K].

    A vector [B, K] is repeated at every position; an image [B, h, w, K] is resized bilinearly.

    Raises:
        ValueError: another rank or batch size.
    """
    inner = tuple(shape[1:-1])
    same_rank = context.ndim == len(shape) and (context.shape[1:-1] == inner or context.ndim == 4)
    if context.shape[:1] != tuple(shape[:1]) or not (context.ndim == 2 or same_rank):
        raise ValueError(f"`context` must be [B, K] or fit an input of shape {tuple(shape)}, got shape {context.shape}")
    if context.ndim == 2:
        context = context.reshape(context.shape[0], *(1 for _ in inner), context.shape[1])
        return jnp.broadcast_to(context, (shape[0], *inner, context.shape[-1]))
    if context.shape[1:-1] != inner:
        context = jax.image.resize(at_least_float32(context), (shape[0], *inner, context.shape[-1]), "bilinear")
    return context


def head_parameters(
    head: Callable[..., nn.Module], transformer: Transformer, h: Array, shape: tuple[int, ...]
) -> Array:
    """A transformer's parameters [*shape, num_params] for coordinates of `shape` [B, ..., C], by a head on features h.

    h is [B, ..., K] with the positions of `shape`, or [B, K], from which the head computes all positions at once.

    Raises:
        ValueError: h has another shape.
    """
    n = transformer.num_params
    if h.shape[:-1] != shape[:-1] and h.ndim != 2:
        raise ValueError(f"a conditioner must return [B, K] or {(*shape[:-1], 'K')}, got shape {h.shape}")
    per_position = h.shape[:-1] == shape[:-1]
    features = n * (shape[-1] if per_position else math.prod(shape[1:]))
    p = head(features, transformer.initial_params(), name="head")(h)
    p = p.reshape(*shape[:-1], n, shape[-1]) if per_position else p.reshape(shape[0], n, *shape[1:])
    return jnp.moveaxis(p, -2 if per_position else 1, -1)


@jax.custom_jvp
def _same(x: Array, known: Array) -> Array:
    """The value of `known`, an equal array that the compiler sees through; the derivative with respect to x."""
    return known


_same.defjvp(lambda primals, tangents: (primals[1], tangents[0]))


class Coupling(Bijector):
    """`z = (1 - m) * f(x; g(m * x, context)) + m * x`, `log_det = sum (1 - m) log|f'|`, with a mask m.

    f is the `transformer`, g the `conditioner` followed by the `head`. Both directions take one pass of the network;
    `forward` runs from data to latents. Source: Dinh et al. 2015 and 2017.

    Attributes:
        transformer: an elementwise map: `Additive()`, `TanhAffine()`, ... (`transformers.py`).
        conditioner: any network; its input is the part conditioned on, with the context's features appended on the last
            axis, its output any number of features, at each position or as one vector [B, K].
        mask: True (m = 1) for the coordinates conditioned on: `Checkerboard()`, `Alternate()`, any function from event
            shape to a boolean array, or a nested tuple of booleans that broadcasts to the event. None splits the last
            axis in halves, the first of which conditions the second, and computes the parameters of that half only.
        flip: swaps the two parts.
        head: the output layer, `head(features, initial_params)`, with the number of features that f needs.

    Raises:
        ValueError: one of the parts is empty, or the context does not fit.
    """

    transformer: Any
    conditioner: nn.Module
    mask: Any = None
    flip: bool = dataclasses.field(default=False, kw_only=True)
    head: Callable[..., nn.Module] = dataclasses.field(default=ZeroHead, kw_only=True)

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
            raise ValueError(f"`mask` must broadcast to an event {event_shape}, got {self.mask!r:.80}") from None
        if mask.all() or not mask.any():
            raise ValueError(f"`mask` must leave neither part of an event {event_shape} empty, got {self.mask!r:.80}")
        return mask

    @nn.compact
    def _both(self, x: Array, context: Array | None, direction: str, y: Array | None = None) -> ValueAndLogDet:
        x, move = at_least_float32(x), getattr(self.transformer, direction)
        if self.mask is None:
            if x.shape[-1] < 2:
                raise ValueError(f"a coupling of halves requires two features on the last axis, got shape {x.shape}")
            first, second = jnp.split(x, [x.shape[-1] // 2], -1)
            kept, moved = (second, first) if self.flip else (first, second)
            moved, log_derivative = move(moved, self._parameters(kept, context, moved.shape))
            parts = (moved, kept) if self.flip else (kept, moved)
            return jnp.concatenate(parts, -1), sum_over_event(log_derivative)
        keep = self._conditioned_on(x.shape[1:])
        kept = jnp.where(keep, x, 0)
        if y is not None:
            # x is itself where(keep, y, ...), which XLA does not detect
            kept = _same(kept, jnp.where(keep, y, 0))
        parameters = self._parameters(kept, context, x.shape)
        # kept coordinates enter as zero, so that gradients of the branch not taken are finite
        moved, log_derivative = move(jnp.where(keep, 0, x), parameters)
        return jnp.where(keep, x, moved), sum_over_event(jnp.where(keep, 0, log_derivative))

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, "forward")

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, context, "inverse")

    def differentiate_at(self, direction: str, x: Array, y: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, direction, y)
