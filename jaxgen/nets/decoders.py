"""Networks from latents to features of an image's resolution."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, UpConv


class ConvDecoder(nn.Module):
    """Doubles the resolution once for each width but the first: [B, L] to [B, h 2^n, w 2^n, widths[-1]].

    Attributes:
        start: height and width of the first, dense layer's image.
        widths: its channels, then those of each stage, an upsampling and a plain convolution.
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


def halvings(event_shape: tuple[int, ...], smallest: int = 4) -> int:
    """How often an image can be halved, both sides even, without falling below `smallest`.

    Raises:
        ValueError: the event is not an image.
    """
    if len(event_shape) != 3:
        raise ValueError(f"convolutional networks want images [H, W, C], not events of shape {event_shape}")
    height, width, _ = event_shape
    n = 0
    while height % 2 == width % 2 == 0 and min(height, width) // 2 >= smallest:
        height, width, n = height // 2, width // 2, n + 1
    return n
