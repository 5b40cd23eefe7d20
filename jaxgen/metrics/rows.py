"""Samples as rows of numbers."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.contracts import Array


def flat_rows(x: Array) -> Array:
    """[N, ...] to [N, D]: floats as they are, anything else as float32."""
    x = jnp.asarray(x)
    x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
    return x.reshape(x.shape[0], -1)
