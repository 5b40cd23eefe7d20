"""Elementwise monotone maps whose parameters a network computes: what a coupling fills its structure with.

A transformer is a hashable description with
- `n`: parameters of one coordinate,
- `start()`: the n values at which a fresh network holds them (the biases of the head, whose kernel starts at zero),
- `forward(x, parameters)` and `inverse(z, parameters)`: x [...] and parameters [..., n] to (value, log-derivative),
  both [...].
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp

from jaxgen.arguments import freeze_fields
from jaxgen.bijectors.bijector import Array


class Transformer(Protocol):
    """What a structure asks of its transformer."""

    n: int

    def start(self) -> tuple[float, ...]: ...

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]: ...

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]: ...


def split_parameters(parameters: Array, sizes: tuple[int, ...]) -> tuple[list[Array], int]:
    """Groups of the given sizes of parameters [..., C, n], and the axis on which each group [..., size, C] lies.

    Heads put parameters out in this order, so nothing is moved, and loops over C vectorise where those over a few
    bins or components do not.
    """
    axis = max(parameters.ndim - 2, 0)
    return jnp.split(jnp.moveaxis(parameters, -1, axis), list(itertools.accumulate(sizes[:-1])), axis), axis


@dataclasses.dataclass(frozen=True)
class AdditiveTransformer:
    """`z = x + t` (NICE, Dinh et al. 2015): preserves volume; a fresh one is the identity."""

    n: ClassVar[int] = 1

    def start(self) -> tuple[float, ...]:
        return (0.0,)

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        return x + parameters[..., 0], jnp.zeros_like(x)

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        return z - parameters[..., 0], jnp.zeros_like(z)


class _ExponentialAffine:
    """`z = (x + t) exp(s)`: a subclass says how the parameters (a, t, ...) make s."""

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
class AffineTransformer(_ExponentialAffine):
    """`z = (x + t) exp(s)` with `s = bound * tanh(a / bound)` (RealNVP, Dinh et al. 2017); fresh, the identity.

    Attributes:
        bound: the largest log-scale of one coordinate, upwards and downwards.
    """

    bound: float = 2.0
    n: ClassVar[int] = 2

    def _log_scale(self, parameters: Array) -> Array:
        return self.bound * jnp.tanh(parameters[..., 0] / self.bound)

    def start(self) -> tuple[float, ...]:
        return (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class SigmoidAffineTransformer:
    """`z = (x + t) scale` with `scale = floor + (1 - floor) sigmoid(a)` (Kingma and Dhariwal 2018, their code).

    The scale stays below 1. Fresh, `a` is `shift` and `t` is 0: every coordinate is scaled by about sigmoid(shift).

    Attributes:
        shift: where `a` starts.
        floor: the smallest scale, which keeps the inverse bounded.

    Raises:
        ValueError: the floor is not between 0 and 1.
    """

    shift: float = 2.0
    floor: float = 1e-3
    n: ClassVar[int] = 2

    def __post_init__(self):
        freeze_fields(self)
        if not 0 < self.floor < 1:
            raise ValueError(f"SigmoidAffineTransformer needs a floor between 0 and 1, got {self.floor}.")

    def _scale(self, parameters: Array) -> Array:
        return self.floor + (1 - self.floor) * jax.nn.sigmoid(parameters[..., 0])

    def start(self) -> tuple[float, ...]:
        return (self.shift, 0.0)

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        scale = self._scale(parameters)
        return (x + parameters[..., 1]) * scale, jnp.log(scale)

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        scale = self._scale(parameters)
        return z / scale - parameters[..., 1], -jnp.log(scale)


@dataclasses.dataclass(frozen=True)
class LearnedBoundAffineTransformer(_ExponentialAffine):
    """`z = (x + t) exp(s)` with `s = exp(g) tanh(a / exp(g))`; fresh, the identity with g = 0, a bound of 1.

    The parameters are (a, t, g). With `SharedHead` g is one free parameter for each channel, as the learned scale of
    the tanh in RealNVP (Dinh et al. 2017, section 4.1); with any other head the network computes it too.

    Attributes:
        limit: g counts as clipped to [-limit, limit], so that no scale leaves exp(-exp(limit)) to exp(exp(limit)).
    """

    limit: float = 2.0
    n: ClassVar[int] = 3

    def _log_scale(self, parameters: Array) -> Array:
        bound = jnp.exp(jnp.clip(parameters[..., 2], -self.limit, self.limit))
        return bound * jnp.tanh(parameters[..., 0] / bound)

    def start(self) -> tuple[float, ...]:
        return (0.0, 0.0, 0.0)
