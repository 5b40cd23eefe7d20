"""Codes of a whole split, and plots of a trained model's latent space: the map, interpolations, traversals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import plotting
from jaxgen.contracts import Array, Batch
from jaxgen.data import Source
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.training.trained import TrainedModel

__all__ = [
    "codes", "map_batches", "plot_codes", "plot_divergences", "plot_interpolations", "plot_traversals",
    "posterior_moments",
]  # fmt: skip

COLUMNS = 10
"""Images in a row of a plot."""


def map_batches(function: Callable[[Batch], Any], source: Source, batch_size: int) -> Any:
    """A function of batches over a whole split; its arrays are concatenated along the first axis."""
    results = [function(batch) for batch in source.batches(batch_size)]
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *results)


def codes(trained: TrainedModel, source: Source, batch_size: int) -> Array:
    """Codes of a whole split, means if the encoder is stochastic: [N, D], or the shape of the model's codes."""
    return map_batches(lambda batch: trained.encode(batch["x"], None, batch.get("context")), source, batch_size)


def posterior_moments(trained: TrainedModel, source: Source, batch_size: int) -> DiagonalNormal:
    """Means and log-variances of the posteriors of a whole split, [N, D] each."""
    return map_batches(lambda batch: trained.posterior_moments(batch["x"], batch.get("context")), source, batch_size)


def plot_codes(trained: TrainedModel, source: Source, batch_size: int) -> Any:
    """The codes of a split in the plane of their first two principal components, coloured by label."""
    z = np.asarray(codes(trained, source, batch_size))
    z = z - z.mean(0)
    if z.shape[1] > 2:
        z = z @ np.linalg.svd(z, full_matrices=False)[2][:2].T
    elif z.shape[1] == 1:
        z = np.stack([z[:, 0], np.random.default_rng(0).normal(size=len(z))], -1)
    return plotting.points(z, source.head(len(z)).get("label"), "codes")


def plot_divergences(trained: TrainedModel, source: Source, batch_size: int) -> Any:
    """The mean KL divergence of each latent over a split, in descending order."""
    key = jax.random.key(0)
    parts = map_batches(lambda batch: trained.terms(batch, key)[0].kl_per_dimension, source, batch_size)
    return plotting.spectrum(parts.mean(0), "KL in nats")


def plot_interpolations(trained: TrainedModel, source: Source, pairs: int = 5) -> Any:
    """Decoded lines between the codes of pairs of examples, which stand at either end."""
    head = source.head(2 * pairs)
    z, context = trained.encode(head["x"], None, head.get("context")), head.get("context")
    along = jnp.linspace(0, 1, COLUMNS)[:, None]
    rows = {}
    for i in range(pairs):
        start, end = 2 * i, 2 * i + 1
        between = None if context is None else (1 - along) * context[start] + along * context[end]
        line = trained.decode((1 - along) * z[start] + along * z[end], between)
        rows[str(i + 1)] = np.concatenate([head["x"][start : start + 1], line, head["x"][end : end + 1]])
    return plotting.rows(rows, "interpolations in latent space")


def plot_traversals(trained: TrainedModel, source: Source, order: Any) -> Any:
    """Some latents, each from -3 to 3, while the others keep the code of the first example.

    Args:
        order: the latents to vary, a row each.
    """
    head = source.head(1)
    z = trained.encode(head["x"], None, head.get("context"))
    context = head.get("context")
    context = None if context is None else jnp.repeat(jnp.asarray(context), COLUMNS, 0)
    rows = {}
    for latent in order:
        line = jnp.repeat(z, COLUMNS, 0).at[:, latent].set(jnp.linspace(-3, 3, COLUMNS))
        rows[f"z{latent}"] = np.asarray(trained.decode(line, context))
    return plotting.rows(rows, "one latent at a time")
