"""Dequantization: integers as points of a continuous density, and back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_counts, check_range
from jaxgen.sharding import full_batch

# distance of the noise from the edges of its bin, so that float32 rounding cannot move it into the next one
_MARGIN = 2.0**-14


class Dequantization(Protocol):
    """Noise for a density of integers; `learned` ones have an `init(key, x)` and need its variables."""

    levels: int
    learned: ClassVar[bool]

    def dequantize(
        self, key: jax.Array, x: jax.Array, variables: Mapping[str, Any] | None = None
    ) -> tuple[jax.Array, jax.Array]: ...


@dataclasses.dataclass(frozen=True)
class UniformDequantization:
    """Integers 0 ... levels - 1 as points of [0, 1), y = (x + u) / levels with u ~ U[0, 1).

    A density p of the points bounds the probability P of the integers, `log P(x) >= E_u[log p((x + u) / levels)] -
    dims * log(levels)` (Theis et al. 2016, section 3.1).

    Attributes:
        levels: number of values per coordinate, 2 to 256.
    """

    levels: int = 256
    learned: ClassVar[bool] = False

    def __post_init__(self):
        require_levels(self)

    def dequantize(
        self, key: jax.Array, x: jax.Array, variables: Mapping[str, Any] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Integers x [B, *event] to (y = (x + u) / levels in [0, 1), log|det dy/dx| = -dims * log(levels) [B]).

        Raises:
            ValueError: values other than 0 ... levels - 1. Traced values are not checked and map outside of [0, 1).
        """
        check_range("x", x, 0, self.levels - 1, whole=True)
        dtype = jnp.promote_types(x.dtype, jnp.float32)
        noise = jnp.clip(jax.random.uniform(key, x.shape, dtype), _MARGIN, 1 - _MARGIN)
        log_det = full_batch(x, -math.prod(x.shape[1:]) * math.log(self.levels), dtype=dtype)
        return (x + noise) / self.levels, log_det


def require_levels(dequantization: Dequantization) -> None:
    """Raises unless `levels` is an integer from 2 to 256."""
    check_counts(2, levels=dequantization.levels)
    if dequantization.levels > 256:
        name = type(dequantization).__name__
        raise ValueError(f"`levels` of {name} must be between 2 and 256, got {dequantization.levels}")


def quantize(y: jax.Array, levels: int) -> jax.Array:
    """Points of [0, 1) to uint8 integers: floor(levels * y), clipped to 0 ... levels - 1."""
    return jnp.clip(jnp.floor(y * levels), 0, levels - 1).astype(jnp.uint8)
