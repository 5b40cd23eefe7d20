"""The residual networks of SAGAN (Zhang et al. 2019, "Self-Attention Generative Adversarial Networks", section 4).

Spectral normalisation in both networks, self-attention at one resolution, and conditional batch normalisation in the
generator. The blocks are those of Miyato and Koyama 2018.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.nets.attention import SelfAttention
from jaxgen.nets.critics import DownBlock
from jaxgen.nets.generators import UpBlock
from jaxgen.nets.normalization import BatchNorm
from jaxgen.nets.spectral import SpectralConv, SpectralDense


def _check(attention: int | None, heights: list[int]) -> None:
    if attention is not None and attention not in heights:
        raise ValueError(f"`attention` must be the height of a block's output, one of {heights}, got {attention}")


class SpectralResNetGenerator(nn.Module):
    """Doubles the resolution once for each width but the first: [B, L] to [B, h 2^n, w 2^n, widths[-1]].

    Attributes:
        start: height and width of the image after the dense layer.
        widths: channels of that image, then of each block; (1024, 1024, 512, 256, 128, 64) in the paper, for 128 x 128
            images.
        attention: self-attention follows the block whose output has this height; None: none.
        condition: number of features at the end of the input that are the one-hot class, used only by the blocks'
            normalisations.

    Raises:
        ValueError: no block has the height `attention`, or `condition` leaves no latents.
    """

    start: tuple[int, int] = (4, 4)
    widths: tuple[int, ...] = (256, 256, 128, 64)
    attention: int | None = 16
    condition: int = 0

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        height, width = self.start
        _check(self.attention, [height << i for i in range(1, len(self.widths))])
        condition = None
        if self.condition:
            if z.shape[-1] <= self.condition:
                raise ValueError(f"`condition` must be below the {z.shape[-1]} input features, got {self.condition}")
            z, condition = jnp.split(z, [z.shape[-1] - self.condition], -1)
        x = SpectralDense(height * width * self.widths[0])(z).reshape(-1, height, width, self.widths[0])
        for features in self.widths[1:]:
            x = UpBlock(features, SpectralConv)(x, condition)
            if x.shape[1] == self.attention:
                x = SelfAttention(SpectralConv)(x)
        return nn.relu(BatchNorm()(x))


class SpectralResNetCritic(nn.Module):
    """Halves the resolution once for each width, then sums over positions: [B, H, W, C] to [B, widths[-1]].

    Attributes:
        widths: channels of the blocks with pooling; (64, 128, 256, 512, 1024) in the paper, for 128 x 128 images.
        blocks: blocks without pooling after them.
        attention: self-attention follows the block whose output has this height; None: none.

    Raises:
        ValueError: no block has the height `attention`.
    """

    widths: tuple[int, ...] = (64, 128, 256)
    blocks: int = 1
    attention: int | None = 16

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _check(self.attention, [x.shape[1] >> (i + 1) for i in range(len(self.widths))])
        for i, width in enumerate(self.widths):
            x = DownBlock(width, first=i == 0, conv=SpectralConv)(x)
            if x.shape[1] == self.attention:
                x = SelfAttention(SpectralConv)(x)
        for _ in range(self.blocks):
            x = DownBlock(self.widths[-1], halve=False, conv=SpectralConv)(x)
        return nn.relu(x).sum((1, 2))
