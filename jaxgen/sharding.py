"""Rows that a model draws for itself, divided over devices as the rows of a batch are.

The step is written for the whole batch, and what is computed from the batch's rows is divided as they are. Noise that a
generator starts from is computed from a key alone: without being told, each device would generate all of it.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import jax

_sharding: contextvars.ContextVar[jax.sharding.Sharding | None] = contextvars.ContextVar("sharding", default=None)


@contextlib.contextmanager
def sharded_as(sharding: jax.sharding.Sharding) -> Iterator[None]:
    """While this lasts, what is traced has its `sharded` rows divided so."""
    token = _sharding.set(sharding)
    try:
        yield
    finally:
        _sharding.reset(token)


def sharded(x: jax.Array) -> jax.Array:
    """x, [B, ...], its first axis divided over devices where a step is compiled for several."""
    sharding = _sharding.get()
    return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)
