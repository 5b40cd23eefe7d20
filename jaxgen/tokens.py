"""Token sequences, int32 [B, T], that end with a token `end`, after which every token is `end` too."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Array = jax.Array


def token_mask(tokens: Array, end: int | None) -> Array:
    """1 for tokens up to and including the first `end`, 0 after it: [..., T] float32; ones if `end` is None."""
    if end is None:
        return jnp.ones(tokens.shape, jnp.float32)
    ended = jnp.cumsum(tokens == end, -1)
    return (ended - (tokens == end) == 0).astype(jnp.float32)


def lengths(tokens: Array, end: int | None) -> Array:
    """The number of tokens up to and including the first `end`: [..., T] to [...] int32; T without one."""
    return token_mask(tokens, end).sum(-1).astype(jnp.int32)


def log_probs_of(logits: Array, tokens: Array) -> Array:
    """The log-probabilities of tokens [..., T] under softmax(logits) [..., T, K]: [..., T]."""
    chosen = jnp.take_along_axis(logits, tokens[..., None], -1)[..., 0]
    return chosen - jax.nn.logsumexp(logits, -1)
