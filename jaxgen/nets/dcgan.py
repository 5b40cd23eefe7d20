"""Networks by the five rules of DCGAN (Radford, Metz and Chintala 2016, section 3).

Strided convolutions in place of pooling, and fractionally strided ones in place of upsampling; batch normalisation in
both networks but not at the generator's output nor the critic's input; no hidden dense layers; ReLU in the generator,
whose output is a tanh of the model's; LeakyReLU in the critic.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv, UpConv
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import BatchNorm


class DCGANGenerator(nn.Module):
    """Doubles the resolution once for each width but the first: [B, L] to [B, h 2^n, w 2^n, widths[-1]].

    The paper's is (4, 4) and (1024, 512, 256, 128) for 64 x 64 images: half of their resolution, the model's last layer
    being the last of the fractionally strided convolutions (`jaxgen.nets.heads.EventHead`).

    A fractionally strided convolution is an `UpConv`: each of the four pixels that it makes of a place has a 3x3
    kernel of its own on the places around. Interleaved, they are one kernel of 6x6, and the map is the transposed
    convolution of stride 2 with that kernel; one of 4x4 or 5x5 is the case where its border is zero.

    Attributes:
        start: height and width of the image that the latents are projected to.
        widths: its channels, then those of each stage.
        norm: makes the normalisation before each activation; None for none.
    """

    start: tuple[int, int] = (4, 4)
    widths: tuple[int, ...] = (512, 256, 128)
    norm: Callable[[], nn.Module] | None = BatchNorm

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        height, width = self.start
        # no biases: what they add, the normalisation takes away
        fields = {"use_bias": self.norm is None, "kernel_init": small_normal}

        def activate(h):
            return nn.relu(h if self.norm is None else self.norm()(h))

        x = nn.Dense(height * width * self.widths[0], **fields)(z)
        x = activate(x.reshape(-1, height, width, self.widths[0]))
        for features in self.widths[1:]:
            x = activate(UpConv(features, **fields)(x))
        return x


class DCGANCritic(nn.Module):
    """Halves the resolution, rounded up, once for each width: [B, H, W, C] to [B, H/2^n, W/2^n, widths[-1]].

    Attributes:
        widths: channels of each convolution; the paper's (128, 256, 512, 1024) on 64 x 64 images.
        kernel_size: of the convolutions, of stride 2. The authors' code has 5; on a CPU 4 takes less than half of the
            time, as a kernel that is a multiple of the stride folds into it without zeros.
        norm: makes the normalisation before each activation but the first. None or `nn.LayerNorm` where a penalty wants
            rows that do not meet.
    """

    widths: tuple[int, ...] = (128, 256, 512)
    kernel_size: int = 4
    norm: Callable[[], nn.Module] | None = BatchNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, width in enumerate(self.widths):
            norm = None if i == 0 else self.norm
            x = Conv(width, self.kernel_size, strides=2, use_bias=norm is None, kernel_init=small_normal)(x)
            x = nn.leaky_relu(x if norm is None else norm()(x), 0.2)
        return x
