"""Feature extractors: images to vectors for a classifier's last layer."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.nets.encoders import ConvEncoder


class ConvFeatures(nn.Module):
    """[B, H, W, C] to [B, features]: a `ConvEncoder` and a dense layer, each followed by the activation.

    Attributes:
        widths: channels of each stage of the encoder.
        dropout: rate for inputs and outputs of the dense layer, active with a `dropout` stream.
    """

    widths: tuple[int, ...] = (32, 64)
    features: int = 64
    dropout: float = 0.2
    activation: Callable = nn.silu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        dropout = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        x = ConvEncoder(self.widths, self.activation)(x)
        return dropout(self.activation(nn.Dense(self.features)(dropout(x.reshape(x.shape[0], -1)))))
