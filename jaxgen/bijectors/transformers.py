"""Transformers: elementwise monotone maps of couplings and autoregressive bijectors, with parameters from a network."""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp

from jaxgen.arguments import freeze_fields
from jaxgen.bijectors.bijector import Array


class Transformer(Protocol):
    """An elementwise monotone map; hashable.

    Attributes:
        num_params: number of parameters of one coordinate.
    """

    num_params: int

    def initial_params(self) -> tuple[float, ...]:
        """The `num_params` biases of a newly initialised head, whose kernel is zero."""
        ...

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        """x [...] and parameters [..., num_params] to (z, log|dz/dx|), both [...]."""
        ...

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        """z [...] and parameters [..., num_params] to (x, log|dx/dz|), both [...]."""
        ...


def split_parameters(parameters: Array, sizes: tuple[int, ...]) -> tuple[list[Array], int]:
    """Splits parameters [..., C, num_params] into groups [..., size, C], and returns them with the axis of the sizes.

    Heads compute parameters in this order, so that nothing is moved, and loops over C vectorise, unlike those over a
    few bins or components.
    """
    axis = max(parameters.ndim - 2, 0)
    return jnp.split(jnp.moveaxis(parameters, -1, axis), list(itertools.accumulate(sizes[:-1])), axis), axis


@dataclasses.dataclass(frozen=True)
class Additive:
    """`z = x + t` (NICE, Dinh et al. 2015), volume-preserving; initially the identity."""

    num_params: ClassVar[int] = 1

    def initial_params(self) -> tuple[float, ...]:
        return (0.0,)

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        return x + parameters[..., 0], jnp.zeros_like(x)

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        return z - parameters[..., 0], jnp.zeros_like(z)


class _ExponentialAffine:
    """`z = (x + t) exp(s)`; a subclass computes s from the parameters (a, t, ...)."""

    def __post_init__(self):
        freeze_fields(self)

    def _log_scale(self, parameters: Array) -> Array:
        raise NotImplementedError

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        log_scale = self._log_scale(parameters)
        return (x + parameters[..., 1]) * jnp.exp(log_scale), log_scale

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        log_scale = self._log_scale(parameters)
        return z * jnp.exp(-log_scale) - parameters[..., 1], -log_scale


@dataclasses.dataclass(frozen=True)
class TanhAffine(_ExponentialAffine):
    """`z = (x + t) exp(s)` with `s = bound * tanh(a / bound)` (RealNVP, Dinh et al. 2017); initially the identity.

    Attributes:
        bound: of |s|.
    """

    bound: float = 2.0
    num_params: ClassVar[int] = 2

    def _log_scale(self, parameters: Array) -> Array:
        return self.bound * jnp.tanh(parameters[..., 0] / self.bound)

    def initial_params(self) -> tuple[float, ...]:
        return (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class SigmoidAffine:
    """`z = (x + t) scale` with `scale = floor + (1 - floor) sigmoid(a)` (Kingma and Dhariwal 2018, their code).

    The scale is below 1. Initially every coordinate is scaled by about sigmoid(shift), and t is 0.

    Attributes:
        shift: initial value of a.
        floor: lower bound of the scale, which bounds the inverse.

    Raises:
        ValueError: `floor` outside (0, 1).
    """

    shift: float = 2.0
    floor: float = 1e-3
    num_params: ClassVar[int] = 2

    def __post_init__(self):
        freeze_fields(self)
        if not 0 < self.floor < 1:
            raise ValueError(f"`floor` must be in (0, 1), got {self.floor}")

    def _scale(self, parameters: Array) -> Array:
        return self.floor + (1 - self.floor) * jax.nn.sigmoid(parameters[..., 0])

    def initial_params(self) -> tuple[float, ...]:
        return (self.shift, 0.0)

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        scale = self._scale(parameters)
        return (x + parameters[..., 1]) * scale, jnp.log(scale)

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        scale = self._scale(parameters)
        return z / scale - parameters[..., 1], -jnp.log(scale)


@dataclasses.dataclass(frozen=True)
class LearnedTanhAffine(_ExponentialAffine):
    """`z = (x + t) exp(s)` with `s = exp(g) tanh(a / exp(g))`, so that |s| < exp(g); initially the identity, g = 0.

    The parameters are (a, t, g). With `SharedHead` g is one free parameter per channel, as the learned scale of the
    tanh in RealNVP (Dinh et al. 2017, section 4.1); with any other head the network computes it too.

    Attributes:
        limit: g is clipped to [-limit, limit], and scales are between exp(-exp(limit)) and exp(exp(limit)).
    """

    limit: float = 2.0
    num_params: ClassVar[int] = 3

    def _log_scale(self, parameters: Array) -> Array:
        bound = jnp.exp(jnp.clip(parameters[..., 2], -self.limit, self.limit))
        return bound * jnp.tanh(parameters[..., 0] / bound)

    def initial_params(self) -> tuple[float, ...]:
        return (0.0, 0.0, 0.0)
