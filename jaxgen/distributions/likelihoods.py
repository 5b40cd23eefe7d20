"""Likelihoods of decoders: p(x | params) with independent coordinates and `num_params` parameters per coordinate.

Parameters are outputs of a network, [..., num_params] for data of shape [...], and may be any real numbers. Everything
is computed in float32 or wider.

Concrete data outside of a likelihood's support raise ValueError. Traced data are not checked: values other than
0..levels-1 have log-probability -inf and gradient zero.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_range, freeze_fields
from jaxgen.contracts import Array, Key
from jaxgen.precision import at_least_float32


class Likelihood(Protocol):
    """Attributes:
    num_params: parameters per coordinate.
    accumulates: whether the mean of `log_prob` over a batch is a mean over examples (`jaxgen.contracts.Play`).
    levels: the data are integers 0..levels-1; None: real numbers (for Bernoulli in [0, 1]).
    """

    accumulates: bool

    @property
    def num_params(self) -> int: ...

    @property
    def levels(self) -> int | None: ...

    def log_prob(self, params: Array, x: Array) -> Array:
        """log p(x | params) in nats, summed over the event: params [B, ..., num_params], x [B, ...] to [B].

        Raises:
            ValueError: other shapes, or concrete data outside of the support.
        """

    def mean(self, params: Array) -> Array:
        """E[x | params]: [..., num_params] to [...]."""

    def sample(self, params: Array, key: Key) -> Array:
        """A sample: [..., num_params] to [...]."""


def as_params_and_data(likelihood: Likelihood, params: Array, x: Array) -> tuple[Array, Array]:
    """Parameters [..., num_params] and data [...] of a likelihood, at least float32.

    Raises:
        ValueError: other shapes, or concrete data that are not among the levels.
    """
    if params.shape != (*x.shape, likelihood.num_params):
        raise ValueError(
            f"`params` of {type(likelihood).__name__} must have shape {(*x.shape, likelihood.num_params)} for data of "
            f"shape {x.shape}, got {params.shape}"
        )
    if likelihood.levels is not None:
        check_range("x", x, 0, likelihood.levels - 1, whole=True)
    return at_least_float32(params), at_least_float32(x)


def sum_log_mass(log_mass: Callable[[Array], Array], x: Array, levels: int) -> Array:
    """The sum of log_mass(x) over the event, -inf if x is not in 0..levels-1, where log_mass is evaluated at 0."""
    inside = (x >= 0) & (x <= levels - 1) & (x == jnp.floor(x))
    return _sum_event(jnp.where(inside, log_mass(jnp.where(inside, x, 0)), -jnp.inf))


def _sum_event(a: Array) -> Array:
    return a.sum(tuple(range(1, a.ndim)))


def bounded_scale(raw: Array, floor: float) -> Array:
    """A scale above `floor` from any number, by softplus: exp overflows, and a clip has no gradient."""
    return floor + jax.nn.softplus(raw)


@dataclasses.dataclass(frozen=True)
class Bernoulli:
    """Binary data with logit l: log p(x) = x l - softplus(l).

    For grey values x in [0, 1] this is the cross-entropy, the expectation over binary pixels with mean x. Traced values
    are not checked; outside of [0, 1] the result is not a log-probability.
    """

    accumulates: ClassVar[bool] = True
    num_params: ClassVar[int] = 1
    levels: ClassVar[None] = None

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = as_params_and_data(self, params, x)
        check_range("x", x, 0, 1)
        # events as vectors: XLA's loops over [B, H, W, 1] are more than twice as slow on a CPU
        logits, x = params.reshape(params.shape[0], -1), x.reshape(x.shape[0], -1)
        return (x * logits - jax.nn.softplus(logits)).sum(-1)

    def mean(self, params: Array) -> Array:
        return jax.nn.sigmoid(at_least_float32(params)[..., 0])

    def sample(self, params: Array, key: Key) -> Array:
        probabilities = self.mean(params)
        return jax.random.bernoulli(key, probabilities).astype(probabilities.dtype)


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Real data; the parameters are the mean and, unless `std` is fixed, the standard deviation before a softplus.

    Attributes:
        std: a fixed standard deviation; None: learned per coordinate.
        floor: lower bound of learned standard deviations; without it the density is unbounded on repeated data.
    """

    std: float | None = None
    floor: float = 1e-3
    accumulates: ClassVar[bool] = True
    levels: ClassVar[None] = None

    def __post_init__(self):
        freeze_fields(self)

    @property
    def num_params(self) -> int:
        return 1 if self.std is not None else 2

    def _std(self, params: Array) -> Array:
        if self.std is not None:
            return jnp.asarray(self.std, params.dtype)
        return bounded_scale(params[..., 1], self.floor)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = as_params_and_data(self, params, x)
        std = self._std(params)
        z = (x - params[..., 0]) / std
        return _sum_event(-0.5 * (z**2 + jnp.log(2 * jnp.pi)) - jnp.log(std))

    def mean(self, params: Array) -> Array:
        return at_least_float32(params)[..., 0]

    def sample(self, params: Array, key: Key) -> Array:
        params = at_least_float32(params)
        return params[..., 0] + self._std(params) * jax.random.normal(key, params.shape[:-1], params.dtype)


@dataclasses.dataclass(frozen=True)
class OptimalGaussian:
    """Real data; the parameters are the means, the common variance is the maximum-likelihood one of the batch.

    sigma^2 = the mean of (x - mean)^2 over all examples and coordinates of a batch, so that log p is on average
    -(log 2 pi sigma^2 + 1) / 2 per coordinate, and the reconstruction is weighted against the divergence automatically
    (Rybkin et al. 2021, "Simple and Effective VAE Training with Calibrated Decoders", section 3.3). The gradient
    through sigma, averaged over the batch, is zero, since sigma is optimal.

    At evaluation sigma is that of the evaluated batch: metrics are optimistic, and an example's density depends on the
    others. For a proper density compute `std` on training data and use `Gaussian(std=...)`, which has the same
    parameters. `sample` returns the means, since the parameters do not contain sigma.

    Attributes:
        floor: lower bound of sigma, exp(-6) as in the authors' code; without it the density is infinite if the means
            equal the data.
    """

    floor: float = 2.5e-3
    num_params: ClassVar[int] = 1
    accumulates: ClassVar[bool] = False
    levels: ClassVar[None] = None

    def __post_init__(self):
        if self.floor <= 0:
            raise ValueError(f"`floor` of OptimalGaussian must be positive, got {self.floor}")

    def std(self, params: Array, x: Array) -> Array:
        """The maximum-likelihood standard deviation of these data, a scalar: params [B, ..., 1], x [B, ...]."""
        return jnp.sqrt(self._variance(*as_params_and_data(self, params, x)))

    def _variance(self, params: Array, x: Array) -> Array:
        return jnp.maximum(((x - params[..., 0]) ** 2).mean(), self.floor**2)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = as_params_and_data(self, params, x)
        variance = self._variance(params, x)
        return _sum_event(-0.5 * ((x - params[..., 0]) ** 2 / variance + jnp.log(2 * jnp.pi * variance)))

    def mean(self, params: Array) -> Array:
        return at_least_float32(params)[..., 0]

    def sample(self, params: Array, key: Key) -> Array:
        return self.mean(params)


@dataclasses.dataclass(frozen=True)
class Categorical:
    """Unordered integers 0..levels-1 with logits l: log p(x) = log softmax(l)_x.

    For palette colours, tokens or attributes, one variable per coordinate.
    """

    accumulates: ClassVar[bool] = True
    levels: int = 256

    def __post_init__(self):
        if self.levels < 2:
            raise ValueError(f"`levels` of Categorical must be at least 2, got {self.levels}")

    @property
    def num_params(self) -> int:
        return self.levels

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = as_params_and_data(self, params, x)
        log_p = jax.nn.log_softmax(params)

        def log_mass(x):
            return jnp.take_along_axis(log_p, x.astype(jnp.int32)[..., None], axis=-1)[..., 0]

        return sum_log_mass(log_mass, x, self.levels)

    def mean(self, params: Array) -> Array:
        """sum_k k P(k), meaningful if the integers are ordered."""
        params = at_least_float32(params)
        return jax.nn.softmax(params) @ jnp.arange(self.levels, dtype=params.dtype)

    def sample(self, params: Array, key: Key) -> Array:
        params = at_least_float32(params)
        return jax.random.categorical(key, params).astype(params.dtype)
