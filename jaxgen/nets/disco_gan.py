"""DiscoGAN networks (Kim et al. 2017, section 3.4, and their code, SKTBrain/DiscoGAN).

4x4 convolutions with stride 2, on the way up transposed, without biases; batch normalisation except at the first layer
and the last, which belongs to the model; LeakyReLU of slope 0.2 on the way down, ReLU on the way up.
"""

from __future__ import annotations

import math

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, TransposedConv
from jaxgen.nets.normalization import BatchNorm


class DiscoGANGenerator(nn.Module):
    """An encoder and a decoder: [B, H, W, C] to [B, H/2, W/2, widths[0]].

    The last fractionally strided convolution is the model's last layer (`jaxgen.nets.heads.EventHead`).

    Attributes:
        widths: channels after each halving of the resolution; (64, 128, 256, 512) in the paper, for 64 x 64 images.
        bottleneck: dimension of a dense layer in the middle; None: none. 100 in the authors' experiments on angles.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    bottleneck: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, width in enumerate(self.widths):
            x = Conv(width, 4, strides=2, use_bias=False)(x)
            x = nn.leaky_relu(x if i == 0 else BatchNorm()(x), 0.2)
        if self.bottleneck is not None:
            shape = x.shape[1:]
            # the authors' convolution over the whole image, and its transpose
            x = nn.leaky_relu(BatchNorm()(nn.Dense(self.bottleneck, use_bias=False)(x.reshape(x.shape[0], -1))), 0.2)
            x = nn.Dense(math.prod(shape), use_bias=False)(x).reshape(-1, *shape)
            x = nn.relu(BatchNorm()(x))
        for width in self.widths[-2::-1]:
            x = nn.relu(BatchNorm()(TransposedConv(width, use_bias=False)(x)))
        return x


class DiscoGANCritic(nn.Module):
    """[B, H, W, C] to the features of each layer, [B, H/2, W/2, widths[0]], [B, H/4, W/4, widths[1]], ...

    Attributes:
        widths: channels of each layer; (64, 128, 256, 512) in the paper, for 64 x 64 images.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        features = []
        for i, width in enumerate(self.widths):
            x = Conv(width, 4, strides=2, use_bias=False)(x)
            x = nn.leaky_relu(x if i == 0 else BatchNorm()(x), 0.2)
            features.append(x)
        return tuple(features)
