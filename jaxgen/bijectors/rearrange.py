"""Volume-preserving rearrangements of events."""

from __future__ import annotations

import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.convolution import depth_to_space, space_to_depth


class Permute(Bijector):
    """Permutes the last axis: `z[..., i] = x[..., order[i]]`.

    Attributes:
        order: a tuple of indices, "reverse", "parity" (the even indices before the odd ones), or "random": drawn at
            `init` and kept in the collection `constants`, with one per repetition under `Repeat`.

    Raises:
        ValueError: a tuple that is not a permutation of the last axis, or a random order of another length.
    """

    order: Literal["random", "reverse", "parity"] | tuple[int, ...] = "random"

    def _draw(self, size: int) -> Array:
        return jax.random.permutation(self.make_rng("params"), size)

    def _permutation(self, size: int) -> Array:
        if self.order == "random":
            drawn = self.variable("constants", "permutation", lambda: self._draw(size)).value
            if drawn.shape != (size,):
                raise ValueError(f"Permute was initialised with {len(drawn)} features on the last axis, got {size}")
            return drawn
        named = {"reverse": (*range(size)[::-1],), "parity": (*range(0, size, 2), *range(1, size, 2))}
        order = named.get(self.order, self.order)
        if not isinstance(order, tuple) or sorted(order) != list(range(size)):
            raise ValueError(f"`order` must be a permutation of the last axis's {size} indices, got {order}")
        return jnp.asarray(np.asarray(order, np.int32))

    @nn.compact
    def _both(self, x: Array, inverse: bool) -> ValueAndLogDet:
        permutation = self._permutation(x.shape[-1])
        if inverse:
            permutation = jnp.argsort(permutation)
        return x.at[..., permutation].get(unique_indices=True, mode="promise_in_bounds"), zero_log_det(x)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, inverse=True)


class Squeeze(Bijector):
    """Moves blocks of `factor` x `factor` pixels into channels: [B, H, W, C] to [B, H/f, W/f, C f^2].

    Raises:
        ValueError: H or W not divisible by f, or for the inverse C by f^2.

    Source: Dinh et al. 2017, section 3.6.
    """

    factor: int = 2

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        if x.ndim != 4 or x.shape[1] % self.factor or x.shape[2] % self.factor:
            raise ValueError(f"`x` must be [B, H, W, C] with H and W divisible by {self.factor}, got shape {x.shape}")
        return space_to_depth(x, self.factor), zero_log_det(x)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        if z.ndim != 4 or z.shape[3] % self.factor**2:
            raise ValueError(f"`z` must be [B, H, W, C] with C divisible by {self.factor**2}, got shape {z.shape}")
        return depth_to_space(z, self.factor), zero_log_det(z)


class Reshape(Bijector):
    """Reshapes events from `event_shape` to `to`.

    Raises:
        ValueError: events of another shape, or shapes of different sizes.
    """

    event_shape: tuple[int, ...]
    to: tuple[int, ...]

    def _both(self, x: Array, old: tuple[int, ...], new: tuple[int, ...]) -> ValueAndLogDet:
        if x.shape[1:] != tuple(old) or math.prod(old) != math.prod(new):
            raise ValueError(f"Reshape from {old} to {new} requires equal sizes and such events, got {x.shape[1:]}")
        return x.reshape(x.shape[0], -1).reshape(x.shape[0], *new), zero_log_det(x)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, self.event_shape, self.to)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, self.to, self.event_shape)
