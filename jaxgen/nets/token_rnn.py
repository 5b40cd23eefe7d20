"""A recurrent network over tokens as an autoregressive distribution, log p(s|c) = sum_t log p(s_t | s_<t, c)."""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array
from jaxgen.nets.beginning import Beginning
from jaxgen.nets.recurrent import CELLS
from jaxgen.sharding import full_batch
from jaxgen.tokens import log_probs_of


class TokenRNN(nn.Module):
    """Tokens [B, T], integers 0..K-1, to the logits of each given those before it, [B, T, K] float32.

    The first position's input is a learned vector, to which a context [B, D] is added after a linear map. Sample with
    `sample_tokens`. Source: Mikolov et al. 2010, "Recurrent neural network based language model"; with these cells it
    is the generator of SeqGAN (Yu et al. 2017, section 3.3).

    Attributes:
        num_tokens: K.
        length: of samples; T is not bounded by it.
        width: units of the cell.
        embedding_width: of the tokens' vectors; None: `width`.
        cell: `lstm` (Hochreiter and Schmidhuber 1997) or `gru` (Cho et al. 2014).
        dropout: rate for the cell's inputs and outputs, active with a `dropout` stream.
        initial_std: all parameters, biases too, are initially normal with this standard deviation, 0.1 in SeqGAN's
            generator and 1 in its oracle; None: the layers' own initialisers.
    """

    num_tokens: int
    length: int
    width: int = 128
    embedding_width: int | None = None
    cell: Literal["lstm", "gru"] = "lstm"
    dropout: float = 0.0
    initial_std: float | None = None

    def setup(self):
        check_counts(num_tokens=self.num_tokens, length=self.length, width=self.width)
        embedding_width = self.width if self.embedding_width is None else self.embedding_width
        of_cell, of_layer, of_embedding, of_beginning = {}, {}, {}, {}
        if self.initial_std is not None:
            check_number("initial_std", self.initial_std, 0, above=True)
            normal = nn.initializers.normal(self.initial_std)
            of_layer = {"kernel_init": normal, "bias_init": normal}
            of_cell = {**of_layer, "recurrent_kernel_init": normal}
            of_embedding, of_beginning = {"embedding_init": normal}, {"initializer": normal}
        self.beginning = Beginning(embedding_width, **of_beginning)
        self.embed = nn.Embed(self.num_tokens, embedding_width, **of_embedding)
        self.one = CELLS[self.cell](self.width, **of_cell)
        self.all = nn.RNN(self.one)
        self.last = nn.Dense(self.num_tokens, dtype=jnp.float32, **of_layer)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, tokens: Array, context: Array | None = None) -> Array:
        """The logits of all positions."""
        carry, first = self.begin(tokens[:, 0], context)
        x = jnp.concatenate([first[:, None], self.embed(tokens[:, :-1])], 1)
        return self.last(self._dropped(self.all(self._dropped(x), initial_carry=carry)))

    def log_probs(self, tokens: Array, context: Array | None = None) -> Array:
        """log p(s_t | s_<t, context) of each token: [B, T] float32."""
        return log_probs_of(self(tokens, context), tokens)

    def begin(self, rows: Array, context: Array | None = None) -> tuple[Any, Array]:
        """The carry and the input of the first position, for as many sequences as `rows` [B] has."""
        first = self.beginning(rows, context)
        zeros = full_batch(first, 0, (self.width,))
        return ((zeros, zeros) if self.cell == "lstm" else zeros), first

    def step(self, carry: Any, x: Array) -> tuple[Any, Array]:
        """The logits [B, K] of the next position, from its input [B, embedding_width]."""
        carry, h = self.one(carry, self._dropped(x))
        return carry, self.last(self._dropped(h))

    def embedding(self, tokens: Array) -> Array:
        """The input of the position after each token: [B] to [B, embedding_width]."""
        return self.embed(tokens)

    def _dropped(self, x: Array) -> Array:
        return self.drop(x, deterministic=not self.has_rng("dropout"))
