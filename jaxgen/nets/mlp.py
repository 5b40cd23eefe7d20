"""Stacks of dense layers, plain and residual."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.arguments import counts
from jaxgen.nets.initializers import lecun_normal


class MLP(nn.Module):
    """Dense layers, each followed by the activation; arrays of rank above two are flattened to [B, features] first.

    Attributes:
        widths: features of each hidden layer.
        activation: after each hidden layer.
        features: features of a last, linear layer; None for none, as a coupling's conditioner wants.
        norm: makes the normalisation before each activation; the layer before it has no bias. None for none.
        kernel_init: of all layers, as `small_normal`; None for Flax's own.
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    features: int | None = None
    norm: Callable[[], nn.Module] | None = None
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        counts(widths=self.widths)
        x, kernel_init = x.reshape(x.shape[0], -1), self.kernel_init or lecun_normal
        for width in self.widths:
            x = nn.Dense(width, use_bias=self.norm is None, kernel_init=kernel_init)(x)
            x = self.activation(x if self.norm is None else self.norm()(x))
        return x if self.features is None else nn.Dense(self.features, kernel_init=kernel_init)(x)


class ResidualMLP(nn.Module):
    """[B, ...] to [B, width]: a dense layer, then pre-activated residual blocks of two, and a ReLU.

    Each block's last layer starts small, so that a deep network starts near its first layer. (Durkan et al. 2019,
    appendix B.1; there without the last ReLU.)

    Attributes:
        width: units of every layer.
        blocks: residual blocks.
        dropout: share of a block's hidden units that drop where a `dropout` stream is given.
    """

    width: int = 128
    blocks: int = 2
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dense(self.width)(x.reshape(x.shape[0], -1))
        for _ in range(self.blocks):
            h = nn.relu(nn.Dense(self.width)(nn.relu(x)))
            if self.dropout:
                h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h)
            x = x + nn.Dense(self.width, kernel_init=nn.initializers.normal(1e-3))(h)
        return nn.relu(x)
