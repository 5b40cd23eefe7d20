"""Conditioning of networks on a context c [B, D], for example a one-hot class.

Each module has two methods: `before(x, c)` replaces the network's input x [B, ..., C]; `after(features, c)`, [B], is
added to the score of a critic, where `features` [B, ..., F] is the network's output.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.nets.context import concatenate_context
from jaxgen.sharding import full_batch


class Concatenate(nn.Module):
    """[x, c]: the context on the last axis of x, at each position (Mirza and Osindero 2014, "Conditional GANs").

    Attributes:
        embedding_dim: dimension of a learned linear embedding of the context; 0: the context itself.
    """

    embedding_dim: int = 0

    @nn.compact
    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        if self.embedding_dim:
            context = nn.Dense(self.embedding_dim, name="embedding")(context)
        return concatenate_context(x, context)

    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        return full_batch(features)


class FiLM(nn.Module):
    """x * (W c + b), elementwise, with one factor for each element of x (FiLM, Perez et al. 2018, without shift)."""

    @nn.compact
    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        factors = nn.Dense(math.prod(x.shape[1:]), name="factors")(context)
        return x * factors.reshape(x.shape).astype(x.dtype)

    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        return full_batch(features)


class Unconditional(nn.Module):
    """x: ignores the context (the critic of an ACGAN)."""

    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        return x

    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        return full_batch(features)


class Projection(nn.Module):
    """x, and <V c, sum of the features over all positions> added to the score; for critics.

    Source: Miyato and Koyama 2018, "cGANs with Projection Discriminator", equation 3.

    Attributes:
        layer: the class of V; `SpectralDense` for a spectrally normalised critic.
    """

    layer: Callable[..., nn.Module] = nn.Dense

    def before(self, x: jax.Array, context: jax.Array) -> jax.Array:
        return x

    @nn.compact
    def after(self, features: jax.Array, context: jax.Array) -> jax.Array:
        pooled = features.reshape(features.shape[0], -1, features.shape[-1]).sum(1)
        return (self.layer(pooled.shape[-1], use_bias=False, name="embedding")(context) * pooled).sum(-1)
