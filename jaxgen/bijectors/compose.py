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
    """Applies its bijectors in order, and inverts them from the last to the first.

    As everywhere in Flax, an instance used twice shares its variables: make a new one for each place.
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
    """Swaps the directions of a bijector, with their costs."""

    bijector: Bijector

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self.bijector.inverse_and_log_det(x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self.bijector.forward_and_log_det(z, context)


def _in_order(bijector: Bijector, direction: str) -> list[tuple[Bijector, str]]:
    """The bijectors of nested chains in the order in which a direction runs them, each with its own direction."""
    if type(bijector) is Chain:
        parts = bijector.bijectors if direction == "forward" else reversed(bijector.bijectors)
        return [entry for part in parts for entry in _in_order(part, direction)]
    if type(bijector) is Invert:
        return _in_order(bijector.bijector, _OPPOSITE[direction])
    return [(bijector, direction)]


class Repeat(Bijector):
    """Applies a step `times` times, with variables of its own each time, stacked on their first axis.

    The loop is a `scan`, compiled once for any number of repetitions. Each repetition has its own random numbers, and
    data-dependent initialisation sees the previous repetition's output. The step keeps the event's shape.

    Attributes:
        gradient: the memory of the backward pass. "store": all activations. "rematerialize": the inputs of each
            repetition; the rest is computed again. "reverse": the last output only; inputs are rebuilt by inverting,
            bijector by bijector: memory does not grow with depth, and time hardly where the inverse has a closed form.
            It loses precision with depth and with scales far from 1 (`reconstruction_error` measures it), and drops
            sown values.

    Raises:
        ValueError: another `gradient`; or "reverse" for a step with collections that training updates (batch
            statistics, spectral norms) or with random numbers (dropout).
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
        # True stands for all collections and all random streams
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

        # the maps below get no keys, and a network without a key does not drop
        keys = {name: self.make_rng(name) for name in self.scope.rngs}
        if keys and depends_on_keys(once, keys):
            raise ValueError('Repeat(gradient="reverse") requires a step without random numbers, got one with dropout')

        def part(index, back, variables, x, context, y=None):
            def run(step):
                bijector, own = _in_order(step, direction)[index]
                if y is not None:
                    return bijector.differentiate_at(own, x, y, context)
                return getattr(bijector, f"{_OPPOSITE[own] if back else own}_and_log_det")(x, context)

            # through the step, so that bijectors that share variables find them
            return step.apply(variables, method=run)

        maps = [
            (functools.partial(part, i, False), functools.partial(part, i, True))
            for i in range(len(_in_order(step, direction)))
        ]
        return reversing_scan(maps, variables, x, context, self.times, reverse=direction == "inverse")

    def _both(self, direction: str, x: Array, context: Array | None) -> ValueAndLogDet:
        if self.gradient not in get_args(Gradient):
            raise ValueError(f"`gradient` must be one of {get_args(Gradient)}, got {self.gradient!r}")
        stored = self.gradient != "reverse" or self.is_initializing()
        result = (self._scan if stored else self._reversing)(direction, at_least_float32(x), context)
        updated = [name for name in ("batch_stats", "spectral") if jax.tree.leaves(self.step.variables.get(name, {}))]
        if self.gradient == "reverse" and updated:
            raise ValueError(
                f'Repeat(gradient="reverse") requires a step without collections that training updates, got {updated}'
            )
        return result

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("forward", x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("inverse", z, context)


def reverses(bijector: Any) -> bool:
    """Whether a bijector contains a `Repeat` with `gradient="reverse"`."""
    if isinstance(bijector, tuple):
        return any(reverses(part) for part in bijector)
    if not isinstance(bijector, nn.Module):
        return False
    if isinstance(bijector, Repeat) and bijector.gradient == "reverse":
        return True
    return any(reverses(getattr(bijector, f.name)) for f in dataclasses.fields(bijector) if f.name != "parent")


class FirstHalf(Bijector):
    """Applies a bijector, which keeps shapes, to the first half of the last axis (C // 2 features) only."""

    bijector: Bijector

    def _both(self, direction: str, x: Array, context: Array | None) -> ValueAndLogDet:
        first, rest = jnp.split(x, [x.shape[-1] // 2], -1)
        first, log_det = getattr(self.bijector, direction)(first, context)
        return jnp.concatenate([first, rest], -1), log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("forward_and_log_det", x, context)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both("inverse_and_log_det", z, context)
