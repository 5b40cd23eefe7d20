"""Divergences of symbols and of pairs of them, fast enough for every evaluation."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_integers, check_counts
from jaxgen.contracts import Array


def bigram_divergences(real: Array, fake: Array, num_symbols: int) -> dict[str, Array]:
    """`js1` and `js2`: `n_gram_jensen_shannon` of n = 1 and 2 in nats, compiled; needs num_symbols^2 numbers.

    Args:
        real, fake: symbols 0..num_symbols-1, [N, T] and [M, T], T at least 2.
    """
    check_counts(2, num_symbols=num_symbols)
    real, fake = as_integers("N T", real=real), as_integers("M T", fake=fake)
    for name, x in {"real": real, "fake": fake}.items():
        if x.shape[1] < 2:
            raise ValueError(f"`{name}` must have sequences of at least 2 symbols, got shape {x.shape}")

    def frequencies(x: Array, n: int) -> Array:
        x = x.astype(jnp.int32)
        codes = x if n == 1 else x[:, :-1] * num_symbols + x[:, 1:]
        return jnp.bincount(codes.reshape(-1), length=num_symbols**n) / codes.size

    return {f"js{n}": _jensen_shannon(frequencies(real, n), frequencies(fake, n)) for n in (1, 2)}


def _jensen_shannon(p: Array, q: Array) -> Array:
    def entropy(p: Array) -> Array:
        return -jax.scipy.special.xlogy(p, p).sum()

    return jnp.maximum(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2, 0)
