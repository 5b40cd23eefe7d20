"""DCGAN networks (Radford, Metz and Chintala 2016, section 3).

Strided and fractionally strided convolutions in place of pooling and upsampling; batch normalisation except at the
generator's output and the critic's input; no hidden dense layers; ReLU in the generator, LeakyReLU in the critic. The
final tanh belongs to the model.
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

    In the paper, (4, 4) and (1024, 512, 256, 128) for 64 x 64 images: half of their resolution, since the model's last
    layer is the last fractionally strided convolution (`jaxgen.nets.heads.EventHead`).

    Fractionally strided convolutions are `UpConv`s: each of the four output pixels of a position has its own 3x3
    kernel. Interleaved, these are a 6x6 kernel of a transposed convolution with stride 2; 4x4 and 5x5 kernels are
    special cases. `TransposedConv` has the 4x4 kernels of the authors' code, at 16/36 of the arithmetic.

    Attributes:
        start: height and width of the image after the dense layer.
        widths: channels of that image, then of each stage.
        norm: the class of the normalisation before each activation; None: none.
        upsampling: the class of the fractionally strided convolutions: `UpConv`, `TransposedConv`.
    """

    start: tuple[int, int] = (4, 4)
    widths: tuple[int, ...] = (512, 256, 128)
    norm: Callable[[], nn.Module] | None = BatchNorm
    upsampling: Callable[..., nn.Module] = UpConv

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        height, width = self.start
        # the normalisation cancels biases
        fields = {"use_bias": self.norm is None, "kernel_init": small_normal}

        def activate(h):
            return nn.relu(h if self.norm is None else self.norm()(h))

        x = nn.Dense(height * width * self.widths[0], **fields)(z)
        x = activate(x.reshape(-1, height, width, self.widths[0]))
        for features in self.widths[1:]:
            x = activate(self.upsampling(features, **fields)(x))
        return x


class DCGANCritic(nn.Module):
    """Halves the resolution, rounded up, once for each width: [B, H, W, C] to [B, H/2^n, W/2^n, widths[-1]].

    Attributes:
        widths: channels of each convolution; (128, 256, 512, 1024) in the paper, for 64 x 64 images.
        kernel_size: of the convolutions with stride 2. The authors' code has 5; 4 takes less than half the time on a
            CPU, since multiples of the stride need no padding of the kernel.
        norm: the class of the normalisation before each activation except the first; None or `nn.LayerNorm` for
            penalties that need independent examples.
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
