"""Two-dimensional densities known up to a constant, as targets of reverse KL; the constant serves evaluation."""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxgen.numerics import bounded_exp


class UnnormalizedDensity(Protocol):
    """A density up to a constant; `log_normalizer` is the logarithm of its integral, None if unknown."""

    log_normalizer: float | None

    def log_density(self, x: jax.Array) -> jax.Array: ...


@dataclasses.dataclass(frozen=True)
class Banana:
    """A Gaussian bent along a parabola: `x1 ~ N(0, 2^2)`, `x2 ~ N(x1^2 / 4 - 1, 1)` (after Haario et al. 2001)."""

    log_normalizer = math.log(2 * math.pi * 2)

    def log_density(self, x: jax.Array) -> jax.Array:
        """The unnormalised log-density in nats: x [B, 2] to [B]."""
        return -0.5 * ((x[:, 0] / 2) ** 2 + (x[:, 1] - x[:, 0] ** 2 / 4 + 1) ** 2)


@dataclasses.dataclass(frozen=True)
class Funnel:
    """Neal's funnel: `x1 ~ N(0, 3^2)`, `x2 ~ N(0, exp(x1))` (Neal 2003, "Slice sampling", section 8)."""

    log_normalizer = math.log(2 * math.pi * 3)

    def log_density(self, x: jax.Array) -> jax.Array:
        """The unnormalised log-density in nats: x [B, 2] to [B]."""
        return -0.5 * ((x[:, 0] / 3) ** 2 + x[:, 1] ** 2 * bounded_exp(-x[:, 0]) + x[:, 0])


@dataclasses.dataclass(frozen=True)
class GaussianRing:
    """Eight equally likely Gaussians with standard deviation 0.5, centred on a circle of radius 3."""

    log_normalizer = math.log(8 * 2 * math.pi * 0.5**2)

    def log_density(self, x: jax.Array) -> jax.Array:
        """The unnormalised log-density in nats: x [B, 2] to [B]."""
        angles = jnp.arange(8) * (math.pi / 4)
        centers = 3 * jnp.stack([jnp.cos(angles), jnp.sin(angles)], -1)
        squares = jnp.square((x[:, None] - centers) / 0.5).sum(-1)
        return jax.nn.logsumexp(-0.5 * squares, axis=-1)
