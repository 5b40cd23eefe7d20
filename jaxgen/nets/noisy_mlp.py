"""A weight-normalised MLP with Gaussian noise on the inputs of its layers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.numerics import channel_moments
from jaxgen.precision import at_least_float32


class GaussianNoise(nn.Module):
    """Adds Gaussian noise with standard deviation `std`, active with a `dropout` stream."""

    std: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.has_rng("dropout"):
            return x
        return x + self.std * jax.random.normal(self.make_rng("dropout"), x.shape, x.dtype)


class WeightNormDense(nn.Module):
    """A dense layer g (v . x) / |v| + b with a direction v [F, features], and a scale g and a bias b per feature.

    `init` sets g and b so that features are standardised on its batch; with few examples, and for constant features, it
    uses the variance of the batch (`channel_moments`).
    Source: Salimans and Kingma 2016, "Weight Normalization", sections 2 and 3.
    """

    features: int
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        v = self.param("direction", nn.initializers.normal(0.05), (x.shape[-1], self.features))
        x, v = nn.dtypes.promote_dtype(x, v / jnp.sqrt((v**2).sum(0) + 1e-12), dtype=self.dtype)
        y = x @ v
        mean, variance = channel_moments(at_least_float32(y))
        scale = self.param("scale", lambda _: 1 / jnp.sqrt(variance))
        bias = self.param("bias", lambda _: -mean / jnp.sqrt(variance))
        return scale.astype(y.dtype) * y + bias.astype(y.dtype)


class NoisyMLP(nn.Module):
    """[B, ...] to [B, widths[-1]]: weight-normalised dense layers with ReLU, each with `GaussianNoise` on its input.

    The defaults are the critic of the semi-supervised GAN on MNIST (Salimans et al. 2016, their code), which also has
    noise on the input of its last, linear layer.

    Attributes:
        first: standard deviation of the noise on the data. The paper's data are in [0, 1]; double it for [-1, 1].
        noise: standard deviation of the noise on hidden features.
    """

    widths: tuple[int, ...] = (1000, 500, 250, 250, 250)
    first: float = 0.3
    noise: float = 0.5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.widths):
            x = nn.relu(WeightNormDense(width)(GaussianNoise(self.noise if i else self.first)(x)))
        return x
