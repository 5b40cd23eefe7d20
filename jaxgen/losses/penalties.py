"""Penalties on a critic's slope."""

from __future__ import annotations

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key

Critic = Callable[[Array], Array]
"""[B, ...] to [B], each output a function of its own row alone."""


def interpolate(real: Array, fake: Array, key: Key) -> Array:
    """Points e x + (1 - e) x' on the lines between paired rows, one e uniform on [0, 1) a row: [B, ...]."""
    chex.assert_equal_shape([real, fake])
    e = jax.random.uniform(key, (real.shape[0],) + (1,) * (real.ndim - 1), real.dtype)
    return e * real + (1 - e) * fake


def gradient_norm(critic: Critic, x: Array) -> Array:
    """The Euclidean norm, over all dimensions of a row, of the critic's gradient at each row: [B, ...] to [B].

    Where the gradient is zero the norm is zero, and so is its derivative.
    """

    def total(x):
        # rows do not meet in the critic, so the gradient of the sum is the gradient of each
        outputs = critic(x)
        chex.assert_shape(outputs, (x.shape[0],))
        return outputs.sum()

    gradient = jax.grad(total)(x)
    squared = (gradient.astype(jnp.promote_types(gradient.dtype, jnp.float32)) ** 2).sum(tuple(range(1, x.ndim)))
    flat = squared == 0
    return jnp.where(flat, 0.0, jnp.sqrt(jnp.where(flat, 1.0, squared)))


def norm_penalty(norms: Array, target: float = 1.0, weight: float = 10.0) -> Array:
    """weight E (norm - target)^2, a scalar, from the norms [B]."""
    chex.assert_rank(norms, 1)
    return weight * ((norms - target) ** 2).mean()


def gradient_penalty(
    critic: Critic, real: Array, fake: Array, key: Key, target: float = 1.0, weight: float = 10.0
) -> Array:
    """weight E (|grad f(x^)| - target)^2 at points x^ between real and generated rows, a scalar.

    Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", equation 3.

    Args:
        critic: [B, ...] to [B]; without batch normalisation, which would make an output depend on other rows.
        real, fake: [B, ...]; no gradient should flow into the fakes here, they are the generator's.
    """
    return norm_penalty(gradient_norm(critic, interpolate(real, fake, key)), target, weight)
