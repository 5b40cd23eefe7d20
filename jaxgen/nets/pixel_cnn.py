"""The gated PixelCNN: an autoregressive distribution over grids of codes, in raster order.

    log p(c) = sum_ij log p(c_ij | c_kl before ij)

The receptive field of the vertical stack is all rows above, that of the horizontal stack the codes to the left in the
same row and, at each layer, the vertical stack's features at the same position: together they have no blind spot. In
place of masked kernels, inputs are shifted by one position and kernels have only the causal half. Source:
van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", arXiv:1606.05328, section 2.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import broadcast_context
from jaxgen.contracts import Array, Collections, Key
from jaxgen.convolution import conv_general_dilated
from jaxgen.sharding import full_batch, vary_like


class GatedBlock(nn.Module):
    """One layer of both stacks, on padded inputs: convolutions are "VALID".

    Attributes:
        width: channels of each stack.
        size: kernel size, odd; the vertical kernel is [s + 1, size], the horizontal one [1, s + 1], `s = size // 2`.
        dropout: rate for the gated units of the horizontal stack, active with a `dropout` stream.
    """

    width: int
    size: int
    dropout: float = 0.0

    def setup(self):
        def convolution(rows: int, columns: int) -> nn.Conv:
            shape = (rows, columns)
            return nn.Conv(2 * self.width, shape, padding="VALID", conv_general_dilated=conv_general_dilated)

        reach = self.size // 2
        self.from_above = convolution(reach + 1, self.size)
        self.from_left = convolution(1, reach + 1)
        self.down = nn.Dense(2 * self.width)
        self.of_context = nn.Dense(4 * self.width, use_bias=False)
        self.out = nn.Dense(self.width)
        self.drop = nn.Dropout(self.dropout)

    def vertical(self, v: Array, context: Array | None) -> tuple[Array, Array]:
        """Padded rows [B, H + s, W + 2 s, width] to the next layer's rows and the input of the horizontal stack.

        Returns:
            [B, H, W, width] and [B, H, W, 2 width].
        """
        v = self.from_above(v)
        h_input = self.down(v)
        if context is not None:
            for_v, for_h = jnp.split(self.of_context(context), 2, -1)
            v, h_input = v + for_v, h_input + for_h
        return _gated(v), h_input

    def horizontal(self, h: Array, h_input: Array) -> Array:
        """Padded rows [B, H, W + s, width] and the output of `vertical` to the next layer's rows [B, H, W, width]."""
        new = self.drop(_gated(self.from_left(h) + h_input), deterministic=not self.has_rng("dropout"))
        return h[:, :, self.size // 2 :] + self.out(new)


def _gated(x: Array) -> Array:
    value, gate = jnp.split(x, 2, -1)
    return jnp.tanh(value) * nn.sigmoid(gate)


class PixelCNN(nn.Module):
    """Codes [B, H, W], integers 0..K-1, to the logits of each given those before it, [B, H, W, K] float32.

    Initially all codes have the same probability. Sample with `sample_codes`.

    Attributes:
        num_codes: K.
        width: channels of each stack.
        blocks: layers; on grids wider than `blocks * (size // 2)` a row's receptive field does not cover the whole row
            above it.
        size: kernel size, odd.
        dropout: rate in each block, active with a `dropout` stream.

    Raises:
        ValueError: an even size, or one below 3.
    """

    num_codes: int
    width: int = 64
    blocks: int = 5
    size: int = 5
    dropout: float = 0.0

    def setup(self):
        if self.size < 3 or self.size % 2 == 0:
            raise ValueError(f"`size` must be odd and at least 3, got {self.size}")
        self.embed = nn.Embed(self.num_codes, self.width)
        self.stack = [GatedBlock(self.width, self.size, self.dropout) for _ in range(self.blocks)]
        self.hidden = nn.Dense(self.width)
        self.last = nn.Dense(self.num_codes, kernel_init=nn.initializers.zeros, dtype=jnp.float32)

    def __call__(self, codes: Array, context: Array | None = None) -> Array:
        """The logits; the context is [B, D], for all positions, or [B, H, W, D]."""
        return self.of_vectors(self.embed(codes), context)

    def of_vectors(self, x: Array, context: Array | None = None) -> Array:
        """The logits, from the embeddings of codes, [B, H, W, width]."""
        reach = self.size // 2
        if context is not None:
            context = at_positions(context, x)
        # shifted by one position, down and right, so that no position depends on itself
        v = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
        h = jnp.pad(x[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
        for block in self.stack:
            v, h_input = block.vertical(jnp.pad(v, ((0, 0), (reach, 0), (reach, reach), (0, 0))), context)
            h = block.horizontal(jnp.pad(h, ((0, 0), (0, 0), (reach, 0), (0, 0))), h_input)
        return self._logits(h)

    def _logits(self, h: Array) -> Array:
        return self.last(nn.relu(self.hidden(nn.relu(h))))

    def row(self, above: Array, cache: tuple[Array, ...], i: Array, context: Array | None):
        """Row i of the vertical stack, from the codes of the row above [B, W].

        Args:
            cache: by block, its padded input [B, H + s, W + 2 s, width], filled before row i.
            context: [B, 1, W, D].

        Returns:
            `cache` with row i, and by block the input of the horizontal stack, [B, 1, W, 2 width].
        """
        reach, filled, h_inputs = self.size // 2, [], []
        # the row above the first is padding
        v = jnp.where(i > 0, self.embed(above)[:, None], 0)
        for block, rows in zip(self.stack, cache, strict=True):
            rows = lax.dynamic_update_slice(rows, v.astype(rows.dtype), (0, i + reach, reach, 0))
            v, h_input = block.vertical(lax.dynamic_slice_in_dim(rows, i, reach + 1, 1), context)
            filled.append(rows)
            h_inputs.append(h_input)
        return tuple(filled), tuple(h_inputs)

    def position(self, left: Array, cache: tuple[Array, ...], h_inputs: tuple[Array, ...], j: Array):
        """The logits of position j of a row, from the code to its left [B].

        Args:
            cache: by block, its padded input [B, 1, W + s, width], filled before position j.
            h_inputs: the second output of `row`.

        Returns:
            `cache` with position j, and the logits [B, K].
        """
        reach, filled = self.size // 2, []
        h = jnp.where(j > 0, self.embed(left)[:, None, None], 0)
        for block, columns, h_input in zip(self.stack, cache, h_inputs, strict=True):
            columns = lax.dynamic_update_slice(columns, h.astype(columns.dtype), (0, 0, j + reach, 0))
            window = lax.dynamic_slice_in_dim(columns, j, reach + 1, 2)
            h = block.horizontal(window, lax.dynamic_slice_in_dim(h_input, j, 1, 2))
            filled.append(columns)
        return tuple(filled), self._logits(h)[:, 0, 0]


def at_positions(context: Array, grid: Array) -> Array:
    """A context [B, D] or [B, H, W, D] at each position of a grid [B, H, W, ...], [B, H, W, D]; B may be 1 for all.

    Raises:
        ValueError: another shape.
    """
    context, shape = broadcast_context(context, grid), grid.shape[:3]
    if context.ndim == 2:
        context = context[:, None, None]
    if context.ndim != 4 or any(c not in (1, n) for c, n in zip(context.shape, shape)):
        raise ValueError(f"`context` must be [B, D] or [B, H, W, D] for codes {shape}, got {context.shape}")
    return jnp.broadcast_to(context, (*shape, context.shape[-1]))


def sample_codes(
    network: PixelCNN, variables: Collections, key: Key, shape: tuple[int, int, int], context: Array | None = None
) -> Array:
    """Samples codes, int32 with `shape` [n, H, W], position by position, at the cost of one pass of the network.

    Each layer is computed once per position, as soon as its inputs are known. The key of position i, in raster order,
    is `fold_in(key, i)`.
    """
    _, height, width = shape
    reach, channels = network.size // 2, network.width
    blank = jnp.zeros(shape, jnp.int32)
    if context is not None:
        context = at_positions(context, blank)
        blank = full_batch(context, 0, shape[1:], jnp.int32)
    blank = vary_like(blank, key, variables)

    def sample_row(i, state):
        codes, cache = state
        row_context = None if context is None else lax.dynamic_slice_in_dim(context, i, 1, 1)
        # row i - 1; not used for i = 0
        above = lax.dynamic_index_in_dim(codes, jnp.maximum(i - 1, 0), 1, keepdims=False)
        cache, h_inputs = network.apply(variables, above, cache, i, row_context, method="row")

        def sample_position(j, state):
            codes, row_cache = state
            left = codes[:, i, jnp.maximum(j - 1, 0)]
            row_cache, logits = network.apply(variables, left, row_cache, h_inputs, j, method="position")
            code = jax.random.categorical(jax.random.fold_in(key, i * width + j), logits)
            return codes.at[:, i, j].set(code.astype(codes.dtype)), row_cache

        row = tuple(full_batch(blank, 0, (1, width + reach, channels), jnp.float32) for _ in range(network.blocks))
        codes, _ = lax.fori_loop(0, width, sample_position, (codes, row))
        return codes, cache

    rows = tuple(
        full_batch(blank, 0, (height + reach, width + 2 * reach, channels), jnp.float32) for _ in range(network.blocks)
    )
    codes, _ = lax.fori_loop(0, height, sample_row, (blank, rows))
    return codes
