"""Encoders and decoders of images with residual blocks at the lowest resolution, in parts that domains may share.

The networks of UNIT (Liu et al. 2017, "Unsupervised Image-to-Image Translation Networks", appendix), without their last
layers. An encoder is `ImageEncoder` then `ResidualBlocks`, a decoder `ResidualBlocks` then `ImageDecoder`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, TransposedConv
from jaxgen.nets.initializers import he_normal
from jaxgen.nets.normalization import InstanceNorm

Norm = Callable[[], nn.Module] | None


def _normalized(norm: Norm, x: jax.Array) -> jax.Array:
    return x if norm is None else norm()(x)


class ResidualBlocks(nn.Module):
    """[B, H, W, C] to itself: blocks x + norm(conv(relu(norm(conv(x))))) of 3x3 convolutions.

    Attributes:
        blocks: number of blocks.
        norm: the class of the normalisation; None: none.
    """

    blocks: int = 1
    norm: Norm = InstanceNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fields = {"use_bias": self.norm is None, "kernel_init": he_normal}
        for _ in range(self.blocks):
            h = nn.relu(_normalized(self.norm, Conv(x.shape[-1], **fields)(x)))
            x = x + _normalized(self.norm, Conv(x.shape[-1], **fields)(h))
        return x


class ImageEncoder(nn.Module):
    """[B, H, W, C] to [B, H/2^n, W/2^n, 2^n width]: c7s1-64, d128, d256 with LeakyReLU, and residual blocks.

    Attributes:
        width: channels of the first layer, doubled at each halving.
        halvings: n, convolutions with stride 2.
        blocks: residual blocks.
        kernel_size: of the first convolution.
        norm: normalisation of the residual blocks.
        strided_norm: normalisation of the other layers; None in the paper, `InstanceNorm` in the authors' later program.
    """

    width: int = 64
    halvings: int = 2
    blocks: int = 3
    kernel_size: int = 7
    norm: Norm = InstanceNorm
    strided_norm: Norm = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fields = {"use_bias": self.strided_norm is None, "kernel_init": he_normal}
        for i in range(self.halvings + 1):
            size, stride = (self.kernel_size, 1) if i == 0 else (3, 2)
            x = Conv(self.width << i, size, strides=stride, **fields)(x)
            x = nn.leaky_relu(_normalized(self.strided_norm, x))
        return ResidualBlocks(self.blocks, self.norm)(x)


class ImageDecoder(nn.Module):
    """[B, h, w, 2^n width] to features [B, 2^n h, 2^n w, width], for the model's last layer: residual blocks, u128, u64.

    Attributes:
        width: channels after the last doubling of the resolution.
        doublings: n, transposed convolutions with stride 2, each followed by a LeakyReLU.
        blocks: residual blocks.
        norm: normalisation of the residual blocks.
        strided_norm: normalisation of the other layers; None in the paper, `nn.LayerNorm` in the authors' later program.
    """

    width: int = 64
    doublings: int = 2
    blocks: int = 3
    norm: Norm = InstanceNorm
    strided_norm: Norm = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = ResidualBlocks(self.blocks, self.norm)(x)
        fields = {"use_bias": self.strided_norm is None, "kernel_init": he_normal}
        for i in reversed(range(self.doublings)):
            x = nn.leaky_relu(_normalized(self.strided_norm, TransposedConv(self.width << i, **fields)(x)))
        return x
