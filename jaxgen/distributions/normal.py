"""The standard normal distribution."""

from __future__ import annotations

import dataclasses
import math

import jax

from jaxgen.distributions.standard import StandardDistribution


@dataclasses.dataclass(frozen=True)
class StandardNormal(StandardDistribution):
    """Independent standard normal coordinates, `log p(z) = -(z^2 + log(2 pi)) / 2`."""

    def _log_density(self, z: jax.Array) -> jax.Array:
        return -0.5 * (z**2 + math.log(2 * math.pi))

    def _sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(key, shape)
