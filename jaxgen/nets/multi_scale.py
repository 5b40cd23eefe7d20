"""Critics at several resolutions (Wang et al. 2018, "High-Resolution Image Synthesis ... with Conditional GANs")."""

from __future__ import annotations

import jax
from flax import linen as nn

from jaxgen.arguments import check_counts


def halve(x: jax.Array) -> jax.Array:
    """The mean of the 3x3 neighbours of every second pixel that are in the image: [B, H, W, C] to [B, H/2, W/2, C].

    The halving of pix2pixHD and UNIT: `AvgPool2d(3, stride=2, padding=1, count_include_pad=False)` in PyTorch.
    """
    fields = {"window_shape": (3, 3), "strides": (2, 2), "padding": ((1, 1), (1, 1))}
    return nn.avg_pool(x, count_include_pad=False, **fields)


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
