"""Critics of adversarial networks: images to features."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.initializers import he_normal


def mean_pool(x: jax.Array) -> jax.Array:
    """Halves the resolution: [B, H, W, C] to [B, H/2, W/2, C]."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


class DownBlock(nn.Module):
    """Two activated convolutions, then pooling; beside them a 1x1 convolution where the number of channels changes.

    Attributes:
        first: the block sees the data themselves, which are neither normalised nor activated.
        layer_norm: over all dimensions of a row, so that rows stay independent.
        conv: makes the convolutions: `SpectralConv` for spectrally normalised ones.
    """

    width: int
    halve: bool = True
    first: bool = False
    layer_norm: bool = False
    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def activate(h):
            return nn.relu(nn.LayerNorm(reduction_axes=(1, 2, 3), feature_axes=-1)(h) if self.layer_norm else h)

        h = self.conv(self.width, 3, kernel_init=he_normal)(x if self.first else activate(x))
        h = self.conv(self.width, 3, kernel_init=he_normal)(activate(h))
        if self.halve:
            # pooling and a 1x1 convolution commute: the cheaper order
            h, x = mean_pool(h), mean_pool(x)
        return h + (x if x.shape == h.shape else self.conv(self.width, 1)(x))


class ResNetCritic(nn.Module):
    """The residual critic of Gulrajani et al. 2017, up to its last layer: [B, H, W, C] to [B, width].

    Attributes:
        width: channels everywhere; the paper's 128.
        halvings: blocks that pool; the paper's 2 on 32 x 32 images.
        blocks: blocks after them that do not.
        layer_norm: the paper's CIFAR-10 critic has none, its 64 x 64 one has.
    """

    width: int = 128
    halvings: int = 2
    blocks: int = 2
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i in range(self.halvings):
            x = DownBlock(self.width, first=i == 0, layer_norm=self.layer_norm)(x)
        for _ in range(self.blocks):
            x = DownBlock(self.width, halve=False, layer_norm=self.layer_norm)(x)
        return nn.relu(x).mean((1, 2))
