"""Layers and networks of critics that are not convolutions: rows that are compared, maxima, noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.moments import channel_moments
from jaxgen.nets.initializers import lecun_normal
from jaxgen.precision import at_least_float32


class MinibatchDiscrimination(nn.Module):
    """Shows a critic how near the rows of a batch are to each other: [B, F] to [B, F + kernels].

        o_ib = sum_j exp(-|M_ib - M_jb|_1),    M_i = T x_i, a matrix of kernels x dims

    (Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.2; j runs over all rows, i among them.) As
    with batch normalisation a row's score depends on the other rows: no penalty on slopes can go with it.

    Attributes:
        kernels, dims: as above; of the authors' code.
    """

    kernels: int = 100
    dims: int = 5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        m = nn.Dense(self.kernels * self.dims, use_bias=False)(x).reshape(-1, self.kernels, self.dims)
        distances = jnp.abs(m[:, None] - m[None]).sum(-1)
        return jnp.concatenate([x, jnp.exp(-distances).sum(1)], -1)


class Maxout(nn.Module):
    """The largest of `pieces` affine functions for each feature: [..., F] to [..., features].

    Source: Goodfellow et al. 2013, "Maxout Networks"; three of 200 features and 5 pieces are PacGAN's critic of points.

    Attributes:
        kernel_init: as `small_normal`; None for Flax's own.
    """

    features: int
    pieces: int = 5
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.Dense(self.features * self.pieces, kernel_init=self.kernel_init or lecun_normal)(x)
        return y.reshape(*x.shape[:-1], self.features, self.pieces).max(-1)


class GaussianNoise(nn.Module):
    """Adds noise of standard deviation `std` where a `dropout` stream is given."""

    std: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.has_rng("dropout"):
            return x
        return x + self.std * jax.random.normal(self.make_rng("dropout"), x.shape, x.dtype)


class WeightNormDense(nn.Module):
    """A dense layer g (v . x) / |v| + b with a direction v [F, features], a scale g and a bias b of each feature.

    The batch that initialises it sets g and b, so that each feature starts with mean zero and variance one on it; few
    rows and constant features are scaled by the variance of the batch (`channel_moments`).
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
    """[B, ...] to [B, widths[-1]]: weight-normalised dense layers with ReLU, Gaussian noise on what each is given.

    Where no `dropout` stream is given there is no noise. The defaults are the critic of the semi-supervised GAN on
    MNIST (Salimans et al. 2016, their code); there the last, linear layer has noise on its input too: `GaussianNoise`.

    Attributes:
        first: standard deviation of the noise on the data, which are on [0, 1] in the paper: twice as much on [-1, 1].
        noise: on the features of each hidden layer that another one follows.
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
