"""Distributions that can be drawn from and not rated: sums of learned functions of noise."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.nets.mlp import MLP


class NoiseBasis(nn.Module):
    """Noise [B, K, N] to [B, K, L]: K functions v_k, each a network of its own on its own noise.

    Attributes:
        latents: L.
        widths: of each network's hidden layers; with none v_k is linear.
    """

    latents: int
    widths: tuple[int, ...] = (128, 128, 128)
    activation: Callable = nn.elu

    @nn.compact
    def __call__(self, noise: jax.Array) -> jax.Array:
        each = nn.vmap(
            MLP, in_axes=1, out_axes=1, variable_axes={"params": 0}, split_rngs={"params": True},
            axis_size=noise.shape[1],
        )  # fmt: skip
        return each(self.widths, self.activation, self.latents, name="functions")(noise)


class MixingHead(nn.Module):
    """Features [B, ...] to a location [B, L] and to scales [B, K, L], positive, of the K functions of a `NoiseBasis`."""

    latents: int
    basis: int

    @nn.compact
    def __call__(self, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        h = h.reshape(h.shape[0], -1)
        location = nn.Dense(self.latents, name="location")(h)
        raw = nn.Dense(self.basis * self.latents, name="scales")(h).reshape(-1, self.basis, self.latents)
        # whatever their number, their sum starts with the same variance
        return location, nn.softplus(raw) / math.sqrt(self.basis)


def mix(location: jax.Array, scales: jax.Array, values: jax.Array) -> jax.Array:
    """location + sum_k scales_k values_k: [B, L], [B, K, L] and [B, K, L] to [B, L]."""
    return location + (scales * values).sum(1)


def mixed_moments(location: jax.Array, scales: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance of `mix`, each [B, L], the functions' own moments taken over M draws `values` [M, K, L].

    The functions are independent of one another: Mescheder et al. 2017, section 6.1 and appendix.
    """
    mean = location + (scales * values.mean(0)).sum(1)
    return mean, (scales**2 * values.var(0)).sum(1)
