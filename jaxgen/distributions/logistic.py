"""The standard logistic distribution."""

from __future__ import annotations

import dataclasses

import jax

from jaxgen.distributions.standard import StandardDistribution


@dataclasses.dataclass(frozen=True)
class Logistic(StandardDistribution):
    """Independent standard logistic coordinates, `log p(z) = -softplus(z) - softplus(-z)` (NICE's prior)."""

    def _log_density(self, z: jax.Array) -> jax.Array:
        return jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z)

    def _sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.logistic(key, shape)
