"""The gated PixelCNN: an autoregressive distribution over grids of codes, in raster order.

    log p(c) = sum_ij log p(c_ij | c_kl before ij)

A vertical stack sees all rows above, a horizontal stack the codes to the left in the same row and, at each layer, the
vertical stack's features at the place: together the receptive field has no blind spot. Instead of masking kernels, the
inputs are shifted by one place, kernels have only the half that looks back, and padding is zero. Source:
van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders", arXiv:1606.05328, section 2.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.arguments import context_rows
from jaxgen.contracts import Array, Collections, Key
from jaxgen.sharding import full_batch, vary_like
from jaxgen.convolution import conv_general_dilated


class GatedBlock(nn.Module):
    """One layer of both stacks, on padded inputs: convolutions are "VALID".

    Attributes:
        width: channels of each stack.
        size: of the kernels, odd; the vertical one is [s + 1, size], the horizontal one [1, s + 1], `s = size // 2`.
        dropout: rate for the gated units of the horizontal stack, if there is a `dropout` stream.
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
        """Padded rows [B, H + s, W + 2 s, width] to those of the next layer and to the input of the horizontal stack.

        Returns:
            [B, H, W, width] and [B, H, W, 2 width].
        """
        v = self.from_above(v)
        given = self.down(v)
        if context is not None:
            for_v, for_h = jnp.split(self.of_context(context), 2, -1)
            v, given = v + for_v, given + for_h
        return _gated(v), given

    def horizontal(self, h: Array, given: Array) -> Array:
        """A padded row [B, H, W + s, width] and the output of `vertical` to the next layer's row [B, H, W, width]."""
        new = self.drop(_gated(self.from_left(h) + given), deterministic=not self.has_rng("dropout"))
        return h[:, :, self.size // 2 :] + self.out(new)


def _gated(x: Array) -> Array:
    value, gate = jnp.split(x, 2, -1)
    return jnp.tanh(value) * nn.sigmoid(gate)


class PixelCNN(nn.Module):
    """Codes [B, H, W], integers 0..K-1, to the logits of each given those before it, [B, H, W, K] float32.

    At initialisation all codes have the same probability. `sample_codes` samples from it.

    Attributes:
        num_codes: K.
        width: channels of each stack.
        blocks: layers; on a grid wider than `blocks * (size // 2)` the distant codes of the row above are visible only
            from rows further down.
        size: of the kernels, odd.
        dropout: rate in each block, if there is a `dropout` stream.

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
        """The logits; the context is [B, D], for all places, or [B, H, W, D]."""
        return self.of_vectors(self.embed(codes), context)

    def of_vectors(self, x: Array, context: Array | None = None) -> Array:
        """The logits, from a vector for each code, [B, H, W, width]."""
        reach = self.size // 2
        if context is not None:
            context = at_places(context, x)
        # shifted by one place, down and right, so that no place sees itself
        v = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0), (0, 0)))
        h = jnp.pad(x[:, :, :-1], ((0, 0), (0, 0), (1, 0), (0, 0)))
        for block in self.stack:
            v, given = block.vertical(jnp.pad(v, ((0, 0), (reach, 0), (reach, reach), (0, 0))), context)
            h = block.horizontal(jnp.pad(h, ((0, 0), (0, 0), (reach, 0), (0, 0))), given)
        return self._logits(h)

    def _logits(self, h: Array) -> Array:
        return self.last(nn.relu(self.hidden(nn.relu(h))))

    def row(self, above: Array, seen: tuple[Array, ...], i: Array, context: Array | None):
        """Row i of the vertical stack, from the codes of the row above [B, W].

        Args:
            seen: by block, its padded input [B, H + s, W + 2 s, width], rows before i filled in.
            context: [B, 1, W, D].

        Returns:
            `seen` with row i, and by block the input of the horizontal stack, [B, 1, W, 2 width].
        """
        reach, filled, all_given = self.size // 2, [], []
        # above the first row is padding
        v = jnp.where(i > 0, self.embed(above)[:, None], 0)
        for block, rows in zip(self.stack, seen, strict=True):
            rows = lax.dynamic_update_slice(rows, v.astype(rows.dtype), (0, i + reach, reach, 0))
            v, given = block.vertical(lax.dynamic_slice_in_dim(rows, i, reach + 1, 1), context)
            filled.append(rows)
            all_given.append(given)
        return tuple(filled), tuple(all_given)

    def place(self, left: Array, seen: tuple[Array, ...], given: tuple[Array, ...], j: Array):
        """The logits of place j of a row, from the code to its left [B].

        Args:
            seen: by block, its padded input [B, 1, W + s, width], places before j filled in.
            given: the output of `row`.

        Returns:
            `seen` with place j, and the logits [B, K].
        """
        reach, filled = self.size // 2, []
        h = jnp.where(j > 0, self.embed(left)[:, None, None], 0)
        for block, columns, of_row in zip(self.stack, seen, given, strict=True):
            columns = lax.dynamic_update_slice(columns, h.astype(columns.dtype), (0, 0, j + reach, 0))
            window = lax.dynamic_slice_in_dim(columns, j, reach + 1, 2)
            h = block.horizontal(window, lax.dynamic_slice_in_dim(of_row, j, 1, 2))
            filled.append(columns)
        return tuple(filled), self._logits(h)[:, 0, 0]


def at_places(context: Array, grid: Array) -> Array:
    """A context [B, D] or [B, H, W, D] at each place of a grid [B, H, W, ...], [B, H, W, D]; one row serves all.

    Raises:
        ValueError: another shape.
    """
    context, shape = context_rows(context, grid), grid.shape[:3]
    if context.ndim == 2:
        context = context[:, None, None]
    if context.ndim != 4 or any(c not in (1, n) for c, n in zip(context.shape, shape)):
        raise ValueError(f"`context` must be [B, D] or [B, H, W, D] for codes {shape}, got {context.shape}")
    return jnp.broadcast_to(context, (*shape, context.shape[-1]))


def sample_codes(
    network: PixelCNN, variables: Collections, key: Key, shape: tuple[int, int, int], context: Array | None = None
) -> Array:
    """Samples codes, int32 of the shape [n, H, W], place by place, with the arithmetic of a single pass of the network.

    Each layer is computed once per place, when its inputs are known. The key of place i, in raster order, is
    `fold_in(key, i)`.
    """
    _, height, width = shape
    reach, channels = network.size // 2, network.width
    blank = jnp.zeros(shape, jnp.int32)
    if context is not None:
        context = at_places(context, blank)
        blank = full_batch(context, 0, shape[1:], jnp.int32)
    blank = vary_like(blank, key, variables)

    def draw_row(i, state):
        codes, seen = state
        of_row = None if context is None else lax.dynamic_slice_in_dim(context, i, 1, 1)
        # row i - 1; not used for i = 0
        above = lax.dynamic_index_in_dim(codes, jnp.maximum(i - 1, 0), 1, keepdims=False)
        seen, given = network.apply(variables, above, seen, i, of_row, method="row")

        def draw_place(j, state):
            codes, seen = state
            left = codes[:, i, jnp.maximum(j - 1, 0)]
            seen, logits = network.apply(variables, left, seen, given, j, method="place")
            drawn = jax.random.categorical(jax.random.fold_in(key, i * width + j), logits)
            return codes.at[:, i, j].set(drawn.astype(codes.dtype)), seen

        row = tuple(full_batch(blank, 0, (1, width + reach, channels), jnp.float32) for _ in range(network.blocks))
        codes, _ = lax.fori_loop(0, width, draw_place, (codes, row))
        return codes, seen

    rows = tuple(
        full_batch(blank, 0, (height + reach, width + 2 * reach, channels), jnp.float32) for _ in range(network.blocks)
    )
    codes, _ = lax.fori_loop(0, height, draw_row, (blank, rows))
    return codes
