"""Shared by attacks: checks of inputs, predictions, projections onto balls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, as_integers, check_number, check_range
from jaxgen.contracts import Array
from jaxgen.precision import at_least_float32

Classifier = Callable[[Array], Array]
"""Inputs [B, ...] to logits [B, K], each row a function of its own example only."""
Norm = Literal["linf", "l2"]
"""The largest absolute value, or the Euclidean norm over all dimensions of an example."""


def as_inputs(x: Any, lower: float, upper: float) -> Array:
    """Inputs [B, ...] as floats.

    Raises:
        ValueError: other shapes, `lower` not below `upper`, or concrete inputs outside of them: other units.
    """
    (x,) = as_arrays("B *", x=x)
    check_number("upper", upper, lower, above=True)
    check_range("x", x, lower, upper)
    return x


def check_radius(name: str, radius: Any, norm: str, lower: float, upper: float) -> None:
    """Raises:
    ValueError: an unknown norm; a radius that is not positive, or in l_inf exceeds the range: other units.
    """
    if norm not in ("linf", "l2"):
        raise ValueError(f"`norm` must be 'linf' or 'l2', got {norm!r:.80}")
    check_number(name, radius, 0, upper - lower if norm == "linf" else float("inf"), above=True)


def logits_of(classifier: Classifier, x: Array) -> Array:
    """The classifier's logits [B, K], at least float32."""
    (logits,) = as_arrays("B K", logits=classifier(x))
    if logits.shape[0] != x.shape[0]:
        raise ValueError(f"classifier(x) must be logits [{x.shape[0]}, K], got shape {logits.shape}")
    return at_least_float32(logits)


def predict(classifier: Classifier, x: Array) -> Array:
    """The most probable labels, [B]."""
    return logits_of(classifier, x).argmax(-1)


def as_labels(name: str, labels: Any, logits: Array) -> Array:
    """Labels [B], integers 0..K-1.

    Raises:
        ValueError: another shape, or concrete labels other than 0..K-1.
    """
    labels = as_integers("B", {"B": logits.shape[0]}, **{name: labels})
    check_range(name, labels, 0, logits.shape[-1] - 1, whole=True)
    return labels


def norms(x: Array) -> Array:
    """The Euclidean norm of each example, [B, ...] to [B, 1, ...]. Its derivative at zero is zero."""
    squared = (at_least_float32(x) ** 2).sum(tuple(range(1, x.ndim)), keepdims=True)
    return jnp.where(squared == 0, 0.0, jnp.sqrt(jnp.where(squared == 0, 1.0, squared))).astype(x.dtype)


def normalized(x: Array) -> Array:
    """Examples [B, ...] divided by their Euclidean norms; zeros stay zeros."""
    length = norms(x)
    return x / jnp.where(length == 0, 1.0, length)


def project(x: Array, radius: Any, norm: Norm = "linf") -> Array:
    """The nearest points of the ball of a radius around zero, for each example: [B, ...].

    In l_inf values are clipped to [-radius, radius], in l2 examples that are longer are shortened to the radius.
    """
    (x,) = as_arrays("B *", x=x)
    check_radius("radius", radius, norm, 0.0, float("inf"))
    if norm == "linf":
        return jnp.clip(x, -radius, radius)
    return x * jnp.minimum(1.0, radius / jnp.maximum(norms(x), jnp.finfo(x.dtype).tiny))


def uniform_in_ball(key: jax.Array, like: Array, radius: Any, norm: Norm) -> Array:
    """Points uniform in the ball of a radius around zero, one per example of `like`."""
    if norm == "linf":
        return radius * jax.random.uniform(key, like.shape, like.dtype, -1.0)
    direction_key, key = jax.random.split(key)
    direction = normalized(jax.random.normal(direction_key, like.shape, like.dtype))
    u = jax.random.uniform(key, (like.shape[0],) + (1,) * (like.ndim - 1), like.dtype)
    return radius * u ** (like.shape[0] / like.size) * direction
