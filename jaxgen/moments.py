"""Means and variances to normalise by: what data-dependent initialisation and batch normalisation take from a batch."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def channel_moments(x: Array, enough: int = 16) -> tuple[Array, Array]:
    """Mean and variance of each channel of x [B, ..., C] to normalise by, [C] each; the variances are positive.

    A channel that is constant up to rounding gets the variance V of the batch, the mean of its channels' variances; if
    all channels are constant, V is the variance of all values, or 1 if those are equal. With n < `enough` values in a
    channel its own variance v says little: it gets w v + (1 - w) V, w = (n - 1) / (enough - 1).

    Gradients go through the mean and v, not through V.
    """
    axes = tuple(range(x.ndim - 1))
    # centred twice, since the mean of equal numbers may differ from them
    rough = jax.lax.stop_gradient(x.mean(axes))
    offset = x - rough
    mean, own = rough + offset.mean(axes), offset.var(axes)
    constant = own <= (4 * jnp.finfo(x.dtype).eps * rough) ** 2
    among, between = jax.lax.stop_gradient((jnp.where(constant, 0, own).mean(), mean.var()))
    pooled = jnp.where(among > 0, among, jnp.where(between > 0, between, 1))
    # counted in the array: its shape may be symbolic
    weight = 1 if enough == 1 else jnp.minimum((jnp.ones_like(x[..., 0]).sum() - 1) / (enough - 1), 1)
    return mean, jnp.where(constant, pooled, weight * own + (1 - weight) * pooled)
