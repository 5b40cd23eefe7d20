"""The uniform distribution on [-1, 1]."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.distributions.standard import StandardDistribution


@dataclasses.dataclass(frozen=True)
class Uniform(StandardDistribution):
    """Independent coordinates, uniform on [-1, 1]: `log p(z) = -log 2`, edges included, and -inf outside.

    The edges are included since bijectors onto (-1, 1) round to them in the tails.
    """

    def _log_density(self, z: jax.Array) -> jax.Array:
        density = jnp.where(jnp.abs(z) > 1, -jnp.inf, -math.log(2)).astype(z.dtype)
        return jnp.where(jnp.isnan(z), z, density)

    def _sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
