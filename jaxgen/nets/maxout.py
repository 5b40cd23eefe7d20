"""Maxout layers."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from jaxgen.nets.initializers import lecun_normal


class Maxout(nn.Module):
    """The maximum of `pieces` affine functions per output feature: [..., F] to [..., features].

    Source: Goodfellow et al. 2013, "Maxout Networks"; PacGAN's critic of points has three with 200 features and 5
    pieces.

    Attributes:
        kernel_init: for example `small_normal`; None: Flax's default.
    """

    features: int
    pieces: int = 5
    kernel_init: Callable | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.Dense(self.features * self.pieces, kernel_init=self.kernel_init or lecun_normal)(x)
        return y.reshape(*x.shape[:-1], self.features, self.pieces).max(-1)
