"""Monotone rational-quadratic splines (Durkan et al. 2019, "Neural Spline Flows", arXiv:1906.04032)."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import freeze_fields
from jaxgen.bijectors.bijector import Array
from jaxgen.bijectors.transformers import split_parameters


def rational_quadratic_spline(
    x: Array, widths: Array, heights: Array, slopes: Array, bound: float, inverse: bool = False
) -> tuple[Array, Array]:
    """A monotone map of [-bound, bound] to itself, a quotient of quadratics in each bin; the identity outside.

    With t = (x - x_k) / w_k in bin k, s = h_k / w_k and slopes d_k, d_{k+1} at its knots,

        z = y_k + h_k (s t^2 + d_k t (1 - t)) / (s + (d_k + d_{k+1} - 2 s) t (1 - t)).

    Args:
        x: [...].
        widths, heights: [..., bins], positive, both summing to 2 * bound.
        slopes: [..., bins - 1], positive, at the inner knots; at the outer ones it is 1.
        inverse: maps z to x.

    Returns:
        The value and the logarithm of the derivative of the chosen direction, [...].

    Source: Durkan et al. 2019, section 3.1 and appendix A.
    """
    bins = widths.shape[-1]
    (widths, heights, slopes), axis = split_parameters(
        jnp.concatenate([widths, heights, slopes], -1), (bins, bins, bins - 1)
    )
    inside, inner = _inside(x, bound)
    before, here = _masks(inner, heights if inverse else widths, bound, axis)
    value, log_derivative = _in_bin(
        inner,
        (widths * before).sum(axis) - bound,
        (widths * here).sum(axis),
        (heights * before).sum(axis) - bound,
        (heights * here).sum(axis),
        lax.index_in_dim(here, 0, axis, False) + (slopes * lax.slice_in_dim(here, 1, bins, axis=axis)).sum(axis),
        lax.index_in_dim(here, -1, axis, False) + (slopes * lax.slice_in_dim(here, 0, -1, axis=axis)).sum(axis),
        inverse,
    )
    return jnp.where(inside, value, x), jnp.where(inside, log_derivative, 0)


def _inside(x: Array, bound: float) -> tuple[Array, Array]:
    """Where x is in range, and x with 0 outside it, so that gradients of the branch not taken are finite."""
    inside = jnp.abs(x) < bound
    return inside, jnp.where(inside, x, 0)


def _masks(x: Array, sizes: Array, bound: float, axis: int) -> tuple[Array, Array]:
    """1 for the bins that end at or before x, and 1 for the bin that contains x; both shaped as `sizes`."""
    bins = sizes.shape[axis]
    knots = [jnp.full_like(lax.slice_in_dim(sizes, 0, 1, axis=axis), -jnp.inf)]
    edge = -bound
    for k in range(bins - 1):  # jnp.cumsum takes several passes
        edge = edge + lax.slice_in_dim(sizes, k, k + 1, axis=axis)
        knots.append(edge)
    knots.append(jnp.full_like(knots[0], jnp.inf))
    passed = (jnp.expand_dims(x, axis) >= jnp.concatenate(knots, axis)).astype(x.dtype)
    before = lax.slice_in_dim(passed, 1, bins + 1, axis=axis)
    return before, lax.slice_in_dim(passed, 0, bins, axis=axis) - before


# in the backward pass of a loop, recomputing is faster than storing and loading
@functools.partial(jax.checkpoint, static_argnums=(7,))
def _in_bin(
    x: Array, left: Array, width: Array, bottom: Array, height: Array, slope: Array, next_slope: Array, inverse: bool
) -> tuple[Array, Array]:
    """The quotient in the bin that starts at (left, bottom), or its inverse; the logarithm of its derivative."""
    s = height / width
    bend = slope + next_slope - 2 * s
    if inverse:
        r = (x - bottom) / height
        a, b, c = s - slope + r * bend, slope - r * bend, -s * r
        # the root without cancellation; the discriminant is positive up to rounding
        t = 2 * c / (-b - jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, jnp.finfo(x.dtype).tiny)))
    else:
        t = (x - left) / width
    # clips rounding errors; the gradient ignores the clipping, at whose ends the knots lie
    t = t + lax.stop_gradient(jnp.clip(t, 0, 1) - t)
    rest = t * (1 - t)
    denominator = s + bend * rest
    quotient = s / denominator
    log_derivative = jnp.log(quotient**2 * (next_slope * t**2 + 2 * s * rest + slope * (1 - t) ** 2))
    if inverse:
        return left + width * t, -log_derivative
    return bottom + height * (s * t**2 + slope * rest) / denominator, log_derivative


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _fractions(logits: Array, masks: tuple[Array, ...], axis: int) -> tuple[Array, ...]:
    """The fraction of softmax(logits) in each mask; masks have no gradient.

    The explicit derivative ends in a division, after which XLA keeps the bins' common terms; otherwise it would
    recompute them for each bin.
    """
    weights, total = _weights(logits, axis)
    return tuple((weights * mask).sum(axis) / total for mask in masks)


@_fractions.defjvp
def _fractions_jvp(axis, primals, tangents):
    logits, masks = primals
    weights, total = _weights(logits, axis)
    fractions = _fractions(logits, masks, axis)
    return fractions, tuple(
        (weights * (mask - jnp.expand_dims(fraction, axis)) * tangents[0]).sum(axis) / total
        for mask, fraction in zip(masks, fractions, strict=True)
    )


def _weights(logits: Array, axis: int) -> tuple[Array, Array]:
    """The numerators of softmax(logits) and their sum."""
    weights = jnp.exp(logits - lax.stop_gradient(logits.max(axis, keepdims=True)))
    return weights, weights.sum(axis)


@dataclasses.dataclass(frozen=True)
class RationalQuadraticSpline:
    """`rational_quadratic_spline` with widths and heights from softmax, slopes from softplus; initially the identity.

    The parameters are the logits of `bins` widths and of `bins` heights, then `bins - 1` raw slopes at the inner knots.

    Attributes:
        bins: number of bins.
        bound: the spline acts on [-bound, bound].
        min_width: lower bound of a bin's width and height, as a fraction of the range.
        min_slope: lower bound of the slope at a knot.

    Raises:
        ValueError: `bins` below 1, `bound` not positive, `min_width` outside (0, 1 / bins), or `min_slope` outside
            (0, 1).
    """

    bins: int = 8
    bound: float = 3.0
    min_width: float = dataclasses.field(default=1e-3, kw_only=True)
    min_slope: float = dataclasses.field(default=1e-3, kw_only=True)

    def __post_init__(self):
        freeze_fields(self)
        if self.bins < 1:
            raise ValueError(f"`bins` must be at least 1, got {self.bins}")
        if self.bound <= 0:
            raise ValueError(f"`bound` must be positive, got {self.bound}")
        if not 0 < self.min_width * self.bins < 1:
            raise ValueError(f"`min_width` must be in (0, 1 / bins), got {self.min_width} for {self.bins} bins")
        if not 0 < self.min_slope < 1:
            raise ValueError(f"`min_slope` must be in (0, 1), got {self.min_slope}")

    @property
    def num_params(self) -> int:
        return 3 * self.bins - 1

    def initial_params(self) -> tuple[float, ...]:
        return (0.0,) * self.num_params

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        return self._both(x, parameters, False)

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        return self._both(z, parameters, True)

    def _both(self, x: Array, parameters: Array, inverse: bool) -> tuple[Array, Array]:
        """`rational_quadratic_spline` of raw parameters, with softplus applied to the two slopes of x's bin only."""
        bins, span = self.bins, 2 * self.bound
        (widths, heights, slopes), axis = split_parameters(parameters.astype(x.dtype), (bins, bins, bins - 1))
        inside, inner = _inside(x, self.bound)

        weights, total = _weights(lax.stop_gradient(heights if inverse else widths), axis)
        sizes = span * (self.min_width + (1 - bins * self.min_width) * weights / jnp.expand_dims(total, axis))
        before, here = _masks(inner, sizes, self.bound, axis)
        index = before.sum(axis)

        def start_and_size(logits):
            start, size = _fractions(logits, (before, here), axis)
            free = span * (1 - bins * self.min_width)
            return free * start + span * self.min_width * index - self.bound, free * size + span * self.min_width

        def slope(raw, is_end):
            # softplus, shifted so that 0 gives slope 1
            soft = self.min_slope + jnp.logaddexp(raw + math.log(math.expm1(1 - self.min_slope)), 0)
            return jnp.where(is_end, 1, soft)

        raw = (slopes * lax.slice_in_dim(here, 1, bins, axis=axis)).sum(axis)
        next_raw = (slopes * lax.slice_in_dim(here, 0, bins - 1, axis=axis)).sum(axis)
        pieces = (inner, *start_and_size(widths), *start_and_size(heights))
        pieces = (*pieces, slope(raw, index == 0), slope(next_raw, index == bins - 1))
        # one long axis vectorises best
        value, log_derivative = _in_bin(*(piece.reshape(-1) for piece in pieces), inverse)
        value, log_derivative = value.reshape(x.shape), log_derivative.reshape(x.shape)
        return jnp.where(inside, value, x), jnp.where(inside, log_derivative, 0)
