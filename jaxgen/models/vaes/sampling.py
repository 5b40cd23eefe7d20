"""The terms of the bound by K samples of z per example, computed in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key, Variables
from jaxgen.models.vaes.objectives import Objective
from jaxgen.models.vaes.posteriors import Posterior

LogJoint = Callable[[Variables, Array, Any, "Key | None"], tuple[Array, Array, Mapping[str, Any]]]
"""`(variables, z [N, L], data [N, ...], key)` to log p(x|z) [N], log p(z) [N], and the decoder's updated statistics."""


def sample_terms(
    log_joint: LogJoint,
    posterior: Posterior,
    variables: Variables,
    q: Any,
    data: Any,
    z_key: Key,
    decoder_key: Key | None,
    objective: Objective,
) -> tuple[dict[str, Array], Mapping[str, Any]]:
    """The sampled fields of `Terms`, and the decoder's statistics. Each sample has its key, whatever the chunk."""
    noise_shape, draws = posterior.moments(q).mean.shape, objective.draws
    chunk = min(objective.chunk or draws, draws)

    def chunk_terms(keys: Key, decoder_key: Key | None) -> tuple[dict[str, Array], Mapping[str, Any]]:
        noise = jax.vmap(lambda key: jax.random.normal(key, noise_shape))(keys)
        # samples and examples as one batch, [chunk B, ...]: one matrix product per layer
        tiled = jax.tree.map(lambda a: jnp.broadcast_to(a, (chunk, *a.shape)).reshape(-1, *a.shape[1:]), (q, data))
        fields, statistics = _terms(
            log_joint, posterior, variables, *tiled, noise.reshape(-1, noise_shape[-1]), decoder_key, objective.doubly
        )
        return {name: a.reshape(chunk, -1, *a.shape[1:]) for name, a in fields.items()}, statistics

    keys = jax.random.split(z_key, draws)
    if chunk == draws:
        return chunk_terms(keys, decoder_key)
    chunks = draws // chunk
    decoder_keys = None if decoder_key is None else jax.random.split(decoder_key, chunks)
    # nothing merges the second computation with the first within a loop
    body = jax.checkpoint(chunk_terms, prevent_cse=False)
    fields, statistics = lax.map(lambda args: body(*args), (keys.reshape(chunks, chunk, *keys.shape[1:]), decoder_keys))
    fields = {name: a.reshape(draws, *a.shape[2:]) for name, a in fields.items()}
    return fields, jax.tree.map(lambda a: a.mean(0), statistics)


def _terms(
    log_joint: LogJoint,
    posterior: Posterior,
    variables: Variables,
    q: Any,
    data: Any,
    noise: Array,
    key: Key | None,
    doubly: bool,
) -> tuple[dict[str, Array], Mapping[str, Any]]:
    z, log_posterior = posterior.reparameterize(variables, q, noise)
    if not doubly:
        log_likelihood, log_prior, statistics = log_joint(variables, z, data, key)
        fields = {"log_likelihood": log_likelihood, "log_prior": log_prior, "log_posterior": log_posterior, "z": z}
        return fields, statistics
    # once with the gradient in the parameters of p alone, once with that in z alone
    fixed = lax.stop_gradient
    log_likelihood, log_prior, statistics = log_joint(variables, fixed(z), data, key)
    path = sum(log_joint(fixed(variables), z, data, key)[:2]) - fixed(posterior.moments(q)).log_prob(z)
    return {
        "log_likelihood": log_likelihood,
        "log_prior": log_prior,
        "log_posterior": fixed(log_posterior),
        "z": z,
        "path_log_weights": path,
    }, statistics
