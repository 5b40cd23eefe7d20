"""The U-Net of pix2pix.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 6.1.1.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv, TransposedConv
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import BatchNorm

NOISY = 3
"""Layers of the decoder with dropout."""


class UNet(nn.Module):
    """[B, H, W, C] to features at half of the resolution, [B, H/2, W/2, 2 width], for the model's last layer.

    Each level of the encoder is a 4x4 convolution with stride 2, to width, 2 width, 4 width and then 8 width channels;
    each of the decoder a transposed one back, whose output is concatenated with the encoder's at that resolution. The
    first and the innermost level are not normalised: at 1x1, a batch of one picture would become zero there.

    Dropout is the noise of the generator: it is active, at test time too, with a `noise` stream.

    Attributes:
        width: channels of the first level.
        levels: halvings; None: as long as both sides are even, to 1x1 for powers of two: 8 at 256x256, 6 at 64x64.
        norm: the class of the normalisation: `BatchNorm`, `InstanceNorm`; None: none.
        dropout: rate in the first three layers of the decoder.
    """

    width: int = 64
    levels: int | None = None
    norm: Callable[[], nn.Module] | None = BatchNorm
    dropout: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array | None = None) -> jax.Array:
        """Raises ValueError for sides that cannot be halved `levels` times."""
        x = concatenate_context(x, context)
        levels = self._levels(x.shape[1:3])
        widths = [self.width * min(2**level, 8) for level in range(levels)]

        def layer(kind, width, h, plain=False, **fields):
            plain = plain or self.norm is None
            h = kind(width, use_bias=plain, kernel_init=small_normal, **fields)(h)
            return h if plain else self.norm()(h)

        encoded = []
        for level, width in enumerate(widths):
            x = nn.leaky_relu(x, 0.2) if level else x
            x = layer(Conv, width, x, plain=level in (0, levels - 1), kernel_size=4, strides=2)
            encoded.append(x)
        for i, level in enumerate(reversed(range(levels - 1))):
            x = layer(TransposedConv, widths[level], nn.relu(x))
            if i < NOISY and self.dropout:
                deterministic = not self.has_rng("noise")
                x = nn.Dropout(self.dropout, deterministic=deterministic, rng_collection="noise")(x)
            x = jnp.concatenate([x, encoded[level]], -1)
        return nn.relu(x)

    def _levels(self, sides: tuple[int, int]) -> int:
        possible = min((side & -side).bit_length() - 1 for side in sides)
        levels = possible if self.levels is None else self.levels
        if not 1 <= levels <= possible:
            size = f"{sides[0]} x {sides[1]}"
            raise ValueError(f"`levels` must be from 1 to {possible} for images of {size}, got {levels}")
        return levels
