"""The base class of bijectors: invertible maps of events with the log-determinants of their Jacobians."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxgen.arguments import OTHER_VARIABLES, as_batch, broadcast_context, freeze_fields
from jaxgen.precision import at_least_float32, float32_or_wider
from jaxgen.sharding import full_batch

Array = jax.Array
ValueAndLogDet = tuple[Array, Array]


def event_axes(x: Array) -> tuple[int, ...]:
    """All axes of [B, *event] but the first."""
    return tuple(range(1, x.ndim))


def sum_over_event(x: Array) -> Array:
    """[B, *event] to [B], at least float32."""
    return at_least_float32(x).sum(event_axes(x))


def zero_log_det(x: Array) -> Array:
    """The log-determinant of a map that preserves volume: zeros [B], at least float32."""
    return full_batch(x, dtype=float32_or_wider(x))


def _checked(direction: Callable[..., ValueAndLogDet]) -> Callable[..., ValueAndLogDet]:
    """Adds the checks of arguments and variables to a direction."""
    signature = inspect.signature(direction)
    name = list(signature.parameters)[1]

    @functools.wraps(direction)
    def checked(*args: Any, **keywords: Any) -> ValueAndLogDet:
        arguments = signature.bind(*args, **keywords).arguments
        bijector, x = arguments["self"], as_batch(name, arguments[name])
        context = broadcast_context(arguments.get("context"), x)
        try:
            return direction(bijector, x, context)
        except OTHER_VARIABLES as error:
            shapes = f"{x.shape} and " + ("no context" if context is None else f"context of shape {context.shape}")
            raise ValueError(
                f"`{name}` and `context` must have the shapes that {type(bijector).__name__} was initialised with, "
                f"got {name} of shape {shapes}"
            ) from error

    return checked


class Bijector(nn.Module):
    """An invertible map from [B, *event] to an array of the same total size, and back.

    `forward` runs from data to latents, as in zuko (in distrax, TFP and flowjax from latents to data):

        log p(x) = log p_base(forward(x)) + log_det(x).

    A subclass defines `forward_and_log_det` and `inverse_and_log_det`; XLA removes unused results. Every bijector takes
    an optional conditioning array `context` ([B, K], or [B, h, w, K] for images; or with a first axis of 1, for the
    whole batch) and either uses it or passes it on.

    Log-determinants have shape [B], in float64 for float64 inputs and in float32 otherwise; coordinates are computed at
    least in float32. `init` may run either direction.

    If a coordinate of the input lies outside a direction's domain, the log-determinant is -inf, the value is that of
    the nearest edge and the gradient is zero: a log-density is -inf outside its support, and the density integrates to
    one if the base has no mass outside the bijector's image. A domain includes its edges, and points beyond them by
    rounding (4 machine epsilons); these get the finite value and log-determinant of the nearest point one epsilon
    inside.

    Raises:
        ValueError: an empty batch, a context of another batch size, or variables for another event or context shape.
        TypeError: complex or non-numeric input.
    """

    def __init_subclass__(cls, **keywords: Any):
        for name in ("forward_and_log_det", "inverse_and_log_det"):
            if name in vars(cls):
                setattr(cls, name, _checked(vars(cls)[name]))
        super().__init_subclass__(**keywords)

    def __post_init__(self):
        freeze_fields(self)
        super().__post_init__()

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        """x [B, *event] to (z, log|det dz/dx| [B])."""
        raise NotImplementedError

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        """z to (x [B, *event], log|det dx/dz| [B])."""
        raise NotImplementedError

    def forward(self, x: Array, context: Array | None = None) -> Array:
        """x to z."""
        return self.forward_and_log_det(x, context)[0]

    def inverse(self, z: Array, context: Array | None = None) -> Array:
        """z to x."""
        return self.inverse_and_log_det(z, context)[0]

    def log_det(self, x: Array, context: Array | None = None) -> Array:
        """log|det dz/dx| at x, [B]."""
        return self.forward_and_log_det(x, context)[1]

    def __call__(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self.forward_and_log_det(x, context)

    def differentiate_at(self, direction: str, x: Array, y: Array, context: Array | None = None) -> ValueAndLogDet:
        """`direction` ("forward" or "inverse") at x, where its value y is known and x has just been rebuilt from y.

        `Repeat` differentiates it when inputs are not stored. A subclass whose network reads the same numbers in x and
        y takes them from y if the compiler cannot detect it: the network then runs once instead of twice.
        """
        return getattr(self, f"{direction}_and_log_det")(x, context)
