"""Encoders and decoders of images with residual blocks at the lowest resolution, in parts that domains may share.

The networks of UNIT (Liu et al. 2017, "Unsupervised Image-to-Image Translation Networks", appendix), without their last
layers. An encoder is an `ImageEncoder` then a `ResidualCoder`, a decoder two `ResidualCoder`s, of which the last ends
in doublings.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, TransposedConv
from jaxgen.nets.initializers import he_normal
from jaxgen.nets.normalization import InstanceNorm

Norm = Callable[[], nn.Module] | None


def _layer(norm: Norm, layer: Callable[..., nn.Module], *args, x: jax.Array, **fields) -> jax.Array:
    """A convolution of x, without a bias if it is normalised."""
    x = layer(*args, use_bias=norm is None, kernel_init=he_normal, **fields)(x)
    return x if norm is None else norm()(x)


class ResidualCoder(nn.Module):
    """Halvings, residual blocks, doublings: [B, H, W, C] to [B, H r, W r, C / r] with r = 2^(doublings - halvings).

    3x3 convolutions with stride 2, blocks x + norm(conv(relu(norm(conv(x))))) of 3x3 convolutions, and transposed
    convolutions with stride 2. A LeakyReLU follows each halving and doubling.

    Attributes:
        norm: the class of the normalisation in residual blocks; None: none.
        strided_norm: that of halvings and doublings; None in the paper, `InstanceNorm` in an encoder and `ExampleNorm`
            in a decoder of the authors' later program.
    """

    halvings: int = 0
    blocks: int = 1
    doublings: int = 0
    norm: Norm = InstanceNorm
    strided_norm: Norm = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.halvings):
            x = nn.leaky_relu(_layer(self.strided_norm, Conv, 2 * x.shape[-1], 3, strides=2, x=x))
        for _ in range(self.blocks):
            h = nn.relu(_layer(self.norm, Conv, x.shape[-1], x=x))
            x = x + _layer(self.norm, Conv, x.shape[-1], x=h)
        for _ in range(self.doublings):
            x = nn.leaky_relu(_layer(self.strided_norm, TransposedConv, x.shape[-1] // 2, x=x))
        return x


class ImageEncoder(nn.Module):
    """[B, H, W, C] to [B, H/2^n, W/2^n, 2^n width]: c7s1-64 with LeakyReLU, and a `ResidualCoder`.

    Attributes:
        width: channels of the first layer.
        kernel_size: of the first layer.
        halvings, blocks, norm, strided_norm: of the `ResidualCoder`; `strided_norm` also normalises the first layer.
    """

    width: int = 64
    kernel_size: int = 7
    halvings: int = 2
    blocks: int = 3
    norm: Norm = InstanceNorm
    strided_norm: Norm = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.leaky_relu(_layer(self.strided_norm, Conv, self.width, self.kernel_size, x=x))
        return ResidualCoder(self.halvings, self.blocks, norm=self.norm, strided_norm=self.strided_norm)(x)
