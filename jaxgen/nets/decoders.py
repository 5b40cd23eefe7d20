"""Decoders: latents to features with an image's resolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, UpConv
from jaxgen.nets.residual import ResidualStack


class ConvDecoder(nn.Module):
    """Doubles the resolution once for each width but the first: [B, L] to [B, h 2^n, w 2^n, widths[-1]].

    Attributes:
        start: height and width of the image after the dense layer.
        widths: channels of that image, then of each stage, an upsampling and a plain convolution.
    """

    start: tuple[int, int] = (7, 7)
    widths: tuple[int, ...] = (64, 32, 32)
    activation: Callable = nn.silu

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        height, width = self.start
        x = self.activation(nn.Dense(height * width * self.widths[0])(z))
        x = x.reshape(-1, height, width, self.widths[0])
        for features in self.widths[1:]:
            x = self.activation(UpConv(features)(x))
            x = self.activation(Conv(features, 3)(x))
        return x


class ResidualDecoder(nn.Module):
    """Doubles the resolution n times: [B, h, w, C] to [B, h 2^n, w 2^n, width / 2^n].

    A 3x3 convolution and residual blocks at the lowest resolution, then upsampling; mirrors `ResidualEncoder`. Source:
    van den Oord et al. 2017, "Neural Discrete Representation Learning", section 4.1, with `UpConv` for its transposed
    4x4 convolutions.

    Attributes:
        width: channels at the lowest resolution, halved at each doubling.
        doublings: n.
        blocks, hidden: number of residual blocks, and channels within each.
        start: for vectors, height and width of the image after a dense layer; None: the inputs are images.
    """

    width: int = 128
    doublings: int = 2
    blocks: int = 2
    hidden: int = 32
    start: tuple[int, int] | None = None

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        if self.start is not None:
            z = nn.relu(nn.Dense(math.prod(self.start) * self.width)(z)).reshape(-1, *self.start, self.width)
        x = ResidualStack(self.blocks, self.hidden)(Conv(self.width, 3)(z))
        for doubled in range(self.doublings):
            x = nn.relu(UpConv(max(1, self.width >> (doubled + 1)))(x))
        return x


def halvings(event_shape: tuple[int, ...], smallest: int = 4) -> int:
    """How often an image with even sides can be halved so that no side is below `smallest`.

    Raises:
        ValueError: the event is not an image.
    """
    if len(event_shape) != 3:
        raise ValueError(f"`event_shape` must be (H, W, C) for convolutional networks, got {event_shape}")
    height, width, _ = event_shape
    n = 0
    while height % 2 == width % 2 == 0 and min(height, width) // 2 >= smallest:
        height, width, n = height // 2, width // 2, n + 1
    return n


def halved(event_shape: tuple[int, ...], times: int) -> tuple[int, int]:
    """Height and width of an image after `times` halvings."""
    return event_shape[0] >> times, event_shape[1] >> times
