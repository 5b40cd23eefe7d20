"""Likelihoods of ordered integers: discretized logistic distributions, and mixtures of them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key
from jaxgen.distributions.likelihoods import _checked, _spread, _sum_levels
from jaxgen.precision import at_least_float32


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
        location, scale = _location_and_scale(params, self.levels, self.floor)
        return _sum_levels(lambda x: _log_mass(x, location, scale, self.levels), x, self.levels)

    def mean(self, params: Array) -> Array:
        """The mean of the discrete distribution, in levels."""
        return _mean_level(*_location_and_scale(at_least_float32(params), self.levels, self.floor), self.levels)

    def sample(self, params: Array, key: Key) -> Array:
        return _draw_level(*_location_and_scale(at_least_float32(params), self.levels, self.floor), self.levels, key)


@dataclasses.dataclass(frozen=True)
class DiscretizedLogisticMixture:
    """Integers 0..levels-1, a mixture per coordinate: P(x) = sum_i pi_i P_i(x), P_i a `DiscretizedLogistic`.

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
        log_weights = jax.nn.log_softmax(logits)

        def log_mass(x: Array) -> Array:
            return jax.nn.logsumexp(log_weights + _log_mass(x[..., None], location, scale, self.levels), axis=-1)

        return _sum_levels(log_mass, x, self.levels)

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
