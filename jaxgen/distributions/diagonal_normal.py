"""The diagonal normal distribution, given by its mean and log-variance."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key
from jaxgen.numerics import bounded_exp, bounded_expm1


class DiagonalNormal(NamedTuple):
    """Normals with independent coordinates, `log p(z) = -1/2 sum((z - mean)^2 / variance + log(2 pi variance))`.

    The last axis is the event, the others are a batch of distributions. Arguments broadcast against them. Nats.
    Exponentials are bounded, so that values and gradients stay finite at extreme log-variances.

    Attributes:
        mean, log_variance: [..., L].
    """

    mean: Array
    log_variance: Array

    @classmethod
    def standard(cls, dim: int) -> DiagonalNormal:
        """N(0, I), [dim]."""
        return cls(jnp.zeros(dim), jnp.zeros(dim))

    def sample(self, key: Key) -> Array:
        """One sample per distribution, [..., L]."""
        return self.reparameterize(jax.random.normal(key, self.mean.shape, self.mean.dtype))[0]

    def reparameterize(self, noise: Array) -> tuple[Array, Array]:
        """z = mean + exp(log_variance / 2) noise, and log p(z), computed from the noise: [..., L] and [...]."""
        z = self.mean + bounded_exp(self.log_variance / 2) * noise
        return z, -0.5 * (noise**2 + self.log_variance + math.log(2 * math.pi)).sum(-1)

    def log_prob(self, z: Array) -> Array:
        """[..., L] to [...]."""
        return self.log_prob_per_dimension(z).sum(-1)

    def log_prob_per_dimension(self, z: Array) -> Array:
        """The terms of `log_prob`, [..., L]."""
        squared = (z - self.mean) ** 2 * bounded_exp(-self.log_variance)
        return -0.5 * (squared + self.log_variance + math.log(2 * math.pi))

    def normalize(self, z: Array) -> Array:
        """(z - mean) exp(-log_variance / 2): standard normal where z is a sample."""
        return (z - self.mean) * bounded_exp(-self.log_variance / 2)

    def kl(self, other: DiagonalNormal) -> Array:
        """KL(self || other), [...]."""
        return self.kl_per_dimension(other).sum(-1)

    def kl_per_dimension(self, other: DiagonalNormal) -> Array:
        """The terms of `kl`, 1/2 ((m - m')^2 / v' + v / v' - 1 - log(v / v')), [..., L]."""
        log_ratio = self.log_variance - other.log_variance
        squared = (self.mean - other.mean) ** 2 * bounded_exp(-other.log_variance)
        # expm1 keeps the digits and the sign for nearly equal normals
        return 0.5 * (squared + bounded_expm1(log_ratio) - log_ratio)
