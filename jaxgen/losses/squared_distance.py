"""Squared distances of paired examples."""

from __future__ import annotations

from jaxgen.arguments import as_arrays
from jaxgen.contracts import Array


def squared_distance(a: Array, b: Array) -> Array:
    """E |a - b|^2, a scalar, summed over each event; a and b are [B, ...]."""
    a, b = as_arrays("B ...", a=a, b=b)
    return ((a - b) ** 2).sum(tuple(range(1, a.ndim))).mean()
