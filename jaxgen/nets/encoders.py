"""Encoders: images to features."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.residual import ResidualStack


class ConvEncoder(nn.Module):
    """Halves the resolution once for each width: [B, H, W, C] to [B, H/2^n, W/2^n, widths[-1]].

    Attributes:
        widths: channels of each stage, a convolution of stride 2 and one of stride 1.
    """

    widths: tuple[int, ...] = (32, 64)
    activation: Callable = nn.silu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = self.activation(Conv(width, 3, strides=2)(x))
            x = self.activation(Conv(width, 3)(x))
        return x


class ResidualEncoder(nn.Module):
    """Halves the resolution n times: [B, H, W, C] to [B, H/2^n, W/2^n, width].

    4x4 convolutions with stride 2, then a 3x3 one and residual blocks at the lowest resolution. Source: van den Oord et
    al. 2017, "Neural Discrete Representation Learning", section 4.1.

    Attributes:
        width: channels at the lowest resolution, doubled at each halving.
        halvings: n.
        blocks, hidden: number of residual blocks, and channels within each.
    """

    width: int = 128
    halvings: int = 2
    blocks: int = 2
    hidden: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for remaining in reversed(range(self.halvings)):
            x = nn.relu(Conv(max(1, self.width >> remaining), 4, strides=2)(x))
        return ResidualStack(self.blocks, self.hidden)(Conv(self.width, 3)(x))
