"""Networks whose intermediate features are used too."""

from __future__ import annotations

import jax
from flax import linen as nn


class Stages(nn.Module):
    """Applies modules in order, as `nn.Sequential` does, and returns the output of each, first to last.

    A module that stands twice in `stages` is applied twice, with the same parameters.
    """

    stages: tuple[nn.Module, ...]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(outputs)
