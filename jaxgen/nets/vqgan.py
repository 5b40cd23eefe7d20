"""Encoder and decoder of the VQGAN.

Esser et al. 2021, "Taming Transformers for High-Resolution Image Synthesis", table 7. Residual blocks are normalised
over groups of channels; at chosen resolutions, and in the middle of both networks, a block of attention between all
positions follows.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.normalization import GroupNorm
from jaxgen.precision import at_least_float32


class GroupNormSwish(nn.Module):
    """Normalises groups of channels, at most `groups`, and applies x sigmoid(x): [B, H, W, C] to itself."""

    groups: int = 32
    activation: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = GroupNorm(math.gcd(self.groups, x.shape[-1]))(x)
        return nn.silu(x) if self.activation else x


class GroupNormBlock(nn.Module):
    """x + h, [B, H, W, C] to [B, H, W, width]: h two times norm, swish and a 3x3 convolution.

    Where the width changes, x gets a 1x1 convolution.
    """

    width: int
    groups: int = 32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = Conv(self.width)(GroupNormSwish(self.groups)(x))
        h = GroupNormSwish(self.groups)(h)
        h = Conv(self.width)(nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h))
        return h + (x if x.shape[-1] == self.width else Conv(self.width, 1, name="shortcut")(x))


class PositionAttention(nn.Module):
    """x + h, [B, H, W, C] to itself: h attention of one head between all positions, of the normalised x."""

    groups: int = 32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        b, height, width, c = x.shape
        qkv = Conv(3 * c, 1, name="qkv")(GroupNormSwish(self.groups, activation=False)(x))
        query, key, value = jnp.split(qkv.reshape(b, height * width, 3 * c), 3, -1)
        scores = at_least_float32(jnp.einsum("bqc,bkc->bqk", query / c**0.5, key))
        attended = (nn.softmax(scores).astype(x.dtype) @ value).reshape(x.shape)
        return x + Conv(c, 1, name="out")(attended)


class VQGANEncoder(nn.Module):
    """[B, H, W, C] to [B, H/2^n, W/2^n, features]: n + 1 levels for n + 1 widths, with half the resolution each.

    Attributes:
        widths: channels of each level; the defaults are those for images of 256 pixels.
        blocks: residual blocks of each level.
        attention: the heights at which attention follows each block.
        features: channels of the output.
        groups: of channels, that are normalised together.
        dropout: rate within residual blocks, active with a `dropout` stream.
    """

    widths: tuple[int, ...] = (128, 128, 256, 256, 512)
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    features: int = 256
    groups: int = 32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.widths[0])(x)
        for level, width in enumerate(self.widths):
            if level:
                x = Conv(x.shape[-1], 3, strides=2)(x)
            x = _level(x, width, self.blocks, self.attention, self.groups, self.dropout)
        x = _middle(x, self.groups, self.dropout)
        return Conv(self.features)(GroupNormSwish(self.groups)(x))


class VQGANDecoder(nn.Module):
    """[B, h, w, C] to [B, h 2^n, w 2^n, widths[0]]: mirrors `VQGANEncoder`, with one more block a level.

    Levels end in nearest-neighbour upsampling and a 3x3 convolution, the last one in norm and swish.

    Attributes:
        features: channels after a 1x1 convolution of the input.
        widths, blocks, attention, groups, dropout: those of the encoder.
    """

    widths: tuple[int, ...] = (128, 128, 256, 256, 512)
    blocks: int = 2
    attention: tuple[int, ...] = (16,)
    features: int = 256
    groups: int = 32
    dropout: float = 0.0

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        x = Conv(self.widths[-1])(Conv(self.features, 1)(z))
        x = _middle(x, self.groups, self.dropout)
        for level, width in reversed(tuple(enumerate(self.widths))):
            x = _level(x, width, self.blocks + 1, self.attention, self.groups, self.dropout)
            if level:
                x = Conv(width)(x.repeat(2, 1).repeat(2, 2))
        return GroupNormSwish(self.groups)(x)


def _level(
    x: jax.Array, width: int, blocks: int, attention: tuple[int, ...], groups: int, dropout: float
) -> jax.Array:
    for _ in range(blocks):
        x = GroupNormBlock(width, groups, dropout)(x)
        if x.shape[1] in attention:
            x = PositionAttention(groups)(x)
    return x


def _middle(x: jax.Array, groups: int, dropout: float) -> jax.Array:
    width = x.shape[-1]
    x = PositionAttention(groups)(GroupNormBlock(width, groups, dropout)(x))
    return GroupNormBlock(width, groups, dropout)(x)
