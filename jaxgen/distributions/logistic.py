"""The standard logistic distribution of an event."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Logistic:
    """Independent standard logistic coordinates, `log p(z) = -softplus(z) - softplus(-z)` (NICE's prior).

    Attributes:
        event_shape: shape of one sample.
    """

    event_shape: tuple[int, ...]

    def log_prob(self, z: jax.Array) -> jax.Array:
        """In nats, summed over the event: z [B, *event_shape] to [B], at least float32.

        Raises:
            ValueError: z has another shape.
        """
        if z.shape[1:] != self.event_shape:
            raise ValueError(f"Logistic is over events of shape {self.event_shape}, got {z.shape[1:]}.")
        z = jnp.asarray(z, jnp.promote_types(z.dtype, jnp.float32))
        return -(jax.nn.softplus(z) + jax.nn.softplus(-z)).sum(tuple(range(1, z.ndim)))

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """n samples, [n, *event_shape]."""
        return jax.random.logistic(key, (n, *self.event_shape))
