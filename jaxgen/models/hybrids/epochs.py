"""Optimizers of tables with one row per example, which do something at the end of each epoch."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array


class EpochState(NamedTuple):
    """The number of updates so far, and the state of the optimizer within."""

    count: Array
    inner: Any = ()


def unit_rows(rows: Array) -> Array:
    """Rows [N, L] divided by their norms, which have no gradient."""
    return rows / lax.stop_gradient(jnp.maximum(jnp.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))


def projected_rows(every: int) -> optax.GradientTransformation:
    """After each `every` updates, all rows of the parameters have unit norm; the last member of a chain."""
    check_counts(every=every)

    def update(updates: Any, state: EpochState, params: Any) -> tuple[Any, EpochState]:
        def project(updates: Any) -> Any:
            return jax.tree.map(lambda p, u: unit_rows(p + u) - p, params, updates)

        count = state.count + 1
        return lax.cond(count % every == 0, project, lambda u: u, updates), EpochState(count)

    return optax.GradientTransformation(lambda params: EpochState(jnp.int32(0)), update)


def restarted(optimizer: optax.GradientTransformation, every: int) -> optax.GradientTransformation:
    """The optimizer, created anew before each `every` updates: its moments are lost, and its bias correction begins
    again.
    """
    check_counts(every=every)

    def init(params: Any) -> EpochState:
        return EpochState(jnp.int32(0), optimizer.init(params))

    def update(updates: Any, state: EpochState, params: Any = None) -> tuple[Any, EpochState]:
        fresh = (state.count % every == 0) & (state.count > 0)
        inner = lax.cond(fresh, lambda: optimizer.init(params), lambda: state.inner)
        updates, inner = optimizer.update(updates, inner, params)
        return updates, EpochState(state.count + 1, inner)

    return optax.GradientTransformation(init, update)
