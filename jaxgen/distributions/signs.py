"""Independent signs: a base distribution whose values can be enumerated."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.distributions.standard import StandardDistribution


@dataclasses.dataclass(frozen=True)
class Signs(StandardDistribution):
    """Independent coordinates, -1 or 1 with probability one half: `log p(z) = -log 2` each, and -inf elsewhere."""

    def support(self) -> jax.Array:
        """All 2^D values of z, equally likely: [2^D, *event_shape]; D is the size of the event."""
        size = math.prod(self.event_shape)
        bits = jnp.arange(2**size)[:, None] >> jnp.arange(size) & 1
        return (2.0 * bits - 1).reshape(-1, *self.event_shape)

    def _log_density(self, z: jax.Array) -> jax.Array:
        return jnp.where(jnp.abs(z) == 1, -math.log(2), -jnp.inf).astype(z.dtype)

    def _sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.rademacher(key, shape, jnp.float32)
