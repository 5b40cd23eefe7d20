"""A hierarchical critic of dialogues: words make turns, and turns make a dialogue."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import as_integers, check_counts
from jaxgen.contracts import Array
from jaxgen.nets.seq2seq import GATES, Cell, GatedCell, zero_state
from jaxgen.tokens import token_mask


class TurnCritic(nn.Module):
    """Replies [B, T] to contexts [B, S] to the logits of all prefixes of the replies, [B, T] float32.

    A word network reads each turn from zero, and its last states are the inputs of a network over turns; a linear layer
    on the state after the reply gives the logit, the logarithm of the odds that a human wrote it. The logit at t is
    that of the first t tokens as an unfinished reply: one pass judges all of them. Serban et al. 2016, "Building
    End-to-End Dialogue Systems Using Generative Hierarchical Neural Network Models"; as a critic, also of partial
    replies, Li et al. 2017, "Adversarial Learning for Neural Dialogue Generation", section 3.

    Replies may also be [N B, T]: reply i answers context i mod B, which is read once.

    Attributes:
        num_tokens: of both replies and contexts.
        width: units of both cells.
        embedding_width: of the tokens' vectors; None: `width`.
        separators: tokens that end a turn of the context; the context's end ends its last turn.
        end: the padding of contexts; None: none.
        with_context: False judges replies alone, for comparison.
        dropout: rate for the tokens' vectors, active with a `dropout` stream.
    """

    num_tokens: int
    width: int = 128
    embedding_width: int | None = None
    cell: Cell = "lstm"
    separators: tuple[int, ...] = ()
    end: int | None = 0
    with_context: bool = True
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: Array, context: Array) -> Array:
        check_counts(num_tokens=self.num_tokens, width=self.width)
        tokens, context = as_integers("M T", tokens=tokens), as_integers("B S", context=context)
        (rows, length), contexts = tokens.shape, context.shape[0]
        if rows % contexts:
            raise ValueError(f"`tokens` must have a multiple of the {contexts} contexts, got shape {tokens.shape}")
        embed = nn.Embed(self.num_tokens, self.embedding_width or self.width, name="embed")
        gates = nn.Dense(GATES[self.cell] * self.width, name="word_gates")
        drop = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))
        cells = _TurnCells(self.width, self.cell, name="cells")
        begin_words, turns = (zero_state(of, self.width, self.cell, jnp.float32) for of in (tokens, context))
        _, h = _scanned(cells, begin_words, gates(drop(embed(tokens))), "word")  # h [M, T, W]
        if self.with_context:
            turns_end = ends_of_turns(context, self.separators, self.end)
            begin = (turns, turns)
            (_, turns), _ = _scanned(cells, begin, (gates(drop(embed(context))), turns_end), "of_context")
        h = h.reshape(rows // contexts, contexts, length, self.width)
        turns = jax.tree.map(lambda state: state[None, :, None], turns)
        after = cells.turn(turns, h)
        return nn.Dense(1, dtype=jnp.float32, name="last")(after)[..., 0].reshape(rows, length)


class _TurnCells(nn.Module):
    """The cell of words and the cell of turns."""

    width: int
    cell: Cell

    def setup(self):
        self.word_cell, self.turn_cell = (GatedCell(self.width, self.cell) for _ in range(2))
        self.turn_gates = nn.Dense(GATES[self.cell] * self.width)

    def word(self, carry: Any, gates: Array) -> tuple[Any, Array]:
        return self.word_cell(carry, gates)

    def turn(self, carry: Any, h: Array) -> Array:
        """The state after a turn whose last word's state is h."""
        return self._turn(carry, h)[1]

    def of_context(self, carry: tuple[Any, Any], inputs: tuple[Array, Array]) -> tuple[tuple[Any, Any], None]:
        words, turns = carry
        gates, turn_ends = inputs
        words, h = self.word_cell(words, gates)
        after, _ = self._turn(turns, h)
        turn_ends = turn_ends[:, None]
        turns = jax.tree.map(lambda new, old: jnp.where(turn_ends, new, old), after, turns)
        return (jax.tree.map(lambda state: jnp.where(turn_ends, 0, state), words), turns), None

    def _turn(self, carry: Any, h: Array) -> tuple[Any, Array]:
        return self.turn_cell(carry, self.turn_gates(h))


def ends_of_turns(context: Array, separators: tuple[int, ...], end: int | None) -> Array:
    """Whether a turn ends at each token of contexts [B, S]: at separators, and at the last token before `end`."""
    is_token = jnp.ones(context.shape, bool) if end is None else (token_mask(context, end) > 0) & (context != end)
    last = is_token & ~jnp.pad(is_token[:, 1:], ((0, 0), (0, 1)))
    return last | (is_token & jnp.isin(context, jnp.array(separators, context.dtype)))


def _scanned(cells: _TurnCells, carry: Any, inputs: Any, method: str) -> tuple[Any, Any]:
    """A method of the cells over the second axis of inputs [B, T, ...]."""
    scan = nn.scan(
        lambda cells, carry, x: getattr(cells, method)(carry, x), variable_broadcast="params",
        split_rngs={"params": False}, in_axes=1, out_axes=1,
    )  # fmt: skip
    return scan(cells, carry, inputs)

