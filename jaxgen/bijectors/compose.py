"""Bijectors made of bijectors."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.bijectors.reversible import depends_on_keys, reversing_scan
from jaxgen.precision import at_least_float32
from jaxgen.sharding import vary_like

Gradient = Literal["store", "rematerialize", "reverse"]
_OPPOSITE = {"forward": "inverse", "inverse": "forward"}


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


def _in_order(bijector: Bijector, direction: str) -> list[tuple[Bijector, str]]:
    """The bijectors that nested chains come to, as a direction meets them, each with the direction it is met in."""
    if type(bijector) is Chain:
        parts = bijector.bijectors if direction == "forward" else reversed(bijector.bijectors)
        return [met for part in parts for met in _in_order(part, direction)]
    if type(bijector) is Invert:
        return _in_order(bijector.bijector, _OPPOSITE[direction])
    return [(bijector, direction)]


class Repeat(Bijector):
    """Applies a step `times` times, each time with variables of its own, stacked on their first axis.

    The loop is a `scan`: it is compiled once, whatever the number of repetitions. Each repetition has its own draw of
    every random number, and data-dependent initialisation sees what the repetitions before it put out. The step keeps
    the event's shape.

    Attributes:
        gradient: what the backward pass has of the repetitions. "store" keeps what every one of them computed.
            "rematerialize" keeps their inputs and computes the rest again. "reverse" keeps the last output alone and
            rebuilds inputs by inverting, bijector by bijector: depth costs no memory, and little time where the inverse
            has a closed form. It loses precision with depth and with scales that are far from 1
            (`reconstruction_error` tells), and drops what the step sows.

    Raises:
        ValueError: another `gradient`; or "reverse" with batch statistics in the step, or with a step that draws random
            numbers (dropout).
    """

    step: Bijector
    times: int
    gradient: Gradient = "store"

    def _scan(self, direction: str, x: Array, context: Array | None) -> ValueAndLogDet:
        def body(step, carry, context):
            x, log_det = carry
            x, change = getattr(step, f"{direction}_and_log_det")(x, context)
            return (x, log_det + change), None

        if self.gradient == "rematerialize":
            body = nn.remat(body, prevent_cse=False)
        # True stands for every collection and for every random stream.
        scan = nn.scan(
            body, variable_axes={True: 0}, split_rngs={True: True}, in_axes=nn.broadcast, length=self.times,
            reverse=direction == "inverse",
        )
        (x, log_det), _ = scan(self.step, vary_like((x, zero_log_det(x)), context, self.step.variables), context)
        return x, log_det

    def _reversing(self, direction: str, x: Array, context: Array | None) -> ValueAndLogDet:
        step, variables = self.step.unbind()

        def once(keys):
            first = jax.tree.map(lambda a: a[0], variables)
            return step.apply(first, x, context, method=f"{direction}_and_log_det", rngs=keys)

        # The maps below are given no keys, and a network without one does not drop.
        keys = {name: self.make_rng(name) for name in self.scope.rngs}
        if keys and depends_on_keys(once, keys):
            raise ValueError('Repeat(gradient="reverse") needs a step without random numbers, got one with dropout.')

        def part(index, back, variables, x, context, y=None):
            def met(step):
                bijector, way = _in_order(step, direction)[index]
                if y is not None:
                    return bijector.differentiate_at(way, x, y, context)
                return getattr(bijector, f"{_OPPOSITE[way] if back else way}_and_log_det")(x, context)

            # through the step, where bijectors that share variables find them
            return step.apply(variables, method=met)

        maps = [
            (functools.partial(part, i, False), functools.partial(part, i, True))
            for i in range(len(_in_order(step, direction)))
        ]
        return reversing_scan(maps, variables, x, context, self.times, reverse=direction == "inverse")

    def _both(self, direction: str, x: Array, context: Array | None) -> ValueAndLogDet:
        if self.gradient not in get_args(Gradient):
            raise ValueError(f"Repeat's gradient is one of {get_args(Gradient)}, not {self.gradient!r}.")
        stored = self.gradient != "reverse" or self.is_initializing()
        result = (self._scan if stored else self._reversing)(direction, at_least_float32(x), context)
        if self.gradient == "reverse" and jax.tree.leaves(self.step.variables.get("batch_stats", {})):
            raise ValueError('Repeat(gradient="reverse") needs a step without batch statistics, got one that has them.')
        return result

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("forward", x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("inverse", z, context)


def reverses(bijector: Any) -> bool:
    """Whether a `Repeat` with `gradient="reverse"` stands anywhere in a bijector."""
    if isinstance(bijector, tuple):
        return any(reverses(part) for part in bijector)
    if not isinstance(bijector, nn.Module):
        return False
    if isinstance(bijector, Repeat) and bijector.gradient == "reverse":
        return True
    return any(reverses(getattr(bijector, f.name)) for f in dataclasses.fields(bijector) if f.name != "parent")


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
