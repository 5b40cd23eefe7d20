"""The uniform distribution of an event."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.distributions.standard import StandardDistribution


@dataclasses.dataclass(frozen=True)
class Uniform(StandardDistribution):
    """Independent coordinates, uniform on [-1, 1): `log p(z) = -log 2` there."""

    def _log_density(self, z: jax.Array) -> jax.Array:
        return jnp.where((z >= -1) & (z < 1), -math.log(2), -jnp.inf)

    def _draw(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
