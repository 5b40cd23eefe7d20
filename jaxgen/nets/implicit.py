"""Implicit distributions, sampled as sums of learned functions of noise, without a density."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.nets.mlp import MLP


class NoiseBasis(nn.Module):
    """Noise [B, K, N] to [B, K, L]: K networks v_k, each with its own parameters and noise.

    Attributes:
        latent_dim: L.
        widths: features of each network's hidden layers; empty: v_k is linear.
    """

    latent_dim: int
    widths: tuple[int, ...] = (128, 128, 128)
    activation: Callable = nn.elu

    @nn.compact
    def __call__(self, noise: jax.Array) -> jax.Array:
        each = nn.vmap(
            MLP, in_axes=1, out_axes=1, variable_axes={"params": 0}, split_rngs={"params": True},
            axis_size=noise.shape[1],
        )  # fmt: skip
        return each(self.widths, self.activation, self.latent_dim, name="functions")(noise)


class MixingHead(nn.Module):
    """Features [B, ...] to a location [B, L] and positive scales [B, K, L] for the K functions of a `NoiseBasis`."""

    latent_dim: int
    num_functions: int

    @nn.compact
    def __call__(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = h.reshape(h.shape[0], -1)
        location = nn.Dense(self.latent_dim, name="location")(h)
        raw = nn.Dense(self.num_functions * self.latent_dim, name="scales")(h)
        raw = raw.reshape(-1, self.num_functions, self.latent_dim)
        # the initial variance of the sum does not depend on K
        return location, nn.softplus(raw) / math.sqrt(self.num_functions)


def mix(location: jax.Array, scales: jax.Array, values: jax.Array) -> jax.Array:
    """location + sum_k scales_k values_k: [B, L], [B, K, L] and [B, K, L] to [B, L]."""
    return location + (scales * values).sum(1)


def mixed_moments(location: jax.Array, scales: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of `mix`, each [B, L], from the moments of the functions over M samples `values` [M, K, L].

    The functions are independent: Mescheder et al. 2017, section 6.1 and appendix.
    """
    mean = location + (scales * values.mean(0)).sum(1)
    return mean, (scales**2 * values.var(0)).sum(1)
