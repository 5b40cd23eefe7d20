"""Concatenated examples for a critic to score together (Lin et al. 2018, "PacGAN: The power of two samples")."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.contracts import Array


def pack(x: Array | None, m: int) -> Array | None:
    """[B, ..., C] to [ceil(B / m), ..., m C]: m examples on the last axis; the first ones complete the last pack."""
    if x is None or m == 1:
        return x
    x = jnp.asarray(x)
    packs = -(-x.shape[0] // m)
    x = x[jnp.arange(packs * m) % x.shape[0]]
    return jnp.concatenate([x[i * packs : (i + 1) * packs] for i in range(m)], -1)
