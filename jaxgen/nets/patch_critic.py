"""Critics that score patches.

Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", section 6.1.2.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import BatchNorm
from jaxgen.precision import float32_or_wider


class PatchCritic(nn.Module):
    """[B, H, W, C] to a score for each patch, [B, h, w], its last layer included.

    Convolutions with LeakyReLU, normalised except the first and the last, with the authors' padding of one pixel. The
    defaults are the 70x70 critic; `PatchCritic.with_receptive_field` has those of the paper's section 6.1.2.

    Attributes:
        widths: channels of each layer but the last, which has one.
        strides: of these layers; the last has stride 1.
        kernel_size: of all layers, 4 or 1.
        norm: the class of the normalisation: `BatchNorm`, `InstanceNorm`; None: none.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    strides: tuple[int, ...] = (2, 2, 2, 1)
    kernel_size: int = 4
    norm: Callable[[], nn.Module] | None = BatchNorm

    @classmethod
    def with_receptive_field(cls, size: int, width: int = 64, **fields) -> PatchCritic:
        """The critic whose scores see patches of `size` pixels a side: 1, 16, 34, 70, 142 or 286.

        Args:
            width: channels of the first layer, doubled up to eight times as many.

        Raises:
            ValueError: another size.
        """
        if size == 1:
            return cls((width, 2 * width), (1, 1), 1, **fields)
        for halvings in range(1, 6):
            widths = tuple(width * min(2**i, 8) for i in range(halvings + 1))
            critic = cls(widths, (2,) * halvings + (1,), **fields)
            if critic.receptive_field == size:
                return critic
        raise ValueError(f"`size` must be 1, 16, 34, 70, 142 or 286, got {size}")

    @property
    def receptive_field(self) -> int:
        """The side of the patch that a score depends on, in pixels (without the normalisation)."""
        size = self.kernel_size
        for stride in reversed(self.strides):
            size = (size - 1) * stride + self.kernel_size
        return size

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Raises ValueError for images too small for the layers."""
        padding = ((self.kernel_size // 2 - 1,) * 2 if self.kernel_size > 1 else (0, 0),) * 2
        shape = x.shape
        for i, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True)):
            norm = None if i == 0 else self.norm
            fields = {"strides": stride, "padding": padding, "kernel_init": small_normal}
            x = Conv(width, self.kernel_size, use_bias=norm is None, **fields)(x)
            x = nn.leaky_relu(x if norm is None else norm()(x), 0.2)
        x = Conv(1, self.kernel_size, padding=padding, kernel_init=small_normal, dtype=float32_or_wider(x))(x)
        if 0 in x.shape:
            raise ValueError(f"`x` must be images large enough for {len(self.widths) + 1} layers, got shape {shape}")
        return x[..., 0]
