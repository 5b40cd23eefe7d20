"""The input of an autoregressive network's first position, which takes the place of a token before it."""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from jaxgen.arguments import broadcast_context
from jaxgen.contracts import Array
from jaxgen.nets.initializers import small_normal


class Beginning(nn.Module):
    """A learned vector, to which a context [B, D], such as a one-hot class, is added after a linear map."""

    width: int
    initializer: Any = small_normal

    @nn.compact
    def __call__(self, rows: Array, context: Array | None = None) -> Array:
        """[B, width] for as many sequences as `rows` [B] has."""
        first = self.param("vector", self.initializer, (self.width,)) + 0 * rows[:, None]
        if context is None:
            return first
        context = broadcast_context(context, first)
        if context.ndim != 2:
            raise ValueError(f"`context` must be [B, D], got shape {context.shape}")
        return first + nn.Dense(self.width, use_bias=False, kernel_init=self.initializer, name="of_context")(context)
