"""The base class of standard distributions: independent coordinates with the same density."""

from __future__ import annotations

import dataclasses

import jax

from jaxgen.arguments import check_counts, freeze_fields
from jaxgen.precision import at_least_float32


@dataclasses.dataclass(frozen=True)
class StandardDistribution:
    """Independent coordinates; subclasses define the log-density and samples of one coordinate.

    Attributes:
        event_shape: shape of one sample.
    """

    event_shape: tuple[int, ...]

    def __post_init__(self):
        freeze_fields(self)

    def _log_density(self, z: jax.Array) -> jax.Array:
        raise NotImplementedError

    def _sample(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        raise NotImplementedError

    def log_prob(self, z: jax.Array) -> jax.Array:
        """log p(z) in nats, summed over the event: z [B, *event_shape] to [B], at least float32.

        Raises:
            ValueError: z has another shape.
        """
        if z.shape[1:] != self.event_shape:
            raise ValueError(f"`z` of {type(self).__name__} must be [B, *{self.event_shape}], got shape {z.shape}")
        z = at_least_float32(z)
        return self._log_density(z).sum(tuple(range(1, z.ndim)))

    def sample(self, key: jax.Array, n: int) -> jax.Array:
        """n samples, [n, *event_shape].

        Raises:
            ValueError: n is not an integer >= 1.
        """
        check_counts(n=n)
        return self._sample(key, (n, *self.event_shape))
