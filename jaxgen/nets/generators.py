"""Generators of GANs: latents to features with an image's resolution."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.initializers import he_normal
from jaxgen.nets.normalization import BatchNorm, ConditionalBatchNorm


def upsample(x: jax.Array) -> jax.Array:
    """Doubles the resolution by nearest neighbours: [B, H, W, C] to [B, 2H, 2W, C]."""
    return x.repeat(2, 1).repeat(2, 2)


class UpBlock(nn.Module):
    """A residual block that doubles the resolution, [B, H, W, C] to [B, 2H, 2W, width].

    Normalise, activate, upsample, convolve, normalise, activate, convolve; the shortcut is an upsampled 1x1
    convolution. A condition [B, K] sets the gains and biases of the normalisations.

    Attributes:
        conv: the class of the convolutions; `SpectralConv` for spectral normalisation.
    """

    width: int
    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
        def activate(h):
            return nn.relu(BatchNorm()(h) if condition is None else ConditionalBatchNorm()(h, condition))

        # the next normalisation cancels biases
        h = self.conv(self.width, 3, use_bias=False, kernel_init=he_normal)(upsample(activate(x)))
        h = self.conv(self.width, 3, use_bias=False, kernel_init=he_normal)(activate(h))
        return upsample(self.conv(self.width, 1, use_bias=False)(x)) + h


class ResNetGenerator(nn.Module):
    """The residual generator of Gulrajani et al. 2017, up to its last convolution: [B, L] to [B, h 2^n, w 2^n, width].

    Attributes:
        start: height and width of the image after the dense layer.
        doublings: number of blocks.
        width: channels of all layers; 128 in the paper.
    """

    start: tuple[int, int] = (4, 4)
    doublings: int = 3
    width: int = 128

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        height, width = self.start
        x = nn.Dense(height * width * self.width)(z).reshape(-1, height, width, self.width)
        for _ in range(self.doublings):
            x = UpBlock(self.width)(x)
        return nn.relu(BatchNorm()(x))
