"""Residual convolutional networks."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv


class ResNet(nn.Module):
    """[B, H, W, C] to [B, H, W, width]: a convolution, pre-activated residual blocks of two, and a ReLU.

    Source: He et al. 2016, "Identity mappings in deep residual networks", by default normalised over channels.

    Attributes:
        width: channels of all layers.
        blocks: residual blocks.
        norm: the class of the normalisation before each activation: `nn.LayerNorm`, `nn.InstanceNorm`, ...
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


class ResidualStack(nn.Module):
    """[B, H, W, C] to itself: blocks x + conv1x1(relu(conv3x3(relu(x)))), and a ReLU.

    Source: van den Oord et al. 2017, "Neural Discrete Representation Learning", section 4.1.

    Attributes:
        blocks: number of blocks.
        hidden: channels between a block's two convolutions.
    """

    blocks: int = 2
    hidden: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.blocks):
            h = nn.relu(Conv(self.hidden)(nn.relu(x)))
            x = x + Conv(x.shape[-1], 1)(h)
        return nn.relu(x)
