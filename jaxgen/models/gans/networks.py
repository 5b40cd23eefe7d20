"""Generator and critic: networks with their last layers, and how they take a context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import broadcast_context
from jaxgen.nets.heads import EventHead, SymbolHead

Inputs = tuple[jax.Array, jax.Array | None]
"""What a network is called with, [B, ...], and its context, [B, D] or None."""


class CriticOutput(NamedTuple):
    """What a critic returns.

    Attributes:
        score: [B], or [B, ...] if the critic rates positions.
        features: [B, ...], what the score was computed from.
        extras: further outputs by name, [B, ...] each, for example the `kl` of a bottleneck.
    """

    score: jax.Array
    features: jax.Array
    extras: Mapping[str, jax.Array] = {}


def apply_condition(condition: nn.Module, x: jax.Array, context: jax.Array | None) -> jax.Array:
    """The input of a network: x as `condition` modifies it by the context, or x itself without a context."""
    return x if context is None else condition.before(x, context)


class RelaxedSymbols(nn.Module):
    """From features to relaxed symbols, [B, *event_shape, num_symbols].

    Attributes:
        relaxation: of the symbols' logits (`jaxgen.nets.relaxations`).
    """

    event_shape: tuple[int, ...]
    num_symbols: int
    relaxation: nn.Module

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        return self.relaxation(SymbolHead(self.event_shape, self.num_symbols, name="symbols")(h))


class Generator(nn.Module):
    """Latents [B, L] and a context to an event, [B, *event_shape].

    Attributes:
        network: from latents to features.
        condition: how it takes the context (`jaxgen.nets.conditioning`).
        bounded: whether the last layer is a tanh.
        head: from features to the event; None: `EventHead`, with a tanh if `bounded`.
    """

    network: nn.Module
    condition: nn.Module
    event_shape: tuple[int, ...]
    bounded: bool
    head: nn.Module | None = None

    @nn.compact
    def __call__(self, inputs: Inputs) -> jax.Array:
        z, context = inputs[0], broadcast_context(inputs[1], inputs[0])
        h = self.network(apply_condition(self.condition, z, context))
        if self.head is not None:
            return self.head(h)
        y = EventHead(self.event_shape, name="head")(h)[..., 0]
        return jnp.tanh(y) if self.bounded else y


class Critic(nn.Module):
    """An event and a context to a score, linear in the features of the last of `layers`.

    Attributes:
        network: from events to features.
        layers: between the network and the head, each from features to `(features, extras)`.
        head: from features to the score.
    """

    network: nn.Module
    condition: nn.Module
    head: nn.Module
    layers: tuple[nn.Module, ...] = ()

    @nn.compact
    def __call__(self, inputs: Inputs) -> CriticOutput:
        x, context = inputs[0], broadcast_context(inputs[1], inputs[0])
        features, extras = self.network(apply_condition(self.condition, x, context)), {}
        for layer in self.layers:
            features, new = layer(features)
            extras |= new
        score = self.head(features)
        if context is not None:
            by_example = self.condition.after(features, context)
            score += by_example.reshape(-1, *(1,) * (score.ndim - 1))
        return CriticOutput(score, features, extras)
