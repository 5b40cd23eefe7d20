"""An attention encoder-decoder: sequences of tokens given others, log p(y|x) = sum_t log p(y_t | y_<t, x).

Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to Align and Translate", appendix A. With the
annotations h_j of the source and the decoder's states s_t:

    h_j    = [forward GRU(x_1 .. x_j), backward GRU(x_S .. x_j)]
    a_tj   = softmax_j(v . tanh(W s_{t-1} + U h_j)),   c_t = sum_j a_tj h_j
    s_t    = GRU(s_{t-1}, [y_{t-1}, c_t]),             s_0 = tanh(V h_1's backward half)
    logits = O tanh(A s_t + B y_{t-1} + C c_t)

In the paper a layer of maxima (maxout) takes the place of the last tanh.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_integers, check_counts
from jaxgen.contracts import Array
from jaxgen.nets.initializers import standard_normal
from jaxgen.sharding import full_batch
from jaxgen.tokens import log_probs_of, token_mask

Cell = Literal["gru", "lstm"]
Carry = Any
"""The state of a cell: h [B, W] of a GRU, (c, h) of an LSTM."""
GATES = {"gru": 3, "lstm": 4}
"""By cell."""


def _orthogonal_blocks(key: jax.Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """An orthogonal matrix for each gate, [W, gates W]."""
    width, columns = shape
    keys = jax.random.split(key, columns // width)
    return jnp.concatenate([nn.initializers.orthogonal()(k, (width, width), dtype) for k in keys], 1)


class GatedCell(nn.Module):
    """A GRU or LSTM whose input's part of the gates is computed outside, for all positions in one product.

    Attributes:
        cell: `gru` (Cho et al. 2014), with the reset gate after the product, or `lstm` (Hochreiter and Schmidhuber
            1997).
    """

    width: int
    cell: Cell = "gru"

    @nn.compact
    def __call__(self, carry: Carry, gates: Array) -> tuple[Carry, Array]:
        """One position, from the carry and the input's part of the gates [B, gates W], with biases: the next state."""
        h = carry if self.cell == "gru" else carry[1]
        biased = self.cell == "gru"
        recurrent = nn.Dense(gates.shape[-1], biased, kernel_init=_orthogonal_blocks, name="recurrent")(h)
        if self.cell == "gru":
            reset, update, new = jnp.split(gates, 3, -1)
            of_reset, of_update, of_new = jnp.split(recurrent, 3, -1)
            update = nn.sigmoid(update + of_update)
            new = jnp.tanh(new + nn.sigmoid(reset + of_reset) * of_new)
            h = update * h + (1 - update) * new
            return h, h
        update, forget, output, new = jnp.split(gates + recurrent, 4, -1)
        c = nn.sigmoid(forget) * carry[0] + nn.sigmoid(update) * jnp.tanh(new)
        h = nn.sigmoid(output) * jnp.tanh(c)
        return (c, h), h


def _scanned(cell: nn.Module, carry: Carry, inputs: Any, reverse: bool = False) -> tuple[Carry, Any]:
    """`cell(carry, input)` over the second axis of inputs [B, T, ...], with the same parameters at each position."""
    scan = nn.scan(
        lambda cell, carry, x: cell(carry, x), variable_broadcast="params", split_rngs={"params": False}, in_axes=1,
        out_axes=1, reverse=reverse,
    )  # fmt: skip
    return scan(cell, carry, inputs)


class _MaskedCell(nn.Module):
    """A cell whose state stays as it is at masked positions."""

    inner: GatedCell

    def __call__(self, carry: Carry, inputs: tuple[Array, Array]) -> tuple[Carry, Array]:
        gates, mask = inputs
        new, h = self.inner(carry, gates)
        here = mask[:, None] > 0
        return jax.tree.map(lambda a, b: jnp.where(here, a, b), new, carry), h


class BidirectionalEncoder(nn.Module):
    """Tokens [B, S] to annotations [B, S, 2 width], and the backward state [B, width] that has seen all of them.

    What follows the first `end` is padding and has no effect on the annotations before it.

    Attributes:
        num_tokens: the tokens are 0 .. num_tokens - 1.
        width: units of the cell of a direction.
        embedding_width: None: `width`.
        end: None: sequences have no padding.
        dropout: rate for the tokens' vectors, active with a `dropout` stream.
    """

    num_tokens: int
    width: int = 256
    embedding_width: int | None = None
    cell: Cell = "gru"
    end: int | None = 0
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: Array) -> tuple[Array, Array]:
        tokens = as_integers("B S", tokens=tokens)
        embedding_width = self.embedding_width or self.width
        x = nn.Embed(self.num_tokens, embedding_width, embedding_init=standard_normal, name="embed")(tokens)
        x = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(x)
        mask, annotations = token_mask(tokens, self.end), []
        for name in ("forward", "backward"):
            gates = nn.Dense(GATES[self.cell] * self.width, name=f"{name}_gates")(x)
            masked = _MaskedCell(GatedCell(self.width, self.cell, name=name))
            carry, h = _scanned(masked, zero_state(x[:, 0], self.width, self.cell), (gates, mask), name == "backward")
            annotations.append(h)
        return jnp.concatenate(annotations, -1), carry if self.cell == "gru" else carry[1]


class Memory(NamedTuple):
    """An encoded source: annotations [B, S, 2 W], their keys U h [B, S, W], and 1 for tokens, 0 for padding [B, S]."""

    annotations: Array
    keys: Array
    mask: Array


class _AttentionCell(nn.Module):
    """The decoder's step: attention by the last state, then the cell."""

    width: int
    cell: Cell

    def setup(self):
        self.inner = GatedCell(self.width, self.cell)
        self.query = nn.Dense(self.width, use_bias=False)
        self.energy = nn.Dense(1, use_bias=False)
        self.of_attended = nn.Dense(GATES[self.cell] * self.width, use_bias=False)

    def __call__(self, carry: tuple[Carry, Memory], gates: Array) -> tuple[tuple[Carry, Memory], tuple[Array, Array]]:
        """From the part of the gates that comes from the last token: s_t and c_t."""
        state, memory = carry
        h = state if self.cell == "gru" else state[1]
        energies = self.energy(jnp.tanh(self.query(h)[:, None] + memory.keys))[..., 0]
        weights = nn.softmax(jnp.where(memory.mask > 0, energies, -jnp.inf))
        attended = jnp.einsum("bs,bsw->bw", weights, memory.annotations)
        state, h = self.inner(state, gates + self.of_attended(attended))
        return (state, memory), (h, attended)


class AttentionSeq2Seq(nn.Module):
    """Tokens [B, T] given a source [B, S] to the logits of each token given those before it, [B, T, K] float32.

    The context is the source's tokens. The first position's input is a learned vector. Sample with `sample_tokens`.
    The tokens' vectors are initially N(0, 1): with a standard deviation of 0.1, and as small an output layer, a
    translator predicts no more than the words' frequencies for hundreds of steps; so it passes them within thirty.

    Attributes:
        num_tokens: K.
        num_source_tokens: of the source.
        length: of samples; neither T nor S is bounded by it.
        width: units of the decoder's cell, and of each direction of the encoder.
        embedding_width: of the tokens' vectors, and of the layer before the logits; None: `width`.
        cell: `gru` or `lstm`.
        dropout: rate for the tokens' vectors and for the layer before the logits, active with a `dropout` stream.
        source_end: the source's end token, which is its padding; None: sources have no padding.
    """

    num_tokens: int
    num_source_tokens: int
    length: int
    width: int = 256
    embedding_width: int | None = None
    cell: Cell = "gru"
    dropout: float = 0.0
    source_end: int | None = 0

    def setup(self):
        check_counts(num_tokens=self.num_tokens, num_source_tokens=self.num_source_tokens)
        check_counts(length=self.length, width=self.width)
        width, embedding_width = self.width, self.embedding_width or self.width
        self.encoder = BidirectionalEncoder(
            self.num_source_tokens, width, embedding_width, self.cell, self.source_end, self.dropout
        )
        self.of_annotations = nn.Dense(width)
        self.of_backward = nn.Dense(width)
        self.beginning = self.param("beginning", standard_normal, (embedding_width,))
        self.embed = nn.Embed(self.num_tokens, embedding_width, embedding_init=standard_normal)
        self.of_last = nn.Dense(GATES[self.cell] * width)
        self.attention = _AttentionCell(width, self.cell)
        self.hidden = nn.Dense(embedding_width)
        self.last = nn.Dense(self.num_tokens, dtype=jnp.float32)
        self.drop = nn.Dropout(self.dropout)

    def __call__(self, tokens: Array, context: Array | None = None) -> Array:
        """The logits of all positions; the layers on all of them are one product."""
        carry, first = self.begin(tokens[:, 0], context)
        x = self._dropped(jnp.concatenate([first[:, None], self.embed(tokens[:, :-1])], 1))
        _, (h, attended) = _scanned(self.attention, carry, self.of_last(x))
        return self._logits(h, x, attended)

    def log_probs(self, tokens: Array, context: Array | None = None) -> Array:
        """log p(y_t | y_<t, x) of each token: [B, T] float32."""
        return log_probs_of(self(tokens, context), tokens)

    def begin(self, rows: Array, context: Array | None = None) -> tuple[tuple[Carry, Memory], Array]:
        """The carry, which holds the encoded source, and the input of the first position.

        Raises:
            ValueError: no source, one that is not [B, S], or not as many as `rows` [B].
            TypeError: a source that is not integers.
        """
        if context is None:
            raise ValueError("`context` must be the source's tokens [B, S], got None")
        context = as_integers("B S", {"B": rows.shape[0]}, context=context)
        annotations, backward = self.encoder(context)
        h = jnp.tanh(self.of_backward(backward))
        state = h if self.cell == "gru" else (0 * h, h)
        memory = Memory(annotations, self.of_annotations(annotations), token_mask(context, self.source_end))
        return (state, memory), self.beginning + full_batch(h, 0, self.beginning.shape, h.dtype)

    def step(self, carry: tuple[Carry, Memory], x: Array) -> tuple[tuple[Carry, Memory], Array]:
        """The logits [B, K] of the next position, from its input [B, embedding_width]."""
        x = self._dropped(x)
        carry, (h, attended) = self.attention(carry, self.of_last(x))
        return carry, self._logits(h, x, attended)

    def embedding(self, tokens: Array) -> Array:
        """The input of the position after each token: [B] to [B, embedding_width]."""
        return self.embed(tokens)

    def _logits(self, h: Array, x: Array, attended: Array) -> Array:
        return self.last(self._dropped(jnp.tanh(self.hidden(jnp.concatenate([h, x, attended], -1)))))

    def _dropped(self, x: Array) -> Array:
        return self.drop(x, deterministic=not self.has_rng("dropout"))


def zero_state(x: Array, width: int, cell: Cell, dtype: Any = None) -> Carry:
    """The state before the first position, for as many sequences as x [B, ...] has; by default of its type."""
    zeros = full_batch(x, 0, (width,), x.dtype if dtype is None else dtype)
    return zeros if cell == "gru" else (zeros, zeros)
