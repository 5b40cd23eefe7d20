"""A stack of dense layers."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn


class MLP(nn.Module):
    """Dense layers, each followed by the activation; arrays of rank above two are flattened to [B, features] first.

    Attributes:
        widths: features of each hidden layer.
        activation: after each hidden layer.
        features: features of a last, linear layer; None for none, as a coupling's conditioner wants.
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    features: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = self.activation(nn.Dense(width)(x))
        return x if self.features is None else nn.Dense(self.features)(x)
