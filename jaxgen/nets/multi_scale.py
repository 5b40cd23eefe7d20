"""Critics at several resolutions (Wang et al. 2018, "High-Resolution Image Synthesis ... with Conditional GANs")."""

from __future__ import annotations

import jax
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.convolution import Conv
from jaxgen.nets.initializers import small_normal
from jaxgen.precision import float32_or_wider


def halve(x: jax.Array) -> jax.Array:
    """The mean of the 3x3 neighbours of every second pixel that are in the image: [B, H, W, C] to [B, H/2, W/2, C].

    The halving of pix2pixHD and UNIT: `AvgPool2d(3, stride=2, padding=1, count_include_pad=False)` in PyTorch.
    """
    fields = {"window_shape": (3, 3), "strides": (2, 2), "padding": ((1, 1), (1, 1))}
    return nn.avg_pool(x, count_include_pad=False, **fields)


class StridedCritic(nn.Module):
    """[B, H, W, C] to scores [B, H/2^n, W/2^n], its last layer included: the critic of UNIT, without normalisation.

    n convolutions with stride 2 and LeakyReLU, and a 1x1 convolution. Source: the authors' programs for Liu et al.
    2017, "Unsupervised Image-to-Image Translation Networks".

    Attributes:
        widths: channels of each strided convolution.
        kernel_size: of the strided convolutions.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    kernel_size: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = _halved(self.widths, self.kernel_size, x)
        return Conv(1, 1, kernel_init=small_normal, dtype=float32_or_wider(x))(x)[..., 0]


class StridedLayers(nn.Module):
    """[B, H, W, C] to features [B, H/2^n, W/2^n, widths[-1]]: the convolutions of a `StridedCritic`, or some of
    them."""

    widths: tuple[int, ...]
    kernel_size: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return _halved(self.widths, self.kernel_size, x)


def _halved(widths: tuple[int, ...], kernel_size: int, x: jax.Array) -> jax.Array:
    for width in widths:
        x = nn.leaky_relu(Conv(width, kernel_size, strides=2, kernel_init=small_normal)(x), 0.2)
    return x


class MultiScale(nn.Module):
    """Critics of one architecture, each with its own parameters, on an image at 1, 1/2, 1/4, ... of its resolution.

    Returns a tuple of their outputs.

    Attributes:
        critic: any network from images to scores, copied for each scale.
        num_scales: 3 in both papers.
    """

    critic: nn.Module
    num_scales: int = 3

    def __post_init__(self):
        check_counts(num_scales=self.num_scales)
        super().__post_init__()

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        scores = []
        for i in range(self.num_scales):
            x = halve(x) if i else x
            scores.append(self.critic.clone(name=f"scale{i}", parent=self)(x))
        return tuple(scores)
