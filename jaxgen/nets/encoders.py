"""Networks from images to features."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv


class ConvEncoder(nn.Module):
    """Halves the resolution once for each width: [B, H, W, C] to [B, H/2^n, W/2^n, widths[-1]].

    Attributes:
        widths: channels of each stage, a convolution of stride 2 and one of stride 1.
    """

    widths: tuple[int, ...] = (32, 64)
    activation: Callable = nn.silu

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.widths:
            x = self.activation(Conv(width, 3, strides=2)(x))
            x = self.activation(Conv(width, 3)(x))
        return x
