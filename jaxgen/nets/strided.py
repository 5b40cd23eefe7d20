"""Networks of the VAE-GAN (Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric").

The sizes are those of table 1. The decoder there is `DCGANGenerator((8, 8), (256, 256, 128, 32))`.
"""

from __future__ import annotations

import jax
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.heads import ScalarHead
from jaxgen.nets.mlp import MLP
from jaxgen.nets.normalization import BatchNorm


class StridedConvs(nn.Module):
    """Halves the resolution once for each width: [B, H, W, C] to [B, H/2^n, W/2^n, widths[-1]] or [B, features].

    Each convolution is followed by batch normalisation and ReLU, except the last one without `features`.

    Attributes:
        widths: channels of each convolution with stride 2.
        stem: channels of a first convolution with stride 1 and ReLU, without normalisation; 0: there is none.
        features: units of a dense layer at the end, with batch normalisation and ReLU; None: there is none. The output
            is then that of the last convolution: the features that the authors' code compares.
        normalize: with `features=None`, batch normalisation of the output, without gain and bias. The scale of a
            convolution before batch normalisation is arbitrary, and so is the weight of a likelihood of its outputs.
        kernel_size: 5 in the paper; 4 takes less than half the time on a CPU.
    """

    widths: tuple[int, ...] = (64, 128, 256)
    stem: int = 0
    features: int | None = None
    kernel_size: int = 5
    normalize: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.stem:
            x = nn.relu(Conv(self.stem, self.kernel_size)(x))
        for i, width in enumerate(self.widths):
            x = Conv(width, self.kernel_size, strides=2, use_bias=False)(x)
            if i + 1 < len(self.widths) or self.features is not None:
                x = nn.relu(BatchNorm()(x))
        if self.features is not None:
            return MLP((self.features,), norm=BatchNorm)(x)
        return BatchNorm(affine=False)(x) if self.normalize else x


class StridedScore(nn.Module):
    """The output of a convolution [B, ...] to a score [B]: the layers of the VAE-GAN's critic above `StridedConvs`.

    Attributes:
        width: units of the hidden dense layer.
    """

    width: int = 512

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        h = MLP((self.width,), norm=BatchNorm)(nn.relu(BatchNorm()(h)))
        return ScalarHead()(h)
