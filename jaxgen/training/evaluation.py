"""Evaluation metrics on a whole split."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Batch, Key, Model, Variables
from jaxgen.data import Source
from jaxgen.training.trained import HashableStatic, TrainedModel


ValidationMetrics = Callable[[Variables, Batch, Key], Mapping[str, Array]]
"""A function like `Model.evaluate`, which is compiled: scalars, means over a batch's examples."""
HostMetrics = Callable[[TrainedModel], Mapping[str, float]]
"""Metrics of a trained model that are computed on the host, such as BLEU."""


@functools.partial(jax.jit, static_argnums=(0, 1))
def _batch_metrics(model: HashableStatic, other: HashableStatic, variables: Variables, batch: Batch, keys: Key):
    metrics = model.value.evaluate if other.value is None else other.value
    # one key after another: the memory of one
    samples = lax.map(lambda key: dict(metrics(variables, batch, key)), keys)
    return jax.tree.map(lambda a: jnp.mean(a, 0), samples)


def evaluate(
    model: Model,
    variables: Variables,
    data: Source,
    key: Key,
    *,
    batch_size: int = 512,
    draws: int = 1,
    metrics: ValidationMetrics | None = None,
    between: Callable[[], None] | None = None,
) -> dict[str, float]:
    """The metrics of `model.evaluate`, averaged over a split's examples and over samples of the model's noise.

    Args:
        data: read once, in order; the last batch may be shorter.
        draws: samples of the noise per batch.
        metrics: replaces the model's own.
        between: called before each batch; may raise to end the evaluation.

    Returns:
        The mean over examples by name: each batch is weighted by its number of examples.
    """
    total, examples = {}, 0
    for i, batch in enumerate(data.batches(batch_size)):
        if between is not None:
            between()
        size = len(jax.tree.leaves(batch)[0])
        keys = jax.random.split(jax.random.fold_in(key, i), draws)
        values = _batch_metrics(HashableStatic(model), HashableStatic(metrics), variables, batch, keys)
        for name, value in jax.device_get(values).items():
            total[name] = total.get(name, 0.0) + size * float(value)
        examples += size
    return {name: value / examples for name, value in total.items()}
