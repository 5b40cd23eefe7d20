"""What the standard distributions of an event share: independent coordinates, each of the same density."""

from __future__ import annotations

import dataclasses

import jax

from jaxgen.arguments import counts, freeze_fields
from jaxgen.precision import at_least_float32


@dataclasses.dataclass(frozen=True)
class StandardDistribution:
    """Independent coordinates; a subclass gives the log-density of one, and draws of a shape.

    Attributes:
        event_shape: shape of one sample.
    """

    event_shape: tuple[int, ...]

    def __post_init__(self):
        freeze_fields(self)

    def _log_density(self, z: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _draw(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        raise NotImplementedError

    def log_prob(self, z: jax.Array) -> jax.Array:
        """In nats, summed over the event: z [B, *event_shape] to [B], at least float32.

        Raises:
            ValueError: z has another shape.
        """
        if z.shape[1:] != self.event_shape:
            raise ValueError(f"{type(self).__name__} is over events of shape {self.event_shape}, got {z.shape[1:]}.")
        z = at_least_float32(z)
        return self._log_density(z).sum(tuple(range(1, z.ndim)))

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """n samples, [n, *event_shape].

        Raises:
            ValueError: n is no whole number of at least one.
        """
        counts(n=n)
        return self._draw(key, (n, *self.event_shape))
