"""Likelihoods of decoders: p(x | params) with independent coordinates, given `num_params` parameters for each of them.

Parameters come straight out of a network, [..., num_params] for data of shape [...]: any real number is allowed. Computations
are at least float32 whatever the network computed in.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key
from jaxgen.precision import at_least_float32


class Likelihood(Protocol):
    """Attributes:
    num_params: parameters per coordinate.
    accumulates: whether the mean of `log_prob` over a batch is a mean over examples (`jaxgen.contracts.Play`).
    levels: integer data 0..levels-1 are rated as they are; None: data are real (Bernoulli's in [0, 1]).
    """

    accumulates: bool

    @property
    def num_params(self) -> int: ...

    @property
    def levels(self) -> int | None: ...

    def log_prob(self, params: Array, x: Array) -> Array:
        """log p(x | params) in nats, summed over the event: params [B, ..., num_params], x [B, ...] to [B]."""

    def mean(self, params: Array) -> Array:
        """E[x | params]: [..., num_params] to [...]."""

    def sample(self, params: Array, key: Key) -> Array:
        """A draw: [..., num_params] to [...]."""


def _checked(likelihood: Likelihood, params: Array, x: Array) -> tuple[Array, Array]:
    if params.shape != (*x.shape, likelihood.num_params):
        raise ValueError(
            f"{type(likelihood).__name__} rates data of shape {x.shape} with parameters of shape "
            f"{(*x.shape, likelihood.num_params)}, not {params.shape}"
        )
    return at_least_float32(params), at_least_float32(x)


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

    accumulates: ClassVar[bool] = True
    num_params: ClassVar[int] = 1
    levels: ClassVar[None] = None

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        # rows as vectors: XLA's loops over [B, H, W, 1] are more than twice as slow on a CPU
        logits, x = params.reshape(len(params), -1), x.reshape(len(x), -1)
        return (x * logits - jax.nn.softplus(logits)).sum(-1)

    def mean(self, params: Array) -> Array:
        return jax.nn.sigmoid(at_least_float32(params)[..., 0])

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
    accumulates: ClassVar[bool] = True
    levels: ClassVar[None] = None

    @property
    def num_params(self) -> int:
        return 1 if self.std is not None else 2

    def _std(self, params: Array) -> Array:
        return jnp.asarray(self.std, params.dtype) if self.std is not None else _spread(params[..., 1], self.floor)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
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
    """Real data around the means that are the parameters, with one variance, the best one for the batch at hand.

    sigma^2 = the mean of (x - mean)^2 over all rows and coordinates of a batch, so that log p = -(log 2 pi sigma^2 + 1) / 2
    a coordinate on average, and the reconstruction finds its own weight against the divergence (Rybkin et al. 2021,
    "Simple and Effective VAE Training with Calibrated Decoders", section 3.3). With gradients through sigma: averaged
    over the batch they vanish, since it is optimal.

    At evaluation sigma is just so that of the evaluated rows: figures are those of the best sigma in hindsight, which is
    optimistic, and a row's depends on the others. For a density that is one, take `std` over training rows and put
    `Gaussian(std=...)` in this one's place: its parameters are the same. `sample` gives the means, since nothing in the
    parameters says how far data are from them.

    Attributes:
        floor: sigma is not less; without it the density of data met exactly is infinite. (exp(-6), as in the authors'
            code.)
    """

    floor: float = 2.5e-3
    num_params: ClassVar[int] = 1
    accumulates: ClassVar[bool] = False
    levels: ClassVar[None] = None

    def __post_init__(self):
        if self.floor <= 0:
            raise ValueError(f"OptimalGaussian needs a positive floor, not {self.floor}")

    def std(self, params: Array, x: Array) -> Array:
        """The best standard deviation for these data, a scalar: params [B, ..., 1], x [B, ...]."""
        return jnp.sqrt(self._variance(*_checked(self, params, x)))

    def _variance(self, params: Array, x: Array) -> Array:
        return jnp.maximum(((x - params[..., 0]) ** 2).mean(), self.floor**2)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        variance = self._variance(params, x)
        return _sum_event(-0.5 * ((x - params[..., 0]) ** 2 / variance + jnp.log(2 * jnp.pi * variance)))

    def mean(self, params: Array) -> Array:
        return at_least_float32(params)[..., 0]

    def sample(self, params: Array, key: Key) -> Array:
        return self.mean(params)


@dataclasses.dataclass(frozen=True)
class Categorical:
    """Integers 0..levels-1 without an order: the parameters are the logits of all of them, log p(x) = log softmax(l)_x.

    For colours of a palette, tokens, or attributes, one variable a coordinate.
    """

    accumulates: ClassVar[bool] = True
    levels: int = 256

    def __post_init__(self):
        if self.levels < 2:
            raise ValueError(f"Categorical needs at least two levels, not {self.levels}")

    @property
    def num_params(self) -> int:
        return self.levels

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        log_p = jax.nn.log_softmax(params)
        return _sum_event(jnp.take_along_axis(log_p, x.astype(jnp.int32)[..., None], axis=-1)[..., 0])

    def mean(self, params: Array) -> Array:
        """sum_k k P(k): of use where the integers have an order after all."""
        params = at_least_float32(params)
        return jax.nn.softmax(params) @ jnp.arange(self.levels, dtype=params.dtype)

    def sample(self, params: Array, key: Key) -> Array:
        params = at_least_float32(params)
        return jax.random.categorical(key, params).astype(params.dtype)


@dataclasses.dataclass(frozen=True)
class DiscretizedLogistic:
    """Integers 0..levels-1: the mass that a logistic density puts on each unit bin, the edge bins taking its tails.

    P(x) = F((x + 1/2 - m) / s) - F((x - 1/2 - m) / s), F the sigmoid (Kingma et al. 2016, "Improved Variational
    Inference with Inverse Autoregressive Flow"). The parameters are m and s before its softplus, in units in which the
    levels span [-1, 1], so that zeros mean a broad density on the middle.

    Attributes:
        floor: of the scale, in those units.
    """

    accumulates: ClassVar[bool] = True
    levels: int = 256
    floor: float = 1e-3
    num_params: ClassVar[int] = 2

    def __post_init__(self):
        if self.levels < 2:
            raise ValueError(f"DiscretizedLogistic needs at least two levels, not {self.levels}")

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        return _sum_event(_log_mass(x, *_location_and_scale(params, self.levels, self.floor), self.levels))

    def mean(self, params: Array) -> Array:
        """The mean of the discrete distribution, in levels."""
        return _mean_level(*_location_and_scale(at_least_float32(params), self.levels, self.floor), self.levels)

    def sample(self, params: Array, key: Key) -> Array:
        return _draw_level(*_location_and_scale(at_least_float32(params), self.levels, self.floor), self.levels, key)


@dataclasses.dataclass(frozen=True)
class DiscretizedLogisticMixture:
    """Integers 0..levels-1, each coordinate by a mixture of its own: P(x) = sum_i pi_i P_i(x), P_i as `DiscretizedLogistic`.

    The parameters of a coordinate are `components` logits of pi, as many locations, as many scales before their
    softplus. Coordinates are independent given them, an image's channels too. (Salimans et al. 2017, "PixelCNN++",
    equation 2, without its dependence between channels.)

    Attributes:
        floor: of the scales, in units in which the levels span [-1, 1].
    """

    accumulates: ClassVar[bool] = True
    levels: int = 256
    components: int = 5
    floor: float = 1e-3

    def __post_init__(self):
        if self.levels < 2 or self.components < 1:
            raise ValueError(
                f"DiscretizedLogisticMixture needs at least two levels and one component, not {self.levels} and "
                f"{self.components}"
            )

    @property
    def num_params(self) -> int:
        return 3 * self.components

    def _components(self, params: Array) -> tuple[Array, Array, Array]:
        """Logits, locations and scales, [..., components] each, the last two in levels."""
        logits, locations, scales = jnp.split(params, 3, axis=-1)
        return logits, *_location_and_scale(jnp.stack([locations, scales], -1), self.levels, self.floor)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = _checked(self, params, x)
        logits, location, scale = self._components(params)
        log_mass = _log_mass(x[..., None], location, scale, self.levels)
        return _sum_event(jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_mass, axis=-1))

    def mean(self, params: Array) -> Array:
        """The mean of the discrete distribution, in levels."""
        logits, location, scale = self._components(at_least_float32(params))
        return (jax.nn.softmax(logits) * _mean_level(location, scale, self.levels)).sum(-1)

    def sample(self, params: Array, key: Key) -> Array:
        which_key, key = jax.random.split(key)
        logits, location, scale = self._components(at_least_float32(params))
        which = jax.random.categorical(which_key, logits)[..., None]
        location, scale = (jnp.take_along_axis(a, which, axis=-1)[..., 0] for a in (location, scale))
        return _draw_level(location, scale, self.levels, key)


def _location_and_scale(params: Array, levels: int, floor: float) -> tuple[Array, Array]:
    """[..., 2], in units in which the levels span [-1, 1], to location and scale in levels."""
    half = (levels - 1) / 2
    return half * (1 + params[..., 0]), half * _spread(params[..., 1], floor)


def _log_mass(x: Array, location: Array, scale: Array, levels: int) -> Array:
    """log P(x) of a logistic density's mass on the unit bin of each integer x, the edge bins taking the tails."""
    below, above = (x - 0.5 - location) / scale, (x + 0.5 - location) / scale
    log_under, log_over = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
    # F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)) exactly, and no factor cancels far out in a tail
    log_inside = log_under + log_over + jnp.log(-jnp.expm1(-1 / scale))
    return jnp.where(x <= 0, log_under, jnp.where(x >= levels - 1, log_over, log_inside))


def _mean_level(location: Array, scale: Array, levels: int) -> Array:
    """The mean of the discretized logistic, sum over k >= 1 of P(x >= k)."""

    def add(k, total):
        return total + jax.nn.sigmoid((location - k + 0.5) / scale)

    return lax.fori_loop(1, levels, add, jnp.zeros_like(location))


def _draw_level(location: Array, scale: Array, levels: int, key: Key) -> Array:
    x = location + scale * jax.random.logistic(key, location.shape, location.dtype)
    return jnp.clip(jnp.round(x), 0, levels - 1)
