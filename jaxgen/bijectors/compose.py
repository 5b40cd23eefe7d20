"""Bijectors made of bijectors."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, at_least_float32, zero_log_det


class Chain(Bijector):
    """Applies its bijectors in order; the inverse undoes them from the last to the first.

    As everywhere in Flax, one instance that stands in two places has one set of variables: make a new one for each.
    """

    bijectors: tuple[Bijector, ...]

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        log_det = zero_log_det(x)
        for bijector in self.bijectors:
            x, change = bijector.forward_and_log_det(x, context)
            log_det += change
        return x, log_det

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        log_det = zero_log_det(z)
        for bijector in reversed(self.bijectors):
            z, change = bijector.inverse_and_log_det(z, context)
            log_det += change
        return z, log_det


class Invert(Bijector):
    """Swaps the directions of a bijector; the fast one becomes the slow one."""

    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self.bijector.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self.bijector.forward_and_log_det(z, context)


class Repeat(Bijector):
    """Applies a step `times` times, each time with variables of its own, stacked on their first axis.

    The loop is a `scan`: it is compiled once, whatever the number of repetitions. Each repetition has its own draw of
    every random number, and data-dependent initialisation sees what the repetitions before it put out. The step keeps
    the event's shape.
    """

    step: Bijector
    times: int

    def _scan(self, direction: str, x: Array, context: Array | None, reverse: bool) -> ValueAndLogDet:
        def body(step, carry, context):
            x, log_det = carry
            x, change = getattr(step, direction)(x, context)
            return (x, log_det + change), None

        # True stands for every collection and for every random stream.
        scan = nn.scan(
            body, variable_axes={True: 0}, split_rngs={True: True}, in_axes=nn.broadcast, length=self.times,
            reverse=reverse,
        )
        (x, log_det), _ = scan(self.step, (at_least_float32(x), zero_log_det(x)), context)
        return x, log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._scan("forward_and_log_det", x, context, reverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._scan("inverse_and_log_det", z, context, reverse=True)


class OnHalf(Bijector):
    """Applies a bijector to the first half of the last axis (C // 2 features), and leaves the rest as it is.

    The bijector keeps the shape of that half.
    """

    bijector: Bijector

    def _both(self, direction: str, x: Array, context: Array | None) -> ValueAndLogDet:
        first, rest = jnp.split(x, [x.shape[-1] // 2], -1)
        first, log_det = getattr(self.bijector, direction)(first, context)
        return jnp.concatenate([first, rest], -1), log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("forward_and_log_det", x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("inverse_and_log_det", z, context)
