"""Sharding of examples over devices: of a model's own samples, and of constant arrays per example.

The step is written for the global batch, and values computed from the batch are sharded like it. A generator's noise is
computed only from a key: without a sharding constraint every device would generate all of it.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

_sharding: contextvars.ContextVar[jax.sharding.Sharding | None] = contextvars.ContextVar("sharding", default=None)


@contextlib.contextmanager
def sharded_as(sharding: jax.sharding.Sharding) -> Iterator[None]:
    """A context in which traced `sharded` arrays have this sharding."""
    token = _sharding.set(sharding)
    try:
        yield
    finally:
        _sharding.reset(token)


def sharded(x: jax.Array) -> jax.Array:
    """x [B, ...], its first axis sharded over the devices that a step is compiled for."""
    sharding = _sharding.get()
    return x if sharding is None else jax.lax.with_sharding_constraint(x, sharding)


def full_batch(
    x: jax.Array, value: float = 0.0, shape: tuple[int, ...] = (), dtype: jnp.dtype | None = None
) -> jax.Array:
    """An array [B, *shape] filled with `value`, its first axis sharded like that of x [B, ...].

    `jnp.full((B, *shape), value)` would be replicated: loops refuse it as a carry under explicit sharding and in
    `jax.shard_map`.
    """
    filled = jnp.full_like(x[(slice(None), *(0,) * (x.ndim - 1))], value, dtype)
    return jnp.broadcast_to(jnp.expand_dims(filled, tuple(range(1, 1 + len(shape)))), (x.shape[0], *shape))


def shard_like(tree: Any, x: jax.Array) -> Any:
    """A tree of arrays [B, ...], their first axes sharded like that of x [B, ...]."""
    return jax.tree.map(lambda a: a + full_batch(x, 0, (1,) * (a.ndim - 1), a.dtype), tree)


def vary_like(carry: Any, *others: Any) -> Any:
    """A tree of arrays that vary over all axes of `jax.shard_map` that the arrays of `others` vary over.

    A loop's carry must not change its type, so it has to vary initially if a context or parameters do.
    """
    axes = frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(others)))

    def cast(x: jax.Array) -> jax.Array:
        missing = tuple(sorted(axes - jax.typeof(x).manual_axis_type.varying))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(cast, carry) if axes else carry
