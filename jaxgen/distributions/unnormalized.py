"""Densities of the plane that are known up to a constant, with the constant: what a fit by reverse KL is judged on."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxgen.numerics import bounded_exp


class Target(Protocol):
    """An unnormalised density; `log_normalizer`, where it is known, is the logarithm of its integral."""

    features: int
    log_normalizer: float | None

    def log_density(self, x: jax.Array) -> jax.Array: ...


@dataclasses.dataclass(frozen=True)
class Banana:
    """A Gaussian bent along a parabola: `x1 ~ N(0, 2^2)`, `x2 ~ N(x1^2 / 4 - 1, 1)` (after Haario et al. 2001)."""

    features = 2
    log_normalizer = math.log(2 * math.pi * 2)

    def log_density(self, x: jax.Array) -> jax.Array:
        """x [B, 2] to [B], in nats."""
        return -0.5 * ((x[:, 0] / 2) ** 2 + (x[:, 1] - x[:, 0] ** 2 / 4 + 1) ** 2)


@dataclasses.dataclass(frozen=True)
class Funnel:
    """Neal's funnel: `x1 ~ N(0, 3^2)`, `x2 ~ N(0, exp(x1))` (Neal 2003, "Slice sampling", section 8)."""

    features = 2
    log_normalizer = math.log(2 * math.pi * 3)

    def log_density(self, x: jax.Array) -> jax.Array:
        """x [B, 2] to [B], in nats."""
        return -0.5 * ((x[:, 0] / 3) ** 2 + x[:, 1] ** 2 * bounded_exp(-x[:, 0]) + x[:, 0])


@dataclasses.dataclass(frozen=True)
class Ring:
    """Eight Gaussians of standard deviation 0.5, equally likely, on a circle of radius 3."""

    features = 2
    log_normalizer = math.log(8 * 2 * math.pi * 0.5**2)

    def log_density(self, x: jax.Array) -> jax.Array:
        """x [B, 2] to [B], in nats."""
        angles = jnp.arange(8) * (math.pi / 4)
        centers = 3 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
        squares = jnp.square((x[:, None] - centers) / 0.5).sum(-1)
        return jax.nn.logsumexp(-0.5 * squares, axis=-1)
