"""Stacks of dense layers, plain and residual."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.nets.initializers import lecun_normal


class MLP(nn.Module):
    """[B, ...], flattened, to [B, features]: dense layers, each followed by the activation.

    Attributes:
        widths: features of each hidden layer.
        activation: after each hidden layer.
        features: features of a last, linear layer; None: no such layer, as for conditioners of couplings.
        norm: the class of the normalisation before each activation, whose dense layer has no bias; None: none.
        kernel_init: for example `small_normal`; None: Flax's default.
    """

    widths: tuple[int, ...] = (128, 128)
    activation: Callable = nn.relu
    features: int | None = None
    norm: Callable[[], nn.Module] | None = None
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        check_counts(widths=self.widths)
        x, kernel_init = x.reshape(x.shape[0], -1), self.kernel_init or lecun_normal
        for width in self.widths:
            x = nn.Dense(width, use_bias=self.norm is None, kernel_init=kernel_init)(x)
            x = self.activation(x if self.norm is None else self.norm()(x))
        return x if self.features is None else nn.Dense(self.features, kernel_init=kernel_init)(x)


class ResidualMLP(nn.Module):
    """[B, ...] to [B, width]: a dense layer, then pre-activated residual blocks of two, and a ReLU.

    Each block's last layer is initialised near zero. Durkan et al. 2019, appendix B.1, there without the last ReLU.

    Attributes:
        width: features of all layers.
        blocks: residual blocks.
        dropout: rate for a block's hidden units, active with a `dropout` stream.
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
