"""Examples divided over devices: those that a model draws for itself, and arrays filled for the examples of a batch.

The step is written for the whole batch, and what is computed from the batch's rows is divided as they are. Noise that a
generator starts from is computed from a key alone: without being told, each device would generate all of it.
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


def full_batch(
    x: jax.Array, value: float = 0.0, shape: tuple[int, ...] = (), dtype: jnp.dtype | None = None
) -> jax.Array:
    """An array [B, *shape] filled with `value`, its first axis sharded as that of x [B, ...]; x's dtype by default.

    `jnp.full((B, *shape), value)` would be replicated: loops refuse it as a carry under explicit sharding and in
    `jax.shard_map`.
    """
    filled = jnp.full_like(x[(slice(None), *(0,) * (x.ndim - 1))], value, dtype)
    return jnp.broadcast_to(jnp.expand_dims(filled, tuple(range(1, 1 + len(shape)))), (x.shape[0], *shape))


def shard_like(tree: Any, x: jax.Array) -> Any:
    """A tree of arrays [B, ...], sharded over their first axis as x [B, ...] is."""
    return jax.tree.map(lambda a: a + full_batch(x, 0, (1,) * (a.ndim - 1), a.dtype), tree)


def vary_like(carry: Any, *others: Any) -> Any:
    """A tree of arrays, varying over every axis of `jax.shard_map` that any array of `others` varies over.

    A loop's carry has the same type before and after: where a context or parameters vary, it has to from the start.
    """
    axes = frozenset().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(others)))

    def cast(x: jax.Array) -> jax.Array:
        missing = tuple(sorted(axes - jax.typeof(x).manual_axis_type.varying))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(cast, carry) if axes else carry
