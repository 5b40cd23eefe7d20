"""Residual-in-residual dense blocks (Wang et al. 2018, "ESRGAN", arXiv:1809.00219, section 3.1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import Conv

_SMALL = nn.initializers.variance_scaling(0.02, "fan_in", "normal")
"""He's initialiser times 0.1, as in the authors' code: a block starts near the identity."""


class ResidualDenseBlock(nn.Module):
    """`x + scale f(x)`, [B, H, W, C] to itself; each of f's five convolutions sees x and the outputs of all before it.

    Attributes:
        growth: channels of each of the first four, which a leaky ReLU of slope 0.2 follows.
        scale: of the residual.
    """

    growth: int = 32
    scale: float = 0.2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h = x
        for _ in range(4):
            h = jnp.concatenate([h, nn.leaky_relu(Conv(self.growth, kernel_init=_SMALL)(h), 0.2)], -1)
        return x + self.scale * Conv(x.shape[-1], kernel_init=_SMALL)(h)


def _loop(layer: nn.Module, x: jax.Array, times: int) -> tuple[jax.Array, jax.Array]:
    """The layer applied `times` times with parameters of its own each time, and all outputs [times, ...]."""

    def body(layer, x, _):
        return (y := layer(x)), y

    return nn.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=times)(layer, x, None)


class RRDB(nn.Module):
    """`x + scale g(x)`, [B, H, W, C] to itself, with g three residual dense blocks.

    Attributes:
        growth, scale: as in `ResidualDenseBlock`.
    """

    growth: int = 32
    scale: float = 0.2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.scale * _loop(ResidualDenseBlock(self.growth, self.scale, name="dense"), x, 3)[0]


class RRDBEncoder(nn.Module):
    """ESRGAN's network up to its upsampling layers: [B, H, W, C] to [B, H, W, (1 + len(stacked)) width].

    A convolution, `blocks` RRDBs, and a convolution whose output is added to its input; then the outputs of some blocks
    are appended (Lugmayr et al. 2020, "SRFlow"). The loop over blocks is compiled once for any number.

    Attributes:
        width: channels.
        blocks: number of RRDBs; 8 for SRFlow on faces, 23 on other images.
        growth: channels of the convolutions within a dense block.
        stacked: indices of the blocks whose outputs are appended; None: all. SRFlow's code has (1, 3, 5, 7) of 8.

    Raises:
        ValueError: an index in `stacked` that is not one of a block.
    """

    width: int = 64
    blocks: int = 8
    growth: int = 32
    stacked: tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        stacked = range(self.blocks) if self.stacked is None else self.stacked
        if not set(stacked) <= set(range(self.blocks)):
            raise ValueError(f"`stacked` must be indices of {self.blocks} blocks, got {self.stacked}")
        x, outputs = _loop(RRDB(self.growth, name="blocks"), Conv(self.width, name="first")(x), self.blocks)
        return jnp.concatenate([x + Conv(self.width, name="last")(x), *(outputs[i] for i in stacked)], -1)
