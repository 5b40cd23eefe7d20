"""A generator held to its earlier self: lambda E |G(z) - G_old(z)|^2."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array
from jaxgen.losses.penalties import proximal


@dataclasses.dataclass(frozen=True)
class Proximal:
    """How strongly, and when the earlier self becomes the present one.

    Attributes:
        weight: lambda, of squared distances summed over an event on the networks' scale.
        every: moves of the generator between renewals. At 1 the two are equal when the gradient is taken, which is
            zero then: the term does nothing.
        decay: above 0, the earlier self is instead an average of all, moved by 1 - decay at each move.
    """

    weight: float = 1.0
    every: int = 10
    decay: float = 0.0

    def refresh(self, previous: dict, present: dict, move: Array) -> dict:
        """The earlier parameters that move number `move` is held to."""
        present = lax.stop_gradient(present)
        keep = self.decay if self.decay else jnp.where(move % self.every == 0, 0.0, 1.0)
        return jax.tree.map(lambda old, new: jnp.asarray(keep * old + (1 - keep) * new, new.dtype), previous, present)

    def penalty(self, new: Array, old: Array) -> Array:
        """A scalar, whose gradient goes into `new` alone."""
        return proximal(new, old, self.weight)
