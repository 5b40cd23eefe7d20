"""The two players of an adversarial game: networks with their last layers, and how they take a condition."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import context_rows
from jaxgen.nets.heads import EventHead

Pair = tuple[jax.Array, jax.Array | None]
"""What a network is given, [B, ...], and the condition on it, [B, D] or None."""


class Judgement(NamedTuple):
    """What a critic says of rows: a score [B], and features [B, ...] that it was made of."""

    score: jax.Array
    features: jax.Array


def told(condition: nn.Module, x: jax.Array, context: jax.Array | None) -> jax.Array:
    """What a network is given of x and the condition, where there is one."""
    return x if context is None else condition.before(x, context)


def scored(
    condition: nn.Module, score: jax.Array, features: jax.Array, context: jax.Array | None
) -> jax.Array:
    """A score, and what the condition adds to it, where there is one."""
    return score if context is None else score + condition.after(features, context)


class Generator(nn.Module):
    """Latents [B, L] and a condition to an event, [B, *event_shape].

    Attributes:
        network: from latents to features.
        condition: how it takes the condition (`jaxgen.nets.conditioning`).
        bounded: a tanh ends it.
    """

    network: nn.Module
    condition: nn.Module
    event_shape: tuple[int, ...]
    bounded: bool

    @nn.compact
    def __call__(self, pair: Pair) -> jax.Array:
        z, context = pair
        context = context_rows(context, z)
        h = self.network(told(self.condition, z, context))
        y = EventHead(self.event_shape, name="head")(h)[..., 0]
        return jnp.tanh(y) if self.bounded else y


class Critic(nn.Module):
    """An event and a condition to a score, and to the features that it is a linear function of."""

    network: nn.Module
    condition: nn.Module
    head: nn.Module

    @nn.compact
    def __call__(self, pair: Pair) -> Judgement:
        x, context = pair
        context = context_rows(context, x)
        features = self.network(told(self.condition, x, context))
        return Judgement(scored(self.condition, self.head(features), features, context), features)
