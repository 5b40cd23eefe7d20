"""Last layers, owned by models: a user brings a network and counts no output features, the head adds what is due.

Heads compute at least in float32 whatever the network before them computed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv, UpConv
from jaxgen.precision import wide

LOG_VARIANCE_BOUND = 14.0
"""Log-variances stay within +-14, standard deviations within 0.0009 and 1100."""


class Headed(nn.Module):
    """A network and its last layer."""

    network: nn.Module
    head: nn.Module

    def __call__(self, x: jax.Array):
        return self.head(self.network(x))


class GaussianHead(nn.Module):
    """Features [B, ...] to the mean and the log-variance of a diagonal normal, each [B, latents], and more features.

    Attributes:
        features: the width of a third output, [B, features]; with 0 it is None.
    """

    latents: int
    features: int = 0

    @nn.compact
    def __call__(self, h: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        h = h.reshape(h.shape[0], -1)
        mean = nn.Dense(self.latents, dtype=wide(h), name="mean")(h)
        raw = nn.Dense(self.latents, dtype=wide(h), name="log_variance")(h)
        more = nn.Dense(self.features, name="features")(h) if self.features else None
        return mean, LOG_VARIANCE_BOUND * jnp.tanh(raw / LOG_VARIANCE_BOUND), more


class EventHead(nn.Module):
    """Features [B, ...] to `n` numbers per coordinate of an event, [B, *event_shape, n].

    A 3x3 convolution where the features already have the image's resolution, an `UpConv` where they have half of it, a
    dense layer elsewhere.
    """

    event_shape: tuple[int, ...]
    n: int = 1

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        resolution = h.shape[1:-1] if len(self.event_shape) == 3 else None
        if resolution == self.event_shape[:-1]:
            h = Conv(self.event_shape[-1] * self.n, 3, dtype=wide(h), name="out")(h)
        elif resolution and tuple(2 * side for side in resolution) == self.event_shape[:-1]:
            h = UpConv(self.event_shape[-1] * self.n, dtype=wide(h), name="out")(h)
        else:
            h = nn.Dense(math.prod(self.event_shape) * self.n, dtype=wide(h), name="out")(h.reshape(h.shape[0], -1))
        return h.reshape(h.shape[0], *self.event_shape, self.n)


class ScalarHead(nn.Module):
    """Features [B, ...] to one number a row, [B].

    Attributes:
        layer: makes the dense layer: `SpectralDense` for a spectrally normalised one.
    """

    layer: Callable[..., nn.Module] = nn.Dense

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        return self.layer(1, dtype=wide(h), name="out")(h.reshape(h.shape[0], -1))[:, 0]


class VectorHead(nn.Module):
    """Features [B, ...] to [B, features]."""

    features: int

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        return nn.Dense(self.features, dtype=wide(h), name="out")(h.reshape(h.shape[0], -1))
