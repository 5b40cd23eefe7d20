"""Causal transformers: over vectors, and over tokens as an autoregressive distribution, sampled with a cache.

    log p(s|c) = sum_t log p(s_t | s_<t, c)

Blocks are pre-normalised: x + attention(norm(x)), then x + mlp(norm(x)), with a GELU and 4 times the width between the
two layers of the MLP. Source: Vaswani et al. 2017, "Attention Is All You Need"; in this form Radford et al. 2019,
"Language Models are Unsupervised Multitask Learners", section 2.3.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array
from jaxgen.nets.beginning import Beginning
from jaxgen.nets.initializers import small_normal
from jaxgen.precision import at_least_float32
from jaxgen.sharding import full_batch
from jaxgen.tokens import log_probs_of

Past = tuple[Array, Array]
"""The keys and values of a layer, [B, T, heads, width / heads] each."""


class Cache(NamedTuple):
    """The keys and values of the positions before `position`, int32, by layer: [layers, B, T, heads, width / heads]."""

    position: Array
    keys: Array
    values: Array


class TransformerBlock(nn.Module):
    """[B, S, W] to itself: each position attends to itself and those before it."""

    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, past: Past | None, position: Array | None) -> tuple[Array, Past | None]:
        """All positions at once, or with a cache the one at `position`, [B, 1, W].

        Returns:
            The output, and with a cache the keys and values at `position`, [B, heads, W / heads].
        """
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        width = x.shape[-1]
        projected = nn.Dense(3 * width, kernel_init=small_normal, name="qkv")(nn.LayerNorm()(x))
        projected = projected.reshape(*x.shape[:-1], 3, self.heads, width // self.heads)
        query, key, value = (projected[..., i, :, :] for i in range(3))
        new = None if past is None else (key[:, 0], value[:, 0])
        if past is None:
            seen = jnp.tril(jnp.ones((x.shape[1],) * 2, bool))
        else:
            key, value = (
                lax.dynamic_update_slice_in_dim(old, now.astype(old.dtype), position, 1)
                for old, now in zip(past, (key, value), strict=True)
            )
            seen = jnp.arange(key.shape[1]) <= position
        scores = at_least_float32(jnp.einsum("bqhd,bkhd->bhqk", query / (width // self.heads) ** 0.5, key))
        weights = nn.softmax(jnp.where(seen, scores, -jnp.inf)).astype(x.dtype)
        attended = jnp.einsum("bhqk,bkhd->bqhd", drop(weights), value).reshape(x.shape)
        x = x + drop(nn.Dense(width, kernel_init=small_normal, name="out")(attended))
        h = nn.gelu(nn.Dense(4 * width, kernel_init=small_normal, name="expand")(nn.LayerNorm()(x)))
        return x + drop(nn.Dense(width, kernel_init=small_normal, name="contract")(h)), new


class CausalTransformer(nn.Module):
    """A causal network: [B, T, D] to [B, T, width], T at most `length`; the output at t depends on inputs up to t.

    Positions are learned vectors. Compiled, all layers are one loop: the depth costs no compile time.

    Attributes:
        length: the greatest T, the size of the cache of `start`.
        width: features, divisible by `heads`.
        dropout: rate for embeddings, attention weights and the outputs of each layer, active with a `dropout` stream.

    Raises:
        ValueError: `heads` that do not divide `width`; sequences longer than `length`.
    """

    length: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0

    def setup(self):
        check_counts(length=self.length, width=self.width, layers=self.layers, heads=self.heads)
        if self.width % self.heads:
            raise ValueError(f"`width` must be a multiple of heads={self.heads}, got {self.width}")
        self.first = nn.Dense(self.width, kernel_init=small_normal)
        self.positions = self.param("positions", small_normal, (self.length, self.width))
        self.drop = nn.Dropout(self.dropout)
        scanned = nn.scan(
            TransformerBlock, length=self.layers, variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True}, in_axes=(0, nn.broadcast),
        )  # fmt: skip
        self.blocks = scanned(self.heads, self.dropout)
        self.norm = nn.LayerNorm()

    def __call__(self, x: Array) -> Array:
        return self.of_embeddings(self.first(x))

    def step(self, carry: Cache, x: Array) -> tuple[Cache, Array]:
        """The next position, [B, D] to [B, width]."""
        return self.step_of_embedding(carry, self.first(x))

    def start(self, batch_size: int) -> Cache:
        """The empty cache."""
        shape = (self.layers, batch_size, self.length, self.heads, self.width // self.heads)
        return Cache(jnp.int32(0), jnp.zeros(shape), jnp.zeros(shape))

    def of_embeddings(self, x: Array) -> Array:
        """All positions of inputs that have the width already."""
        if x.shape[1] > self.length:
            raise ValueError(f"sequences must have at most length={self.length} positions, got {x.shape[1]}")
        x = self._placed(x, self.positions[: x.shape[1]])
        return self.norm(self.blocks(x, None, None)[0])

    def step_of_embedding(self, cache: Cache, x: Array) -> tuple[Cache, Array]:
        """The next position of inputs that have the width already, [B, width] to itself."""
        position, *past = cache
        x = self._placed(x, lax.dynamic_index_in_dim(self.positions, position, keepdims=False))
        x, new = self.blocks(x[:, None], tuple(past), position)
        past = (
            lax.dynamic_update_slice_in_dim(old, now[:, :, None].astype(old.dtype), position, 2)
            for old, now in zip(past, new, strict=True)
        )
        return Cache(position + 1, *past), self.norm(x[:, 0])

    def _placed(self, x: Array, positions: Array) -> Array:
        return self.drop(x + positions.astype(x.dtype), deterministic=not self.has_rng("dropout"))


class TokenTransformer(nn.Module):
    """Tokens [B, T], integers 0..K-1, to the logits of each given those before it, [B, T, K] float32; T <= `length`.

    The first position's input is a learned vector, to which a context [B, D], such as a one-hot class, is added after a
    linear map: it takes the place of a first token. Initially all tokens have the same probability. Sample with
    `sample_tokens`.

    Attributes:
        num_tokens: K.
        length, width, layers, heads, dropout: of the `CausalTransformer`.
    """

    num_tokens: int
    length: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0

    def setup(self):
        check_counts(num_tokens=self.num_tokens)
        self.embed = nn.Embed(self.num_tokens, self.width, embedding_init=small_normal)
        self.beginning = Beginning(self.width)
        self.network = CausalTransformer(self.length, self.width, self.layers, self.heads, self.dropout)
        self.last = nn.Dense(self.num_tokens, use_bias=False, kernel_init=nn.initializers.zeros, dtype=jnp.float32)

    def __call__(self, tokens: Array, context: Array | None = None) -> Array:
        """The logits of all positions, in one pass."""
        embedded = self.embed(tokens)
        first = self.beginning(full_batch(tokens), context)
        h = self.network.of_embeddings(jnp.concatenate([first[:, None], embedded[:, :-1]], 1))
        return self.last(h)

    def log_probs(self, tokens: Array, context: Array | None = None) -> Array:
        """log p(s_t | s_<t, context) of each token, in one pass: [B, T] float32."""
        return log_probs_of(self(tokens, context), tokens)

    def begin(self, rows: Array, context: Array | None = None) -> tuple[Cache, Array]:
        """The empty cache and the input of the first position, for as many sequences as `rows` [B] has."""
        first = self.beginning(rows, context)
        past = full_batch(first, 0, (self.length, self.heads, self.width // self.heads))
        past = jnp.broadcast_to(past, (self.layers, *past.shape))
        return Cache(jnp.int32(0), past, past), first

    def step(self, cache: Cache, x: Array) -> tuple[Cache, Array]:
        """The logits [B, K] of the next position, from its input [B, width]: the first one, or the last token's."""
        cache, h = self.network.step_of_embedding(cache, x)
        return cache, self.last(h)

    def embedding(self, tokens: Array) -> Array:
        """The input of the position after each token: [B] to [B, width]."""
        return self.embed(tokens)
