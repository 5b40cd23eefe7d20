"""Critics of GANs: images to features."""

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
    """A residual block of two activated convolutions and optional pooling, [B, H, W, C] to [B, H/2, W/2, width].

    The shortcut has a 1x1 convolution if the number of channels changes.

    Attributes:
        halve: whether to pool.
        first: the input is the data, which are neither normalised nor activated.
        layer_norm: normalise over all dimensions of an example, so that examples stay independent.
        conv: the class of the convolutions; `SpectralConv` for spectral normalisation.
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
            # pooling and the 1x1 convolution commute; this order is cheaper
            h, x = mean_pool(h), mean_pool(x)
        return h + (x if x.shape == h.shape else self.conv(self.width, 1)(x))


class ResNetCritic(nn.Module):
    """The residual critic of Gulrajani et al. 2017, up to its last layer: [B, H, W, C] to [B, width].

    Attributes:
        width: channels of all layers; 128 in the paper.
        halvings: blocks with pooling; 2 in the paper, for 32 x 32 images.
        blocks: blocks without pooling after them.
        layer_norm: False for the paper's CIFAR-10 critic, True for its 64 x 64 one.
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
