"""What a bijector is: an invertible map of events that knows the logarithm of its Jacobian's determinant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from jaxgen.arguments import OTHER_VARIABLES, context_rows, freeze_fields, rows
from jaxgen.precision import at_least_float32, float32_or_wider
from jaxgen.sharding import full_batch

Array = jax.Array
ValueAndLogDet = tuple[Array, Array]


def event_axes(x: Array) -> tuple[int, ...]:
    """All axes of [B, *event] but the first."""
    return tuple(range(1, x.ndim))


def sum_over_event(x: Array) -> Array:
    """[B, *event] to [B], at least in float32."""
    return at_least_float32(x).sum(event_axes(x))


def zero_log_det(x: Array) -> Array:
    """The log-determinant of a map that preserves volume: zeros [B], at least float32."""
    return full_batch(x, dtype=float32_or_wider(x))


def _checked(direction: Callable[..., ValueAndLogDet]) -> Callable[..., ValueAndLogDet]:
    """A direction that says what does not fit, before or in place of the layers within."""
    name, signature = list(inspect.signature(direction).parameters)[1], inspect.signature(direction)

    @functools.wraps(direction)
    def checked(*args: Any, **keywords: Any) -> ValueAndLogDet:
        given = signature.bind(*args, **keywords).arguments
        x, kind = rows(name, given[name]), type(given["self"]).__name__
        context = context_rows(given.get("context"), x)
        try:
            return direction(given["self"], x, context)
        except OTHER_VARIABLES as error:
            told = "no context" if context is None else f"context of shape {context.shape}"
            raise ValueError(
                f"{kind} has variables of another event or context than {name} of shape {x.shape} and {told}"
            ) from error

    return checked


class Bijector(nn.Module):
    """An invertible map from [B, *event] to an array of the same total size, and back.

    `forward` runs from data to latent, `log p(x) = log p_base(forward(x)) + log_det(x)`. A subclass gives the two
    primitives; XLA drops whatever of their results is not used. Every bijector takes an optional conditioning array
    `context` (shape [B, K], or [B, h, w, K] for images; one row serves the whole batch) and either uses it or passes
    it on.

    Log-determinants have shape [B], in float64 for float64 inputs and in float32 otherwise; arithmetic on coordinates
    is at least in float32. `init` may run either direction.

    Where a coordinate of the input lies outside of a direction's domain, the log-determinant is -inf, the value that of
    the nearest edge and the gradient zero: a density is -inf outside of its support, and integrates to one if the base
    has no mass outside of the bijector's image. The edges of a domain belong to it, and so do points beyond the edges
    of an interval by rounding (4 machine epsilons); they have the finite value and log-determinant of the nearest
    point, one epsilon inside.

    Raises:
        ValueError: no rows, a context of other rows, or variables that are of another event or context.
        TypeError: no real numbers.
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

        What is differentiated when inputs are not stored (see `Repeat`). A subclass whose network sees the same numbers
        in x and in y reads them from y where the compiler would not find out: the network then runs once, not twice.
        """
        return getattr(self, f"{direction}_and_log_det")(x, context)
