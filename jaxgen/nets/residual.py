"""A residual convolutional network."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv


class ResNet(nn.Module):
    """[B, H, W, C] to [B, H, W, width]: a convolution, pre-activated residual blocks of two, and a ReLU.

    Source: He et al. 2016, "Identity mappings in deep residual networks", normalised over the channels of a position.

    Attributes:
        width: channels of every layer.
        blocks: residual blocks.
        norm: makes the normalisation before each activation: `nn.LayerNorm`, `nn.InstanceNorm`, ...
    """

    width: int = 32
    blocks: int = 1
    norm: Callable[[], nn.Module] = nn.LayerNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.width)(x)
        for _ in range(self.blocks):
            h = Conv(self.width)(nn.relu(self.norm()(x)))
            x = x + Conv(self.width)(nn.relu(self.norm()(h)))
        return nn.relu(x)
