"""The standard normal distribution of an event."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Normal:
    """Independent standard normal coordinates.

    Attributes:
        event_shape: shape of one sample.
    """

    event_shape: tuple[int, ...]

    def log_prob(self, z: jax.Array) -> jax.Array:
        """log N(z; 0, I) in nats, summed over the event: z [B, *event_shape] to [B], at least float32.

        Raises:
            ValueError: z has another shape.
        """
        if z.shape[1:] != self.event_shape:
            raise ValueError(f"Normal is over events of shape {self.event_shape}, got {z.shape[1:]}.")
        z = jnp.asarray(z, jnp.promote_types(z.dtype, jnp.float32))
        squares = jnp.square(z).sum(tuple(range(1, z.ndim)))
        return -0.5 * (squares + math.prod(self.event_shape) * math.log(2 * math.pi))

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """n samples, [n, *event_shape]."""
        return jax.random.normal(key, (n, *self.event_shape))
