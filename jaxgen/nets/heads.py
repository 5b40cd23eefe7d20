"""Last layers, added by models, so that users do not size the outputs of their networks.

Heads compute in float32 or wider, whatever dtype the network computes in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv, UpConv
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.precision import float32_or_wider

LOG_VARIANCE_BOUND = 14.0
"""Bound on |log-variance|: standard deviations are between 0.0009 and 1100."""


class Headed(nn.Module):
    """A network and its last layer."""

    network: nn.Module
    head: nn.Module

    def __call__(self, x: jax.Array):
        return self.head(self.network(x))


class HeadedWithInput(nn.Module):
    """A network and its last layer; returns the last layer's input, and its output."""

    network: nn.Module
    head: nn.Module

    def __call__(self, x: jax.Array):
        h = self.network(x)
        return h, self.head(h)


class GaussianHead(nn.Module):
    """Features [B, ...] to a `DiagonalNormal`, [B, latent_dim]."""

    latent_dim: int

    @nn.compact
    def __call__(self, h: jax.Array) -> DiagonalNormal:
        return self._normal(h.reshape(h.shape[0], -1))

    def _normal(self, h: jax.Array) -> DiagonalNormal:
        mean = nn.Dense(self.latent_dim, dtype=float32_or_wider(h), name="mean")(h)
        raw = nn.Dense(self.latent_dim, dtype=float32_or_wider(h), name="log_variance")(h)
        return DiagonalNormal(mean, LOG_VARIANCE_BOUND * jnp.tanh(raw / LOG_VARIANCE_BOUND))


class GaussianFeaturesHead(GaussianHead):
    """Features [B, ...] to a `DiagonalNormal` and features [B, num_features], the context of a flow."""

    num_features: int

    @nn.compact
    def __call__(self, h: jax.Array) -> tuple[DiagonalNormal, jax.Array]:
        h = h.reshape(h.shape[0], -1)
        return self._normal(h), nn.Dense(self.num_features, name="features")(h)


class EventHead(nn.Module):
    """Features [B, ...] to `num_params` numbers per coordinate of an event, [B, *event_shape, num_params].

    A convolution if the features have the image's resolution, an `UpConv` if they have half of it, otherwise a dense
    layer.

    Attributes:
        kernel_size, padding: of the convolution; `"REFLECT"` pads by reflection.
    """

    event_shape: tuple[int, ...]
    num_params: int = 1
    kernel_size: int = 3
    padding: str = "SAME"

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        resolution = h.shape[1:-1] if len(self.event_shape) == 3 else None
        if resolution == self.event_shape[:-1]:
            features, fields = self.event_shape[-1] * self.num_params, {"padding": self.padding, "name": "out"}
            h = Conv(features, self.kernel_size, dtype=float32_or_wider(h), **fields)(h)
        elif resolution and tuple(2 * side for side in resolution) == self.event_shape[:-1]:
            h = UpConv(self.event_shape[-1] * self.num_params, dtype=float32_or_wider(h), name="out")(h)
        else:
            size = math.prod(self.event_shape) * self.num_params
            h = nn.Dense(size, dtype=float32_or_wider(h), name="out")(h.reshape(h.shape[0], -1))
        return h.reshape(h.shape[0], *self.event_shape, self.num_params)


class SymbolHead(nn.Module):
    """Features [B, ...] to logits of symbols, [B, *event_shape, num_symbols].

    A dense layer at each position if there are features for each, [B, *event_shape, C], otherwise one for all.
    """

    event_shape: tuple[int, ...]
    num_symbols: int

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        if h.shape[1:-1] == self.event_shape:
            return nn.Dense(self.num_symbols, dtype=float32_or_wider(h), name="out")(h)
        return EventHead(self.event_shape, self.num_symbols, name="out")(h.reshape(h.shape[0], -1))


class ScalarHead(nn.Module):
    """Features [B, ...] to one number per example, [B].

    Attributes:
        layer: the class of the dense layer; `SpectralDense` normalises it spectrally.
    """

    layer: Callable[..., nn.Module] = nn.Dense

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        return self.layer(1, dtype=float32_or_wider(h), name="out")(h.reshape(h.shape[0], -1))[:, 0]


class VectorHead(nn.Module):
    """Features [B, ...] to [B, features]."""

    features: int

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        return nn.Dense(self.features, dtype=float32_or_wider(h), name="out")(h.reshape(h.shape[0], -1))


class PositionHead(nn.Module):
    """Features [B, ..., F] to [B, ..., features] by one dense layer for all positions.

    Attributes:
        features: None: one number per position, [B, ...].
        activation: None: none.
        stddev: standard deviation of the initial weights and biases; None: Flax's defaults.
    """

    features: int | None = None
    activation: Callable[[jax.Array], jax.Array] | None = None
    stddev: float | None = None

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        initial = {}
        if self.stddev is not None:
            initial = dict.fromkeys(("kernel_init", "bias_init"), nn.initializers.truncated_normal(self.stddev))
        h = nn.Dense(self.features or 1, dtype=float32_or_wider(h), name="out", **initial)(h)
        h = h if self.activation is None else self.activation(h)
        return h[..., 0] if self.features is None else h
