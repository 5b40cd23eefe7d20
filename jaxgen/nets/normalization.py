"""Batch normalisation without a `train` flag, plain and conditional, and instance normalisation."""

from __future__ import annotations

from typing import ClassVar

import jax
from flax import linen as nn


class BatchNorm(nn.Module):
    """`nn.BatchNorm` that is in training mode exactly if its statistics are mutable.

    With `mutable=["batch_stats"]` it normalises by the batch and updates its averages, otherwise by the averages. The
    layer before it should have no bias, whose gradient would be round-off that Adam turns into full steps.

    Attributes:
        affine: whether a learned gain and bias per channel follow.
    """

    momentum: float = 0.9
    affine: bool = True
    examples_interact: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        training = self.is_mutable_collection("batch_stats")
        return nn.BatchNorm(
            use_running_average=not training, momentum=self.momentum, use_scale=self.affine, use_bias=self.affine
        )(x)


class InstanceNorm(nn.Module):
    """Normalises each channel of each picture by its mean and variance over positions: [B, H, W, C] to itself.

    `BatchNorm` in training mode on batches of one picture is the same. A single position becomes zero. Source: Ulyanov
    et al. 2016, "Instance Normalization".

    Attributes:
        affine: whether a learned gain and bias per channel follow, as in the authors' and CycleGAN's Torch code;
            PyTorch's layer and the PyTorch port of CycleGAN have none by default.
    """

    affine: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.InstanceNorm(epsilon=1e-5, use_scale=self.affine, use_bias=self.affine)(x)


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation of x [B, ..., C] with gain 1 + V c and bias U c for a condition c [B, K].

    V and U are initially zero. For one-hot classes c, each class has its own gain and bias. Source: Dumoulin et al.
    2017, "A Learned Representation For Artistic Style".
    """

    momentum: float = 0.9
    examples_interact: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
        def of_condition(name):
            y = nn.Dense(x.shape[-1], use_bias=False, kernel_init=nn.initializers.zeros, name=name)(condition)
            return y.reshape(y.shape[0], *(1,) * (x.ndim - 2), y.shape[1]).astype(x.dtype)

        normal = BatchNorm(self.momentum, affine=False)(x)
        return (1 + of_condition("gain")) * normal + of_condition("bias")
