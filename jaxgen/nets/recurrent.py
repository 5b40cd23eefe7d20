"""Networks over sequences [B, T, D]: recurrent encoders, causal networks, and an autoregressive decoder on top of them.

The output of a causal network at t depends on its inputs up to t. It has two equivalent methods: `__call__` maps
[B, T, D] to [B, T, F] at once, for teacher forcing; `step` maps one position [B, D] to [B, F] with a carry, initially
`start(batch_size)`, for sampling.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.sharding import shard_like

CELLS = {"gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}


def _zero_carry(cell: nn.RNNCellBase, batch_size: int) -> Any:
    # the carry is zero and the key is not used
    return cell.initialize_carry(jax.random.key(0), (batch_size, 1))


def initial_carry(cell: nn.RNNCellBase, x: jax.Array) -> Any:
    """The initial carry for x [B, T, D], sharded as x."""
    return shard_like(_zero_carry(cell, x.shape[0]), x)


class RecurrentEncoder(nn.Module):
    """[B, T, ...] to [B, width]: the last output of a recurrent network; event axes are flattened.

    Attributes:
        cell: `gru` (Cho et al. 2014) or `lstm` (Hochreiter and Schmidhuber 1997).
    """

    width: int = 128
    cell: Literal["gru", "lstm"] = "gru"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        cell, x = CELLS[self.cell](self.width), x.reshape(*x.shape[:2], -1)
        return nn.RNN(cell)(x, initial_carry=initial_carry(cell, x))[:, -1]


class RecurrentDecoder(nn.Module):
    """A causal network: the outputs of a recurrent network, [B, T, D] to [B, T, width].

    Attributes:
        cell: as in `RecurrentEncoder`.
    """

    width: int = 128
    cell: Literal["gru", "lstm"] = "gru"

    def setup(self):
        self.one = CELLS[self.cell](self.width)
        self.all = nn.RNN(self.one)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.all(x, initial_carry=initial_carry(self.one, x))

    def start(self, batch_size: int) -> Any:
        return _zero_carry(self.one, batch_size)

    def step(self, carry: Any, x: jax.Array) -> tuple[Any, jax.Array]:
        return self.one(carry, x)


class CausalDecoder(nn.Module):
    """A causal network: gated residual dilated convolutions of kernel size 2, [B, T, D] to [B, T, width].

    The output at t depends on the last 1 + sum(dilations) inputs. van den Oord et al. 2016, "WaveNet", section 2; as
    the decoder of a VAE: Yang et al. 2017, "Improved Variational Autoencoders for Text Modeling using Dilated
    Convolutions".
    """

    width: int = 128
    dilations: tuple[int, ...] = (1, 2, 4, 8)

    def setup(self):
        self.first = nn.Dense(self.width)
        self.gated = [nn.Dense(2 * self.width) for _ in self.dilations]

    def __call__(self, x: jax.Array) -> jax.Array:
        h = self.first(x)
        for layer, dilation in zip(self.gated, self.dilations, strict=True):
            before = jnp.pad(h, ((0, 0), (dilation, 0), (0, 0)))[:, : h.shape[1]]
            h = self._residual(layer, h, before)
        return h

    def start(self, batch_size: int) -> tuple[jax.Array, ...]:
        """The last `dilation` inputs of each layer."""
        return tuple(jnp.zeros((batch_size, dilation, self.width)) for dilation in self.dilations)

    def step(self, carry: tuple[jax.Array, ...], x: jax.Array) -> tuple[tuple[jax.Array, ...], jax.Array]:
        h, queues = self.first(x), []
        for layer, queue in zip(self.gated, carry, strict=True):
            queues.append(jnp.concatenate([queue[:, 1:], h[:, None]], 1))
            h = self._residual(layer, h, queue[:, 0])
        return tuple(queues), h

    def _residual(self, layer: nn.Dense, h: jax.Array, before: jax.Array) -> jax.Array:
        value, gate = jnp.split(layer(jnp.concatenate([h, before], -1)), 2, -1)
        return h + jnp.tanh(value) * jax.nn.sigmoid(gate)


class Autoregressive(nn.Module):
    """A causal network as a decoder: the parameters of p(x_t | x_<t, z) at each position t, by a shared dense layer.

    The event's first `axes` axes are its positions, in their order; the coordinates of a position are independent. The
    inputs at a position are z, the values of the previous position, and a one; values and one are zero at the first
    position and if dropped (word dropout without rescaling, Bowman et al. 2016, section 3.1).

    Attributes:
        num_params: parameters per coordinate.
        dropout: the fraction of positions whose inputs are dropped, active with a `dropout` stream.
    """

    network: nn.Module
    event_shape: tuple[int, ...]
    num_params: int
    axes: int = 1
    dropout: float = 0.0

    def setup(self):
        self.head = nn.Dense(math.prod(self.event_shape[self.axes :]) * self.num_params)

    def __call__(self, inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        """All positions from z [B, L] and the values [B, T, V] of all positions: [B, *event_shape, num_params]."""
        z, values = inputs
        marked = mark(values)
        if self.dropout and self.has_rng("dropout"):
            marked *= jax.random.bernoulli(self.make_rng("dropout"), 1 - self.dropout, (*marked.shape[:2], 1))
        before = jnp.pad(marked, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        z_per_position = jnp.broadcast_to(z[:, None], (*before.shape[:2], z.shape[-1]))
        h = self.network(jnp.concatenate([before, z_per_position], -1))
        return self.head(h).reshape(z.shape[0], *self.event_shape, self.num_params)

    def start(self, batch_size: int) -> Any:
        return self.network.start(batch_size)

    def step(self, carry: Any, z: jax.Array, before: jax.Array) -> tuple[Any, jax.Array]:
        """One position from z and `mark` [B, V + 1] of the previous one's values: [B, coordinates, num_params]."""
        carry, h = self.network.step(carry, jnp.concatenate([before, z], -1))
        return carry, self.head(h).reshape(z.shape[0], -1, self.num_params)


def mark(values: jax.Array) -> jax.Array:
    """Appends a one to values [..., V]: [..., V + 1]."""
    return jnp.concatenate([values, jnp.ones_like(values[..., :1])], -1)
