"""Networks whose intermediate features are used too."""

from __future__ import annotations

import jax
from flax import linen as nn


class Stages(nn.Module):
    """Applies modules in order, as `nn.Sequential` does, and returns the output of each, first to last.

    A module that stands twice in `stages` is applied twice, with the same parameters.
    """

    stages: tuple[nn.Module, ...]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)


class FeatureCritic(nn.Module):
    """An event to its score [B] and the features of all layers of `network`, a tuple of [B, ...].

    Attributes:
        network: from events to the features of each layer, a tuple.
        head: from the last layer's features to the score.
    """

    network: nn.Module
    head: nn.Module

    def __call__(self, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        features = self.network(x)
        return self.head(features[-1]), features
