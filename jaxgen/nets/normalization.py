"""Batch normalisation without a `train` flag, plain and conditional, and normalisation of instances and groups."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.precision import at_least_float32


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


class GroupNorm(nn.Module):
    """Normalises groups of channels of each example by their mean and variance over positions: [B, ..., C] to itself.

    As `nn.GroupNorm`, except that XLA recognises a forward pass that is computed both with a gradient and without as
    the same, and computes it once. Source: Wu and He 2018, "Group Normalization".

    Attributes:
        groups: divides C.
    """

    groups: int = 32
    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        h, positions, channels = at_least_float32(x), tuple(range(1, x.ndim - 1)), x.shape[-1]

        def group_means(h: jax.Array) -> jax.Array:
            """The mean of each channel's group, [B, 1.., C]."""
            # over positions first: a sum over positions and channels at once takes three times as long on a CPU
            means = h.mean(positions, keepdims=True)
            means = means.reshape(*means.shape[:-1], self.groups, -1).mean(-1)
            return jnp.repeat(means, channels // self.groups, -1)

        h = h - group_means(h)
        root = _reciprocal_root(group_means(h * h) + self.epsilon)
        scale = self.param("scale", nn.initializers.ones, (channels,))
        return (h * (root * scale) + self.param("bias", nn.initializers.zeros, (channels,))).astype(x.dtype)


class ExampleNorm(GroupNorm):
    """`GroupNorm` of one group: by the mean and variance of each example over positions and channels.

    The layer normalisation of convolutional networks; `nn.LayerNorm` normalises over channels at each position. Source:
    Ba, Kiros and Hinton 2016, "Layer Normalization".
    """

    groups: int = 1


@jax.custom_jvp
def _reciprocal_root(x: jax.Array) -> jax.Array:
    """1 / sqrt(x), whose derivative uses the value alone: another use of x would keep XLA from merging forward
    passes."""
    return lax.rsqrt(x)


@_reciprocal_root.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    y = _reciprocal_root(*primals)
    return y, -0.5 * y * y * y * tangents[0]


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
