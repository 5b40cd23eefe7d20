"""Plain and gated convolutional networks, the conditioners of image flows."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv


class ConvNet(nn.Module):
    """[B, H, W, C] to [B, H, W, widths[-1]]: convolutions of stride 1, each followed by the activation.

    The defaults are Glow's (Kingma and Dhariwal 2018, section 4). Without widths it is the identity.

    Attributes:
        widths, kernel_sizes: channels and kernel size of each layer.
    """

    widths: tuple[int, ...] = (512, 512)
    kernel_sizes: tuple[int, ...] = (3, 1)
    activation: Callable = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width, size in zip(self.widths, self.kernel_sizes, strict=True):
            x = self.activation(Conv(width, size)(x))
        return x


def concat_elu(x: jax.Array) -> jax.Array:
    """[..., C] to [..., 2 C]: `elu(x)` and `elu(-x)`, so that every input has a gradient (Salimans et al. 2017)."""
    return jnp.concatenate([nn.elu(x), nn.elu(-x)], -1)


class GatedConvNet(nn.Module):
    """[B, H, W, C] to [B, H, W, 2 width]: a convolution, residual blocks `x + a sigmoid(b)`, concatenated ELU.

    A block is concat-ELU, a 3x3 convolution, concat-ELU, a 1x1 convolution to a and b, and a layer norm over the
    channels. With `heads`, self-attention over all positions follows, gated and normalised the same way, with a learned
    position embedding. Source: the coupling networks of Flow++ (Ho et al. 2019, section 3.3).

    Attributes:
        width: channels, divisible by `heads`.
        blocks: residual blocks.
        heads: attention heads; 0: no attention.
        dropout: rate for a block's hidden units, active with a `dropout` stream.
    """

    width: int = 32
    blocks: int = 3
    heads: int = 0
    dropout: float = 0.0

    def _attention(self, x: jax.Array, block: int) -> jax.Array:
        embedding = self.param(f"positions_{block}", nn.initializers.normal(0.01), x.shape[1:])
        positions = (x + embedding.astype(x.dtype)).reshape(x.shape[0], -1, self.width)
        attended = nn.MultiHeadDotProductAttention(self.heads, out_features=2 * self.width)(positions)
        value, gate = jnp.split(attended.reshape(*x.shape[:-1], -1), 2, -1)
        return value * nn.sigmoid(gate)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.width)(x)
        for block in range(self.blocks):
            h = concat_elu(Conv(self.width)(concat_elu(x)))
            if self.dropout:
                h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
            value, gate = jnp.split(Conv(2 * self.width, 1)(h), 2, -1)
            x = nn.LayerNorm()(x + value * nn.sigmoid(gate))
            if self.heads:
                x = nn.LayerNorm()(x + self._attention(x, block))
        return concat_elu(x)
