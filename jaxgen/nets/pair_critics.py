"""Critics of pairs: tokens [B, T] and a source's tokens [B, S] to the logit of each pair [B]."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_integers, check_counts
from jaxgen.contracts import Array
from jaxgen.nets.initializers import standard_normal
from jaxgen.nets.seq2seq import BidirectionalEncoder
from jaxgen.nets.token_critics import Highway, pooled_windows
from jaxgen.tokens import token_mask


class TokenConvTower(nn.Module):
    """Tokens [B, T] to features [B, F]: convolutions of their vectors, and each filter's maximum over the positions.

    Shorter sequences than a filter are padded with zeros. Kim 2014, "Convolutional Neural Networks for Sentence
    Classification".

    Attributes:
        filters: pairs of a width and its number of filters; F is the sum of the numbers.
        embedding_width: of the tokens' vectors.
    """

    num_tokens: int
    filters: tuple[tuple[int, int], ...] = ((1, 100), (2, 100), (3, 100), (4, 100), (5, 100))
    embedding_width: int = 64

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        check_counts(num_tokens=self.num_tokens, filters=sum(self.filters, ()), embedding_width=self.embedding_width)
        tokens = as_integers("B T", tokens=tokens)
        x = nn.Embed(self.num_tokens, self.embedding_width, embedding_init=standard_normal, name="embed")(tokens)
        x = jnp.pad(x, ((0, 0), (0, max(0, max(width for width, _ in self.filters) - x.shape[1])), (0, 0)))
        return pooled_windows(x, self.filters)


class TokenRNNTower(nn.Module):
    """Tokens [B, T] to features [B, 2 width]: the mean of a bidirectional network's outputs up to the end token.

    Attributes:
        width: units of the cell of a direction.
        embedding_width: of the tokens' vectors.
        end: None: sequences have no padding.
    """

    num_tokens: int
    width: int = 128
    embedding_width: int = 64
    cell: Literal["gru", "lstm"] = "gru"
    end: int | None = 0

    @nn.compact
    def __call__(self, tokens: Array) -> Array:
        encoder = BidirectionalEncoder(self.num_tokens, self.width, self.embedding_width, self.cell, self.end)
        mask = token_mask(tokens, self.end)[..., None]
        return (mask * encoder(tokens)[0]).sum(1) / mask.sum(1)


class PairCritic(nn.Module):
    """Features of both sides, and of a pair, to the logit of each pair: the logarithm of the odds that it is real.

    `joint`: [f, g, (A f) * (B g)] of the features f and g, a highway layer, dropout, and a linear layer. `additive`: a
    highway layer for f and one for g, dropout, and a linear layer. So it is in the code of Yang et al. 2018. Such a
    logit is the sum of a function of the tokens and one of the source: it cannot see whether they belong together.

    Attributes:
        target: from tokens to features, such as `TokenConvTower` or `TokenRNNTower`.
        source: the same for the source; None: the source has no effect, as in the authors' recurrent system.
        width: of the products.
        dropout: rate, active with a `dropout` stream.
    """

    target: nn.Module
    source: nn.Module | None
    mixing: Literal["joint", "additive"] = "joint"
    width: int = 128
    dropout: float = 0.25

    @nn.compact
    def __call__(self, tokens: Array, context: Array) -> Array:
        features = [self.target(tokens)]
        if self.source is not None:
            features.append(self.source(context))
        if self.mixing == "additive" or len(features) == 1:
            h = jnp.concatenate([Highway(name=f"highway{i}")(part) for i, part in enumerate(features)], -1)
        else:
            products = [nn.Dense(self.width, name=f"product{i}")(part) for i, part in enumerate(features)]
            h = jnp.concatenate([*features, products[0] * products[1]], -1)
            h = Highway(name="highway")(h)
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
        return nn.Dense(1, name="last")(h)[..., 0]
