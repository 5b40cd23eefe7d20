"""Gaussian processes: normal distributions of a function's values at any points."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_number


@dataclasses.dataclass(frozen=True)
class GaussianProcess:
    """f(X) ~ N(0, K), K_ij = scale^2 exp(-|x_i - x_j|^2 / (2 length_scale^2)), the squared exponential kernel.

    Rasmussen & Williams 2006, "Gaussian Processes for Machine Learning", equation 2.31.
    """

    scale: float = 1.0
    length_scale: float = 1.0

    def __post_init__(self):
        check_number("scale", self.scale, 0, above=True)
        check_number("length_scale", self.length_scale, 0, above=True)

    def covariance(self, x: jax.Array, y: jax.Array) -> jax.Array:
        """K of points [M, D] and [N, D], [M, N]."""
        x, y = as_arrays("M D", "N D", x=x, y=y)
        squared = ((x[:, None] - y[None]) ** 2).sum(-1)
        return self.scale**2 * jnp.exp(-squared / (2 * self.length_scale**2))

    def log_prob(self, f: jax.Array, x: jax.Array, noise: float) -> jax.Array:
        """log N(f; 0, K + noise^2 I) of values [B, M] at points [M, D], [B], in nats.

        Args:
            noise: standard deviation of independent noise of each value; with less than 1e-3 of the scale, K of many
                points is singular in float32.
        """
        f, x = as_arrays("B M", "M D", f=f, x=x)
        check_number("noise", noise, 0, above=True)
        factor = jnp.linalg.cholesky(self.covariance(x, x) + noise**2 * jnp.eye(len(x), dtype=x.dtype))
        white = jax.scipy.linalg.solve_triangular(factor, f.T, lower=True)
        log_det = 2 * jnp.log(jnp.diagonal(factor)).sum()
        return -0.5 * ((white**2).sum(0) + log_det + len(x) * math.log(2 * math.pi))
