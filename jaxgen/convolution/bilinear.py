"""Derivatives of functions that are linear in each of two arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from jax.custom_derivatives import SymbolicZero

from jaxgen.autodiff import linear_call


def bilinear(function: Callable, transposes: Sequence[Callable]) -> None:
    """Gives `function(a, b, padding)`, linear in each, its derivatives.

    Args:
        transposes: of the maps a -> function(a, b) and b -> function(a, b), each with arguments `(other, cotangent)`.
    """

    @functools.partial(function.defjvp, symbolic_zeros=True)
    def tangent(padding, primals, tangents):
        (a, b), (da, db) = primals, tangents
        of_a, of_b = (lambda other, cotangent, f=f: f(other, cotangent, padding) for f in transposes)
        y, changes = function(a, b, padding), []
        if not isinstance(da, SymbolicZero):
            changes.append(linear_call(lambda b, da: function(da, b, padding), of_a, b, da, y))
        if not isinstance(db, SymbolicZero):
            changes.append(linear_call(lambda a, db: function(a, db, padding), of_b, a, db, y))
        return y, sum(changes[1:], changes[0])


def swapped(function: Callable) -> Callable:
    return lambda b, a, padding: function(a, b, padding)
