"""Fixed monotone functions of single coordinates.

Each clips its argument before computing, so that values and gradients are finite at the edges of its domain, outside
it, and for large arguments. Outside the domain the log-derivative is -inf (`Bijector`).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, sum_over_event
from jaxgen.precision import at_least_float32

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class Elementwise(Bijector):
    """A bijector that acts on each coordinate alone: a subclass defines values and log-derivatives, shaped as x.

    Outside its domain a direction returns a finite value and the log-derivative -inf.
    """

    def _forward(self, x: Array) -> ValueAndLogDet:
        raise NotImplementedError

    def _inverse(self, z: Array) -> ValueAndLogDet:
        raise NotImplementedError

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        z, log_derivative = self._forward(at_least_float32(x))
        return z, sum_over_event(log_derivative)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        x, log_derivative = self._inverse(at_least_float32(z))
        return x, sum_over_event(log_derivative)


def _clip(y: Array, low: float, high: float) -> tuple[Array, Array]:
    """y clipped to [low + eps, high - eps], and where it is outside [low, high] by more than rounding, 4 eps."""
    eps = jnp.finfo(y.dtype).eps
    return jnp.clip(y, low + eps, high - eps), (y < low - 4 * eps) | (y > high + 4 * eps)


def _logit(y: Array) -> ValueAndLogDet:
    y, outside = _clip(y, 0, 1)
    log_y, log_rest = jnp.log(y), jnp.log1p(-y)
    return log_y - log_rest, jnp.where(outside, -jnp.inf, -log_y - log_rest)


def _sigmoid(x: Array) -> ValueAndLogDet:
    return jax.nn.sigmoid(x), jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)


class Affine(Elementwise):
    """`z = shift + scale * x` with constants. (`ActNorm`, `Scale` and couplings are learned.)

    Attributes:
        shift, scale: numbers, or (nested) tuples that broadcast to the event's shape.

    Raises:
        ValueError: a scale that is zero, or a shape that does not broadcast.
    """

    shift: Any = 0.0
    scale: Any = 1.0

    def _constants(self, x: Array) -> tuple[Array, Array, Array]:
        try:
            shift, scale = (np.broadcast_to(np.asarray(c, np.float64), x.shape[1:]) for c in (self.shift, self.scale))
        except ValueError:
            shapes = f"{np.shape(self.shift)} and {np.shape(self.scale)}"
            raise ValueError(
                f"`shift` and `scale` must broadcast to an event of shape {x.shape[1:]}, got shapes {shapes}"
            ) from None
        if not np.all(scale):
            raise ValueError(f"`scale` must not be zero, got {self.scale}")
        log_scale = np.log(np.abs(scale))
        return tuple(jnp.asarray(c, x.dtype) for c in (shift, scale, log_scale))

    def _forward(self, x: Array) -> ValueAndLogDet:
        shift, scale, log_scale = self._constants(x)
        return shift + scale * x, log_scale + jnp.zeros_like(x)

    def _inverse(self, z: Array) -> ValueAndLogDet:
        shift, scale, log_scale = self._constants(z)
        return (z - shift) / scale, jnp.zeros_like(z) - log_scale


class Logit(Elementwise):
    """From (0, 1) to the real line: `z = logit(alpha + (1 - 2 alpha) x)` (Dinh et al. 2017, section 4.1).

    With `alpha` > 0 the edges 0 and 1 map to finite points, and the domain extends beyond them, from
    -alpha / (1 - 2 alpha) to (1 - alpha) / (1 - 2 alpha).

    Raises:
        ValueError: `alpha` outside [0, 0.5).
    """

    alpha: float = 0.0

    def __post_init__(self):
        if not (isinstance(self.alpha, (int, float)) and 0 <= self.alpha < 0.5):
            raise ValueError(f"`alpha` must be in [0, 0.5), got {self.alpha}")
        super().__post_init__()

    def _forward(self, x: Array) -> ValueAndLogDet:
        z, log_derivative = _logit(self.alpha + (1 - 2 * self.alpha) * x)
        return z, log_derivative + math.log1p(-2 * self.alpha)

    def _inverse(self, z: Array) -> ValueAndLogDet:
        y, log_derivative = _sigmoid(z)
        return (y - self.alpha) / (1 - 2 * self.alpha), log_derivative - math.log1p(-2 * self.alpha)


class Sigmoid(Elementwise):
    """From the real line to (0, 1): `z = 1 / (1 + exp(-x))`."""

    def _forward(self, x: Array) -> ValueAndLogDet:
        return _sigmoid(x)

    def _inverse(self, z: Array) -> ValueAndLogDet:
        return _logit(z)


class Probit(Elementwise):
    """From (0, 1) to the real line by the normal quantile function: uniform becomes standard normal."""

    def _forward(self, x: Array) -> ValueAndLogDet:
        x, outside = _clip(x, 0, 1)
        # vmap: the constants of ndtri are not sharded as x where axes are explicit
        z = jax.vmap(ndtri)(x)
        return z, jnp.where(outside, -jnp.inf, 0.5 * z**2 + _HALF_LOG_2PI)

    def _inverse(self, z: Array) -> ValueAndLogDet:
        return ndtr(z), -0.5 * z**2 - _HALF_LOG_2PI


class Softplus(Elementwise):
    """From the real line to (0, inf): `z = log(1 + exp(x))`."""

    def _forward(self, x: Array) -> ValueAndLogDet:
        return jax.nn.softplus(x), jax.nn.log_sigmoid(x)

    def _inverse(self, z: Array) -> ValueAndLogDet:
        outside, z = z < 0, jnp.maximum(z, jnp.finfo(z.dtype).tiny)
        # log(exp(z) - 1) = z + log(1 - exp(-z)), which neither overflows nor cancels
        log_derivative = -jnp.log(-jnp.expm1(-z))
        return z - log_derivative, jnp.where(outside, -jnp.inf, log_derivative)


class Tanh(Elementwise):
    """From the real line to (-1, 1): `z = tanh(x)`."""

    def _forward(self, x: Array) -> ValueAndLogDet:
        # log(1 - tanh(x)^2) without cancellation
        return jnp.tanh(x), 2 * (math.log(2) - x - jax.nn.softplus(-2 * x))

    def _inverse(self, z: Array) -> ValueAndLogDet:
        z, outside = _clip(z, -1, 1)
        upper, lower = jnp.log1p(z), jnp.log1p(-z)
        return 0.5 * (upper - lower), jnp.where(outside, -jnp.inf, -upper - lower)


class LeakyReLU(Elementwise):
    """`z = x` for positive x, `z = slope * x` for negative.

    Raises:
        ValueError: a slope that is not positive.
    """

    slope: float = 0.01

    def _log_derivative(self, x: Array) -> Array:
        if self.slope <= 0:
            raise ValueError(f"`slope` must be positive, got {self.slope}")
        return jnp.where(x < 0, math.log(self.slope), 0.0).astype(x.dtype)

    def _forward(self, x: Array) -> ValueAndLogDet:
        return jnp.where(x < 0, self.slope * x, x), self._log_derivative(x)

    def _inverse(self, z: Array) -> ValueAndLogDet:
        return jnp.where(z < 0, z / self.slope, z), -self._log_derivative(z)
