"""Critics of sequences of tokens: integers [B, T] to a logit of each sequence [B], or of each of its prefixes [B, T].

A logit is the logarithm of the odds that the tokens are real. All have a layer `last` that the logits come from.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_integers, check_counts
from jaxgen.contracts import Array
from jaxgen.nets.recurrent import CELLS, initial_carry
from jaxgen.tokens import lengths

SEQGAN_FILTERS = (
    (1, 100), (2, 200), (3, 200), (4, 200), (5, 200), (6, 100), (7, 100), (8, 100), (9, 100), (10, 100), (15, 160),
    (20, 160),
)  # fmt: skip
"""Pairs of a width and the number of its filters, in SeqGAN's critic of 20 tokens; 7,045,402 parameters with 5,000."""
SMALL_FILTERS = ((2, 100), (3, 200))
"""For CPUs: 552,702 parameters with 5,000 tokens."""

_normal = nn.initializers.truncated_normal(0.1)
_bias = nn.initializers.constant(0.1)


def _uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return jax.random.uniform(key, shape, dtype, -1, 1)


class Highway(nn.Module):
    """[B, C] to itself: t relu(W x + b) + (1 - t) x, t = sigmoid(V x + c).

    Srivastava et al. 2015, "Highway Networks".
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        gate = nn.sigmoid(nn.Dense(x.shape[-1], name="gate")(x))
        return gate * nn.relu(nn.Dense(x.shape[-1], name="value")(x)) + (1 - gate) * x


def pooled_windows(x: Array, filters: tuple[tuple[int, int], ...], **layers: Any) -> Array:
    """Convolutions of several widths without padding, a ReLU, and the maximum over positions: [B, T, E] to [B, F].

    A convolution is a product of the windows with a matrix, which is fast in compiled loops, too. To be called in a
    compact method, whose dense layers `width1`, `width2`, ... it makes.

    Args:
        filters: pairs of a width, at most T, and its number of filters; F is the sum of the numbers.
        layers: initialisers of the dense layers.
    """
    pooled = []
    for width, number in filters:
        windows = jnp.concatenate([x[:, i : x.shape[1] - width + 1 + i] for i in range(width)], -1)
        # relu is monotone: the maximum first is the same and smaller
        pooled.append(nn.relu(nn.Dense(number, name=f"width{width}", **layers)(windows).max(1)))
    return jnp.concatenate(pooled, -1)


class TokenConvCritic(nn.Module):
    """SeqGAN's critic: [B, T] to [B].

    Vectors of the tokens, convolutions of several widths without padding, the maximum of each filter over positions, a
    highway layer, dropout, and two outputs whose difference is the logit.

    Kim 2014, "Convolutional Neural Networks for Sentence Classification"; with the highway Zhang and LeCun 2015; here
    as in the code of Yu et al. 2017, "SeqGAN".

    Attributes:
        filters: pairs of a width and its number of filters.
        embedding_width: of the tokens' vectors.
        dropout: rate, active with a `dropout` stream.

    Raises:
        ValueError: sequences shorter than the greatest width; tokens that are not integers [B, T].
    """

    num_tokens: int
    filters: tuple[tuple[int, int], ...] = SEQGAN_FILTERS
    embedding_width: int = 64
    dropout: float = 0.25

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        check_counts(num_tokens=self.num_tokens, filters=sum(self.filters, ()))
        tokens = as_integers("B T", tokens=tokens)
        length, widest = tokens.shape[1], max(width for width, _ in self.filters)
        if length < widest:
            raise ValueError(f"`tokens` must have at least {widest} positions, the greatest width, got {length}")
        x = nn.Embed(self.num_tokens, self.embedding_width, embedding_init=_uniform, name="embed")(tokens)
        h = Highway(name="highway")(pooled_windows(x, self.filters, kernel_init=_normal, bias_init=_bias))
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        fake, real = jnp.moveaxis(nn.Dense(2, kernel_init=_normal, bias_init=_bias, name="last")(h), -1, 0)
        return real - fake


class TokenRNNCritic(nn.Module):
    """A recurrent critic: [B, T] to the logits of all prefixes [B, T] if `per_token`, else of the whole sequence [B].

    The logit at t depends on the tokens up to t. That of a whole sequence is the one at its end token, if there is one.

    Attributes:
        width: units of the cell.
        embedding_width: of the tokens' vectors.
        cell: `lstm` or `gru`.
        dropout: rate for the cell's outputs, active with a `dropout` stream.
        per_token: a logit at each position, as in boundary-seeking GANs of text and critics of partial sequences.
        end: the token that ends a sequence; None: none.
    """

    num_tokens: int
    width: int = 128
    embedding_width: int = 64
    cell: Literal["lstm", "gru"] = "lstm"
    dropout: float = 0.0
    per_token: bool = False
    end: int | None = None

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        check_counts(num_tokens=self.num_tokens, width=self.width, embedding_width=self.embedding_width)
        tokens = as_integers("B T", tokens=tokens)
        x = nn.Embed(self.num_tokens, self.embedding_width, name="embed")(tokens)
        cell = CELLS[self.cell](self.width, name="cell")
        h = nn.RNN(cell)(x, initial_carry=initial_carry(cell, x))
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        last = nn.Dense(1, name="last")
        if self.per_token:
            return last(h)[..., 0]
        position = lengths(tokens, self.end) - 1
        return last(jnp.take_along_axis(h, position[:, None, None], 1)[:, 0])[..., 0]
