"""Batch normalisation that needs no `train` flag."""

from __future__ import annotations

import jax
from flax import linen as nn


class BatchNorm(nn.Module):
    """`nn.BatchNorm` that trains exactly when its statistics may change.

    With `mutable=["batch_stats"]` it normalises by the batch and updates its averages, otherwise by the averages. The
    layer before it should have no bias: it would have no gradient but round-off, which Adam turns into full steps.
    """

    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        training = self.is_mutable_collection("batch_stats")
        return nn.BatchNorm(use_running_average=not training, momentum=self.momentum)(x)
