"""How a network takes a context c [B, D], a class for one: what it is given of it, and what a critic's score adds.

Each has two methods: `before(x, c)`, what the network is given in place of x [B, ..., C], and `after(features, c)`, a
term [B] that a critic adds to its score, with `features` [B, ..., F] what its network made of the former.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.nets.context import concatenate_context
from jaxgen.sharding import full_rows


class Concatenate(nn.Module):
    """The context on the last axis of x, at each place (Mirza and Osindero 2014, "Conditional GANs").

    Attributes:
        features: of a learned linear embedding that stands for the context; 0 for the context itself.
    """

    features: int = 0

    @nn.compact
    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        if self.features:
            context = nn.Dense(self.features, name="embedding")(context)
        return concatenate_context(x, context)

    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        return full_rows(features)


class Hadamard(nn.Module):
    """x times an affine function of the context of x's own size, coordinate by coordinate (Perez et al. 2018)."""

    @nn.compact
    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        factors = nn.Dense(math.prod(x.shape[1:]), name="factors")(context)
        return x * factors.reshape(x.shape).astype(x.dtype)

    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        return full_rows(features)


class Ignore(nn.Module):
    """x as it is: a critic that is not told, whose features tell instead."""

    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        return x

    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        return full_rows(features)


class Projection(nn.Module):
    """x as it is, and <V c, sum of the features over all places> on the score; for critics.

    Source: Miyato and Koyama 2018, "cGANs with Projection Discriminator", equation 3.

    Attributes:
        layer: makes V; `SpectralDense` where the critic is spectrally normalised.
    """

    layer: Callable[..., nn.Module] = nn.Dense

    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        return x

    @nn.compact
    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        pooled = features.reshape(features.shape[0], -1, features.shape[-1]).sum(1)
        return (self.layer(pooled.shape[-1], use_bias=False, name="embedding")(context) * pooled).sum(-1)
