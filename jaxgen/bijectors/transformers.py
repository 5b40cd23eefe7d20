"""Elementwise monotone maps whose parameters a network computes: what a coupling fills its structure with.

A transformer is a hashable description with
- `n`: parameters of one coordinate,
- `start()`: the n values at which a fresh network holds them (the biases of the head, whose kernel starts at zero),
- `forward(x, parameters)` and `inverse(z, parameters)`: x [...] and parameters [..., n] to (value, log-derivative),
  both [...].
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol

import jax.numpy as jnp

from jaxgen.bijectors.bijector import Array


class Transformer(Protocol):
    """What a structure asks of its transformer."""

    n: int

    def start(self) -> tuple[float, ...]: ...

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]: ...

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]: ...


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


@dataclasses.dataclass(frozen=True)
class AffineTransformer:
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

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        log_scale = self._log_scale(parameters)
        return (x + parameters[..., 1]) * jnp.exp(log_scale), log_scale

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        log_scale = self._log_scale(parameters)
        return z * jnp.exp(-log_scale) - parameters[..., 1], -log_scale
