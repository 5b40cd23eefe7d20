"""Linear maps of the last axis: a dense layer on vectors, the invertible 1x1 convolution on images."""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.scipy.linalg import solve_triangular

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.precision import at_least_float32

_BLOCK = 24
"""The largest triangular system that BLAS solves on one thread; for larger ones threads cost more than the solution."""


def inverse_of_lower(matrix: Array) -> Array:
    """The inverse of a lower triangular matrix [n, n], by recursive halving down to blocks of size `_BLOCK`."""
    size = matrix.shape[0]
    if size <= _BLOCK:
        return solve_triangular(matrix, jnp.eye(size, dtype=matrix.dtype), lower=True)
    half = size // 2
    first, last = inverse_of_lower(matrix[:half, :half]), inverse_of_lower(matrix[half:, half:])
    below = -jnp.matmul(jnp.matmul(last, matrix[half:, :half], precision="highest"), first, precision="highest")
    return jnp.block([[first, jnp.zeros((half, size - half), matrix.dtype)], [below, last]])


class InvertibleLinear(Bijector):
    """`z = x W` along the last axis, the same at every position (Kingma and Dhariwal 2018, section 3.2).

    On [B, H, W, C] it is Glow's invertible 1x1 convolution, `log_det = H W log|det W|`. W starts as a random rotation,
    a different one in each repetition of a `Repeat`, with log-determinant 0.

    Attributes:
        kind: "plu" parametrises W as `P L (U + diag(s))`, P a permutation and the signs of s fixed at `init`, L unit
            lower and U strictly upper triangular, log|s| learned: its log-determinant is a sum and its inverse two
            triangular solves. "matrix" parametrises W itself, at O(C^3) for the log-determinant.
        min_scale: lower bound of |s|, so that W stays invertible ("plu" only).

    Raises:
        ValueError: another `kind`, or a `min_scale` outside (0, 1).
    """

    kind: Literal["plu", "matrix"] = "plu"
    min_scale: float = 1e-3

    @property
    def _depth(self) -> float:
        """-log(min_scale)."""
        return -math.log(self.min_scale)

    @property
    def _offset(self) -> float:
        """The argument at which softplus is -log(min_scale)."""
        return math.log(math.expm1(self._depth))

    def _rotation(self, key: Array, size: int) -> dict[str, Array]:
        """The PLU factors of a random rotation."""
        lu, _, permutation = jax.lax.linalg.lu(nn.initializers.orthogonal()(key, (size, size)))
        diagonal = jnp.diagonal(lu)
        above = jnp.maximum(jnp.log(jnp.abs(diagonal)) + self._depth, 1e-3)
        return {
            # below the diagonal L, above it U
            "lu": lu * (1 - jnp.eye(size)),
            "raw_log_scale": above + jnp.log(-jnp.expm1(-above)) - self._offset,
            "sign": jnp.sign(diagonal),
            "permutation": jnp.argsort(permutation),
        }

    def _factors(self, size: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
        """The permutation of W's rows, L, U with its diagonal, and log|s|."""
        # all four factors come from the same key
        key = self.make_rng("params") if self.is_initializing() else jax.random.key(0)
        lu, raw = (
            self.param(name, lambda _, name=name: self._rotation(key, size)[name]) for name in ("lu", "raw_log_scale")
        )
        permutation, sign = (
            self.variable("constants", name, lambda name=name: self._rotation(key, size)[name]).value
            for name in ("permutation", "sign")
        )
        lu, sign = lu.astype(dtype), jnp.where(sign < 0, -1, 1).astype(dtype)
        # softplus approaches the lower bound without vanishing gradients; a raw value of 0 is a scale of 1
        log_scale = jax.nn.softplus(raw.astype(dtype) + self._offset) - self._depth
        upper = jnp.triu(lu, 1) + jnp.diag(sign * jnp.exp(log_scale))
        return permutation, jnp.tril(lu, -1) + jnp.eye(size, dtype=dtype), upper, log_scale

    @nn.compact
    def _both(self, x: Array, inverse: bool) -> ValueAndLogDet:
        x = at_least_float32(x)
        size = x.shape[-1]
        if not 0 < self.min_scale < 1:
            raise ValueError(f"`min_scale` must be in (0, 1), got {self.min_scale}")
        if self.kind == "plu":
            permutation, lower, upper, log_scale = self._factors(size, x.dtype)
            log_abs_det = log_scale.sum()
            if inverse:
                # W^-1 = U^-1 L^-1 P^T: the columns of (L U)^-1 in P's order
                inverses = inverse_of_lower(upper.T).T, inverse_of_lower(lower)
                matrix = jnp.matmul(*inverses, precision="highest")[:, permutation]
            else:
                matrix = jnp.matmul(lower, upper, precision="highest")[permutation]
        elif self.kind == "matrix":
            matrix = self.param("matrix", nn.initializers.orthogonal(), (size, size)).astype(x.dtype)
            log_abs_det = jnp.linalg.slogdet(matrix)[1]
            matrix = jnp.linalg.inv(matrix) if inverse else matrix
        else:
            raise ValueError(f"`kind` must be 'plu' or 'matrix', got {self.kind!r}")
        log_det = zero_log_det(x) + math.prod(x.shape[1:-1]) * log_abs_det
        # full precision for coordinates, where accelerators would round products
        return jnp.matmul(x, matrix, precision="highest"), -log_det if inverse else log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, inverse=True)
