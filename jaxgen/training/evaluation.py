"""A model's honest figures on a whole split."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Batch, Key, Model, Variables
from jaxgen.data import Source
from jaxgen.training.bound import Static


Figures = Callable[[Variables, Batch, Key], Mapping[str, Array]]
"""What `Model.evaluate` is: scalars, means over a batch's rows."""


@functools.partial(jax.jit, static_argnums=(0, 1))
def _figures(model: Static, other: Static, variables: Variables, batch: Batch, keys: Key):
    figures = model.value.evaluate if other.value is None else other.value
    # one draw after another: as much memory as one
    drawn = lax.map(lambda key: dict(figures(variables, batch, key)), keys)
    return jax.tree.map(lambda a: jnp.mean(a, 0), drawn)


def evaluate(
    model: Model,
    variables: Variables,
    data: Source,
    key: Key,
    *,
    batch_size: int = 512,
    draws: int = 1,
    figures: Figures | None = None,
    between: Callable[[], None] | None = None,
) -> dict[str, float]:
    """The figures of `model.evaluate`, averaged over a split's rows and over draws of the model's noise.

    Args:
        data: gone through once, in order, its last batch as short as it comes.
        draws: how often each batch is evaluated, each time with another key.
        figures: others than the model's own.
        between: called before each batch; what it raises ends the evaluation.

    Returns:
        By name, the mean over rows: each batch counts by its number of rows.
    """
    total, rows = {}, 0
    for i, batch in enumerate(data.batches(batch_size)):
        if between is not None:
            between()
        size = len(jax.tree.leaves(batch)[0])
        keys = jax.random.split(jax.random.fold_in(key, i), draws)
        for name, value in jax.device_get(_figures(Static(model), Static(figures), variables, batch, keys)).items():
            total[name] = total.get(name, 0.0) + size * float(value)
        rows += size
    return {name: value / rows for name, value in total.items()}
