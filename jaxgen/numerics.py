"""Functions that stay finite: exponentials with bounded gradients, Lambert's W, and moments to normalise by."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

Array = jax.Array


def bounded_exp(x: Array) -> Array:
    """exp(x) for x <= b, above it the tangent exp(b) (1 + x - b), elementwise.

    b is three quarters of the logarithm of the greatest float, 66.5 in float32, so that products with other factors and
    gradients stay finite. A variance below exp(-b) is far below the rounding of a mean.
    """
    bound = _bound(x)
    return jnp.exp(jnp.minimum(x, bound)) * (1 + jnp.maximum(x - bound, 0))


def bounded_expm1(x: Array) -> Array:
    """`bounded_exp(x) - 1` with full precision near zero."""
    bound = _bound(x)
    return jnp.expm1(jnp.minimum(x, bound)) + math.exp(bound) * jnp.maximum(x - bound, 0)


def _bound(x: Array) -> float:
    return math.log(float(jnp.finfo(jnp.result_type(x, float)).max)) * 0.75


@jax.custom_jvp
def log_lambert_w_of_exp(y: Array) -> Array:
    """log W(exp(y)) for Lambert's W: the s with s + exp(s) = y, elementwise, without overflow for any real y."""
    # Newton's method on a convex, increasing function, from the larger side's asymptote: exact after five steps
    s = jnp.where(y > 1, jnp.log(jnp.maximum(y, 1)), y)
    for _ in range(5):
        e = jnp.exp(s)
        s = s - (s + e - y) / (1 + e)
    return s


@log_lambert_w_of_exp.defjvp
def _log_lambert_w_of_exp_jvp(primals, tangents):
    (y,), (tangent,) = primals, tangents
    s = log_lambert_w_of_exp(y)
    return s, jax.nn.sigmoid(-s) * tangent


def channel_moments(x: Array, enough: int = 16) -> tuple[Array, Array]:
    """Mean and variance of each channel of x [B, ..., C] to normalise by, [C] each; the variances are positive.

    A channel that is constant up to rounding gets the variance V of the batch, the mean of its channels' variances; if
    all channels are constant, V is the variance of all values, or 1 if those are equal. A channel with n < `enough`
    values, whose own variance v is unreliable, gets w v + (1 - w) V, w = (n - 1) / (enough - 1).

    Gradients flow through the mean and v, not through V.
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
