"""Samples of categorical distributions with many values, from one uniform number each."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key


def sample_categorical(key: Key, logits: Array) -> Array:
    """Samples of softmax(logits) over the last axis: [..., K] to [...] int32.

    Inverts the distribution function in two levels, first among about sqrt(K) blocks and then within one. With K =
    5,000 it takes a tenth of the time of `jax.random.categorical`, which draws K random numbers for each sample. A
    probability is exact to about 2^-23; values of probability zero are never drawn.
    """
    values = logits.shape[-1]
    block = math.isqrt(values - 1) + 1
    blocks = -(-values // block)
    weights = jnp.exp(logits - logits.max(-1, keepdims=True))
    padding = [(0, 0)] * (logits.ndim - 1) + [(0, blocks * block - values)]
    weights = jnp.pad(weights, padding).reshape(*logits.shape[:-1], blocks, block)
    cumulative = weights.sum(-1).cumsum(-1)
    position = jax.random.uniform(key, logits.shape[:-1], logits.dtype) * cumulative[..., -1]
    chosen = _index(cumulative, position)
    before = jnp.where(chosen > 0, _at(cumulative, jnp.maximum(chosen - 1, 0)), 0)
    within = jnp.take_along_axis(weights, chosen[..., None, None], -2)[..., 0, :].cumsum(-1)
    return (chosen * block + _index(within, position - before)).astype(jnp.int32)


def _index(cumulative: Array, position: Array) -> Array:
    """The first index whose cumulative weight is above `position`, which rounding may put outside of [0, the total)."""
    below_total = jnp.nextafter(cumulative[..., -1], jnp.zeros_like(position))
    position = jnp.clip(position, 0, below_total)
    return (cumulative <= position[..., None]).sum(-1)


def _at(values: Array, index: Array) -> Array:
    return jnp.take_along_axis(values, index[..., None], -1)[..., 0]
