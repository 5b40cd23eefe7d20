"""Generators of adversarial networks: latents to features of an image's resolution."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.initializers import he_normal
from jaxgen.nets.normalization import BatchNorm, ConditionalBatchNorm


def upsample(x: jax.Array) -> jax.Array:
    """Doubles the resolution, each pixel four times: [B, H, W, C] to [B, 2H, 2W, C]."""
    return x.repeat(2, 1).repeat(2, 2)


class UpBlock(nn.Module):
    """Normalise, activate, double, convolve, normalise, activate, convolve; beside it a doubled 1x1 convolution.

    Given a condition [B, K], it sets the gains and biases of the normalisations.

    Attributes:
        conv: makes the convolutions: `SpectralConv` for spectrally normalised ones.
    """

    width: int
    conv: Callable[..., nn.Module] = Conv

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None) -> jax.Array:
        def activate(h):
            return nn.relu(BatchNorm()(h) if condition is None else ConditionalBatchNorm()(h, condition))

        # no biases: what a block adds to all pixels alike, the next normalisation takes away
        h = self.conv(self.width, 3, use_bias=False, kernel_init=he_normal)(upsample(activate(x)))
        h = self.conv(self.width, 3, use_bias=False, kernel_init=he_normal)(activate(h))
        return upsample(self.conv(self.width, 1, use_bias=False)(x)) + h


class ResNetGenerator(nn.Module):
    """The residual generator of Gulrajani et al. 2017, up to its last convolution: [B, L] to [B, h 2^n, w 2^n, width].

    Attributes:
        start: height and width of the first, dense layer's image.
        doublings: upsampling blocks.
        width: channels everywhere; the paper's 128.
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
