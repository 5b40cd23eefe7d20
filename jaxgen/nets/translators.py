"""The residual translator of CycleGAN (Zhu et al. 2017, "Unpaired Image-to-Image Translation ...", appendix 7.2).

The architecture is that of Johnson et al. 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution".
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, TransposedConv
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import InstanceNorm


class ResNetTranslator(nn.Module):
    """[B, H, W, C] to features [B, H, W, width], for the model's last layer: c7s1-64, d128, d256, R256 x 6, u128, u64.

    The paper's last layer is `EventHead(shape, kernel_size=7, padding="REFLECT")`. For pictures of 32x32, width 32, one
    halving, three blocks and kernel_size 5 are enough.

    Attributes:
        width: channels of the first layer, doubled at each halving.
        halvings: convolutions with stride 2, and transposed ones back, with 4x4 kernels (3x3 in the paper).
        blocks: residual blocks of two 3x3 convolutions; 6 for 128x128 pictures, 9 for larger ones.
        kernel_size: of the first convolution.
        norm: the class of the normalisation: `InstanceNorm`, `BatchNorm`; None: none.
    """

    width: int = 64
    halvings: int = 2
    blocks: int = 6
    kernel_size: int = 7
    norm: Callable[[], nn.Module] | None = InstanceNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fields = {"use_bias": self.norm is None, "kernel_init": small_normal}

        def normalized(h):
            return h if self.norm is None else self.norm()(h)

        def convolved(h, width, size=3):
            return normalized(Conv(width, size, padding="REFLECT", **fields)(h))

        x = nn.relu(convolved(x, self.width, self.kernel_size))
        for i in range(self.halvings):
            x = nn.relu(normalized(Conv(self.width << (i + 1), 3, strides=2, **fields)(x)))
        for _ in range(self.blocks):
            width = x.shape[-1]
            x = x + convolved(nn.relu(convolved(x, width)), width)
        for i in reversed(range(self.halvings)):
            x = nn.relu(normalized(TransposedConv(self.width << i, **fields)(x)))
        return x
