"""Likelihoods of ordered integers: discretized logistic distributions and their mixtures."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key
from jaxgen.distributions.likelihoods import as_params_and_data, bounded_scale, sum_log_mass
from jaxgen.precision import at_least_float32


@dataclasses.dataclass(frozen=True)
class DiscretizedLogistic:
    """Integers 0..levels-1: the mass of a logistic density in each unit bin; the edge bins include the tails.

    P(x) = F((x + 1/2 - m) / s) - F((x - 1/2 - m) / s) with the sigmoid F (Kingma et al. 2016, "Improved Variational
    Inference with Inverse Autoregressive Flow"). The parameters are m, and s before a softplus, in units in which the
    levels span [-1, 1]; zeros are a broad density around the middle.

    Attributes:
        floor: lower bound of the scale, in those units.
    """

    accumulates: ClassVar[bool] = True
    levels: int = 256
    floor: float = 1e-3
    num_params: ClassVar[int] = 2

    def __post_init__(self):
        if self.levels < 2:
            raise ValueError(f"`levels` of DiscretizedLogistic must be at least 2, got {self.levels}")

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = as_params_and_data(self, params, x)
        location, scale = _location_and_scale(params, self.levels, self.floor)
        return sum_log_mass(lambda x: _log_mass(x, location, scale, self.levels), x, self.levels)

    def mean(self, params: Array) -> Array:
        """The mean of the discrete distribution, in levels."""
        return _mean_level(*_location_and_scale(at_least_float32(params), self.levels, self.floor), self.levels)

    def sample(self, params: Array, key: Key) -> Array:
        return _sample_level(*_location_and_scale(at_least_float32(params), self.levels, self.floor), self.levels, key)


@dataclasses.dataclass(frozen=True)
class DiscretizedLogisticMixture:
    """Integers 0..levels-1: P(x) = sum_i pi_i P_i(x) per coordinate, P_i a `DiscretizedLogistic`.

    The parameters of a coordinate are `components` logits of pi, locations, and scales before a softplus. Coordinates
    are independent given the parameters, an image's channels too (Salimans et al. 2017, "PixelCNN++", equation 2,
    without its dependence between channels).

    Attributes:
        floor: lower bound of the scales, in units in which the levels span [-1, 1].
    """

    accumulates: ClassVar[bool] = True
    levels: int = 256
    components: int = 5
    floor: float = 1e-3

    def __post_init__(self):
        if self.levels < 2 or self.components < 1:
            raise ValueError(
                "`levels` and `components` of DiscretizedLogisticMixture must be at least 2 and 1, got "
                f"{self.levels} and {self.components}"
            )

    @property
    def num_params(self) -> int:
        return 3 * self.components

    def _components(self, params: Array) -> tuple[Array, Array, Array]:
        """Logits, locations and scales, [..., components] each, the last two in levels."""
        logits, locations, scales = jnp.split(params, 3, axis=-1)
        return logits, *_location_and_scale(jnp.stack([locations, scales], -1), self.levels, self.floor)

    def log_prob(self, params: Array, x: Array) -> Array:
        params, x = as_params_and_data(self, params, x)
        logits, location, scale = self._components(params)
        log_weights = jax.nn.log_softmax(logits)

        def log_mass(x: Array) -> Array:
            return jax.nn.logsumexp(log_weights + _log_mass(x[..., None], location, scale, self.levels), axis=-1)

        return sum_log_mass(log_mass, x, self.levels)

    def mean(self, params: Array) -> Array:
        """The mean of the discrete distribution, in levels."""
        logits, location, scale = self._components(at_least_float32(params))
        return (jax.nn.softmax(logits) * _mean_level(location, scale, self.levels)).sum(-1)

    def sample(self, params: Array, key: Key) -> Array:
        component_key, key = jax.random.split(key)
        logits, location, scale = self._components(at_least_float32(params))
        component = jax.random.categorical(component_key, logits)[..., None]
        location, scale = (jnp.take_along_axis(a, component, axis=-1)[..., 0] for a in (location, scale))
        return _sample_level(location, scale, self.levels, key)


def _location_and_scale(params: Array, levels: int, floor: float) -> tuple[Array, Array]:
    """Parameters [..., 2], in units in which the levels span [-1, 1], to location and scale in levels, [...] each."""
    half = (levels - 1) / 2
    return half * (1 + params[..., 0]), half * bounded_scale(params[..., 1], floor)


def _log_mass(x: Array, location: Array, scale: Array, levels: int) -> Array:
    """log P(x): the log-mass of a logistic density in the unit bin of x; the edge bins include the tails."""
    below, above = (x - 0.5 - location) / scale, (x + 0.5 - location) / scale
    log_cdf, log_survival = jax.nn.log_sigmoid(above), jax.nn.log_sigmoid(-below)
    # F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)), without cancellation in the tails
    log_inside = log_cdf + log_survival + jnp.log(-jnp.expm1(-1 / scale))
    return jnp.where(x <= 0, log_cdf, jnp.where(x >= levels - 1, log_survival, log_inside))


def _mean_level(location: Array, scale: Array, levels: int) -> Array:
    """The mean of the discretized logistic, sum over k >= 1 of P(x >= k)."""

    def add(k, total):
        return total + jax.nn.sigmoid((location - k + 0.5) / scale)

    return lax.fori_loop(1, levels, add, jnp.zeros_like(location))


def _sample_level(location: Array, scale: Array, levels: int, key: Key) -> Array:
    x = location + scale * jax.random.logistic(key, location.shape, location.dtype)
    return jnp.clip(jnp.round(x), 0, levels - 1)
