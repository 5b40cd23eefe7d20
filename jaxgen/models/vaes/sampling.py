"""The terms of the bound by K samples of z per example, computed in chunks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key, Variables
from jaxgen.models.vaes.objectives import Objective


def sample_terms(
    model: Any,
    variables: Variables,
    q: Any,
    data: tuple[Array, Array | None],
    objective: Objective,
    z_key: Key,
    decoder_key: Key | None,
) -> tuple[dict[str, Array], Mapping[str, Any]]:
    """The sampled fields of `BoundTerms`, and the decoder's statistics. The samples do not depend on the chunk.

    Args:
        model: a `VAE`, of which `posterior` and `log_joint` are used.
        data: the targets of the likelihood and the context.
    """
    data = tuple(None if a is None else jnp.asarray(a) for a in data)
    (batch, dim), draws = model.posterior.moments(q).mean.shape, objective.draws
    chunk = min(objective.chunk or draws, draws)

    def chunk_terms(keys: Key, decoder_key: Key | None) -> tuple[dict[str, Array], Mapping[str, Any]]:
        noise = jax.vmap(lambda key: jax.random.normal(key, (batch, dim)))(keys).reshape(-1, dim)
        # samples and examples as one batch, [chunk B, ...]: one matrix product per layer
        tiled = jax.tree.map(lambda a: jnp.broadcast_to(a, (chunk, *a.shape)).reshape(-1, *a.shape[1:]), (q, data))
        fields, statistics = _terms(model, variables, *tiled, noise, decoder_key, objective.doubly)
        return {name: a.reshape(chunk, batch, *a.shape[1:]) for name, a in fields.items()}, statistics

    keys = jax.random.split(z_key, draws)
    if chunk == draws:
        return chunk_terms(keys, decoder_key)
    keys = keys.reshape(draws // chunk, chunk, *keys.shape[1:])
    decoder_keys = None if decoder_key is None else jax.random.split(decoder_key, len(keys))
    # nothing merges the second computation with the first within a loop
    body = jax.checkpoint(chunk_terms, prevent_cse=False)
    fields, statistics = lax.map(lambda chunk_keys: body(*chunk_keys), (keys, decoder_keys))
    fields = {name: a.reshape(draws, *a.shape[2:]) for name, a in fields.items()}
    return fields, jax.tree.map(lambda a: a.mean(0), statistics)


def _terms(
    model: Any, variables: Variables, q: Any, data: tuple[Any, ...], noise: Array, key: Key | None, doubly: bool
) -> tuple[dict[str, Array], Mapping[str, Any]]:
    z, log_posterior = model.posterior.reparameterize(variables, q, noise)
    more, fixed = {}, lax.stop_gradient
    if doubly:
        # the log-weights twice: with the gradient in the parameters of p alone, and with that in z alone
        path = sum(model.log_joint(fixed(variables), z, *data, key)[:2])
        more = {"path_log_weights": path - fixed(model.posterior.moments(q)).log_prob(z)}
        z, log_posterior = fixed((z, log_posterior))
    log_likelihood, log_prior, statistics = model.log_joint(variables, z, *data, key)
    fields = {"log_likelihood": log_likelihood, "log_prior": log_prior, "log_posterior": log_posterior, "z": z}
    return fields | more, statistics
