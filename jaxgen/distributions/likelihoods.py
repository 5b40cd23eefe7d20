"""Likelihoods of decoders: p(x | params) with independent coordinates, given `n` parameters for each of them.

Parameters come straight out of a network, [..., n] for data of shape [...]: any real number is allowed. Computations
are at least float32 whatever the network computed in.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key


class Likelihood(Protocol):
    """Attributes:
    n: parameters per coordinate.
    levels: integer data 0..levels-1 are rated as they are; None: data are real (Bernoulli's in [0, 1]).
    """

    @property
    def n(self) -> int: ...

    @property
    def levels(self) -> int | None: ...

    def log_prob(self, params: Array, x: Array) -> Array:
        """log p(x | params) in nats, summed over the event: params [B, ..., n], x [B, ...] to [B]."""

    def mean(self, params: Array) -> Array:
        """E[x | params]: [..., n] to [...]."""

    def sample(self, params: Array, key: Key) -> Array:
        """A draw: [..., n] to [...]."""


def _precise(a: Array) -> Array:
    return jnp.asarray(a, jnp.promote_types(jnp.result_type(a), jnp.float32))


def _checked(likelihood: Likelihood, params: Array, x: Array) -> tuple[Array, Array]:
    if params.shape != (*x.shape, likelihood.n):
        raise ValueError(
            f"{type(likelihood).__name__} rates data of shape {x.shape} with parameters of shape "
            f"{(*x.shape, likelihood.n)}, not {params.shape}"
        )
    return _precise(params), _precise(x)


def _sum_event(a: Array) -> Array:
    return a.sum(tuple(range(1, a.ndim)))


def _spread(raw: Array, floor: float) -> Array:
    """Any number to a scale above `floor`; softplus, since exp would overflow and a clip would stop learning."""
    return floor + jax.nn.softplus(raw)


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Pixels that are on or off; the parameter is the logit l: log p(x) = x l - softplus(l).

    A grey value x in [0, 1] is rated by the cross-entropy, the expectation over pixels drawn with probability x.
    """

    n: ClassVar[int] = 1
    levels: ClassVar[None] = None

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        logits = params[..., 0]
        return _sum_event(x * logits - jax.nn.softplus(logits))

    def mean(self, params: Array) -> Array:
        return jax.nn.sigmoid(_precise(params)[..., 0])

    def sample(self, params: Array, key: Key) -> Array:
        probabilities = self.mean(params)
        return jax.random.bernoulli(key, probabilities).astype(probabilities.dtype)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Real data: the parameters are the mean and, unless it is given, the standard deviation before its softplus.

    Attributes:
        std: a fixed standard deviation; None learns one per coordinate.
        floor: learned standard deviations stay above it; without it a density grows without bound on data that repeat.
    """

    std: float | None = None
    floor: float = 1e-3
    levels: ClassVar[None] = None

    @property
    def n(self) -> int:
        return 1 if self.std is not None else 2

    def _std(self, params: Array) -> Array:
        return jnp.asarray(self.std, params.dtype) if self.std is not None else _spread(params[..., 1], self.floor)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        std = self._std(params)
        z = (x - params[..., 0]) / std
        return _sum_event(-0.5 * (z**2 + jnp.log(2 * jnp.pi)) - jnp.log(std))

    def mean(self, params: Array) -> Array:
        return _precise(params)[..., 0]

    def sample(self, params: Array, key: Key) -> Array:
        params = _precise(params)
        return params[..., 0] + self._std(params) * jax.random.normal(key, params.shape[:-1], params.dtype)


@dataclasses.dataclass(frozen=True)
class DiscretizedLogistic:
    """Integers 0..levels-1: the mass that a logistic density puts on each unit bin, the edge bins taking its tails.

    P(x) = F((x + 1/2 - m) / s) - F((x - 1/2 - m) / s), F the sigmoid (Kingma et al. 2016, "Improved Variational
    Inference with Inverse Autoregressive Flow"). The parameters are m and s before its softplus, in units in which the
    levels span [-1, 1], so that zeros mean a broad density on the middle.

    Attributes:
        floor: of the scale, in those units.
    """

    levels: int = 256
    floor: float = 1e-3
    n: ClassVar[int] = 2

    def __post_init__(self):
        if self.levels < 2:
            raise ValueError(f"DiscretizedLogistic needs at least two levels, not {self.levels}")

    def _location_and_scale(self, params: Array) -> tuple[Array, Array]:
        """In levels."""
        half = (self.levels - 1) / 2
        return half * (1 + params[..., 0]), half * _spread(params[..., 1], self.floor)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        location, scale = self._location_and_scale(params)
        below, above = (x - 0.5 - location) / scale, (x + 0.5 - location) / scale
        log_under, log_over = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
        # F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)) exactly, and no factor cancels far out in a tail
        log_inside = log_under + log_over + jnp.log(-jnp.expm1(-1 / scale))
        return _sum_event(jnp.where(x <= 0, log_under, jnp.where(x >= self.levels - 1, log_over, log_inside)))

    def mean(self, params: Array) -> Array:
        """The mean of the discrete distribution, sum over k >= 1 of P(x >= k), in levels."""
        location, scale = self._location_and_scale(_precise(params))

        def add(k, total):
            return total + jax.nn.sigmoid((location - k + 0.5) / scale)

        return lax.fori_loop(1, self.levels, add, jnp.zeros_like(location))

    def sample(self, params: Array, key: Key) -> Array:
        location, scale = self._location_and_scale(_precise(params))
        x = location + scale * jax.random.logistic(key, location.shape, location.dtype)
        return jnp.clip(jnp.round(x), 0, self.levels - 1)
