"""The networks of one scale of a model of a single image.

Source: Shaham et al. 2019, "SinGAN: Learning a Generative Model from a Single Natural Image", section 2.1.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv
from jaxgen.nets.initializers import small_normal
from jaxgen.nets.normalization import BatchNorm, InstanceNorm
from jaxgen.precision import float32_or_wider


class ValidConvs(nn.Module):
    """[B, H, W, C] to [B, H - 2 depth, W - 2 depth, features]: 3x3 convolutions without padding.

    Each but the last is normalised, with a LeakyReLU of slope 0.2.

    Attributes:
        features: channels of the last convolution.
        width: channels of the others.
        depth: number of convolutions.
        norm: the class of the normalisation.
    """

    features: int
    width: int = 32
    depth: int = 5
    norm: Callable[[], nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.depth - 1):
            x = Conv(self.width, padding="VALID", use_bias=False, kernel_init=small_normal)(x)
            x = nn.leaky_relu(self.norm()(x), 0.2)
        return Conv(self.features, padding="VALID", kernel_init=small_normal, dtype=float32_or_wider(x))(x)


class ScaleGenerator(nn.Module):
    """Noise and an image [B, H, W, C] to an image of the same shape, `tanh(convolutions(noise + image)) + image`.

    Zeros around the sum, as many as the convolutions take away, are its only padding: layers see the border once.

    Attributes:
        width, depth, norm: as in `ValidConvs`.
    """

    width: int = 32
    depth: int = 5
    norm: Callable[[], nn.Module] = BatchNorm

    @nn.compact
    def __call__(self, noise: jax.Array, image: jax.Array) -> jax.Array:
        around = (self.depth, self.depth)
        x = jnp.pad(noise + image, ((0, 0), around, around, (0, 0)))
        return jnp.tanh(ValidConvs(image.shape[-1], self.width, self.depth, self.norm)(x)) + image


class ScaleCritic(nn.Module):
    """Images [B, H, W, C] to a score for each patch of 2 depth + 1 pixels a side, [B, H - 2 depth, W - 2 depth].

    The paper's batch normalisation, on its batches of one picture, is instance normalisation: scores of a picture do
    not depend on the others of a batch, and a gradient penalty is defined.

    Attributes:
        width, depth, norm: as in `ValidConvs`.
    """

    width: int = 32
    depth: int = 5
    norm: Callable[[], nn.Module] = InstanceNorm

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return ValidConvs(1, self.width, self.depth, self.norm)(x)[..., 0]
