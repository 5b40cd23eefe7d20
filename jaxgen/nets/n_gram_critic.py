"""A linear critic of n-grams."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_integers, check_counts
from jaxgen.contracts import Array
from jaxgen.tokens import lengths, token_mask

_FACTORS = (2654435761, 2246822519)


class NGramCritic(nn.Module):
    """Tokens [N B, T] given contexts [B, S] to logits: sums of the weights of the n-grams that occur.

        logit_t = b + sum_{s <= t} [sum_n w(y_{s-n+1} .. y_s) + sum_j v(x_j, y_s) / sqrt(S)]

    n is in `orders`, and the second sum is over the S words of the context, if `crossed`. Before the first token there
    are tokens that occur nowhere else. The weights are entries of a table, zero at first, and an n-gram's entry is its
    hash value, which others may share. Convolutional and recurrent critics learn vectors of words, and then which of
    them may follow each other; this one has nothing to learn but the n-grams, which it does in a few hundred batches.
    Joachims 1998, "Text Categorization with Support Vector Machines"; Weinberger et al. 2009, "Feature Hashing for
    Large Scale Multitask Learning".

    Sequence i belongs to the context i mod B.

    Attributes:
        orders: n, of the n-grams.
        buckets: entries of the table.
        crossed: pairs of a word of the context and one of the sequence have weights, too.
        per_token: the logits of all prefixes, [N B, T]; else those of whole sequences, [N B].
        end: the end token of sequences, which is the padding of contexts; None: none.
    """

    orders: tuple[int, ...] = (1, 2, 3)
    buckets: int = 2**17
    crossed: bool = False
    per_token: bool = False
    end: int | None = 0

    @nn.compact
    def __call__(self, tokens: Array, context: Array) -> Array:
        check_counts(orders=self.orders, buckets=self.buckets)
        tokens, context = as_integers("M T", tokens=tokens), as_integers("B S", context=context)
        if len(tokens) % len(context):
            raise ValueError(f"`tokens` must have a multiple of the {len(context)} contexts, got shape {tokens.shape}")
        bias = self.param("bias", nn.initializers.zeros, ())
        table = self.param("weights", nn.initializers.zeros, (self.buckets,))
        weights = table[hashed_n_grams(tokens, self.orders) % self.buckets].sum(-1)
        if self.crossed:
            known = token_mask(context, self.end) * (1 if self.end is None else context != self.end)
            known, context = (jnp.tile(a, (len(tokens) // len(context), 1))[:, None] for a in (known, context))
            pairs = _mixed(_mixed(_unsigned(tokens))[..., None] + _unsigned(context))
            weights += (known * table[pairs % self.buckets]).sum(-1) / jnp.sqrt(jnp.maximum(known.sum(-1), 1))
        logits = bias + jnp.cumsum(token_mask(tokens, self.end) * weights, 1)
        if self.per_token:
            return logits
        return jnp.take_along_axis(logits, lengths(tokens, self.end)[:, None] - 1, 1)[:, 0]


def hashed_n_grams(tokens: Array, orders: tuple[int, ...]) -> Array:
    """Hash values, uint32 [B, T, len(orders)], of the n-grams of tokens [B, T] that end at each position."""
    values, value = {}, jnp.zeros(tokens.shape, jnp.uint32)
    for n in range(1, max(orders) + 1):
        before = jnp.pad(_unsigned(tokens), ((0, 0), (n - 1, 0)))[:, : tokens.shape[1]]
        values[n] = value = _mixed(value + before + jnp.uint32(n))
    return jnp.stack([values[n] for n in orders], -1)


def _unsigned(tokens: Array) -> Array:
    """From 1 on: 0 is none."""
    return tokens.astype(jnp.uint32) + jnp.uint32(1)


def _mixed(value: Array) -> Array:
    """A permutation of the numbers below 2^32, each of whose bits affects all."""
    for factor in _FACTORS:
        value = (value ^ (value >> 16)) * jnp.uint32(factor)
    return value ^ (value >> 16)
