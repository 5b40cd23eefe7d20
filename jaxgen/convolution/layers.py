"""Flax layers whose gradients are fast everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.convolution.blocks import depth_to_space
from jaxgen.convolution.strided import convolution


def conv_general_dilated(
    lhs, rhs, window_strides, padding, lhs_dilation=None, rhs_dilation=None, dimension_numbers=None,
    feature_group_count=1, batch_group_count=1, precision=None, preferred_element_type=None,
):
    """`lax.conv_general_dilated` for Flax layers: on a CPU, plain 2-D convolutions take `convolution`."""
    dilated = any(d != 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
    # under explicit axes, where each product must say how its result is sharded, the stock gradient does
    sharded = any(axis is not None for a in (lhs, rhs) for axis in jax.typeof(a).sharding.spec)
    special = dilated or sharded or feature_group_count != 1 or batch_group_count != 1
    if jax.default_backend() != "cpu" or lhs.ndim != 4 or special:
        return lax.conv_general_dilated(
            lhs, rhs, window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers,
            feature_group_count, batch_group_count, precision, preferred_element_type,
        )
    return convolution(lhs, rhs, window_strides, padding)


def Conv(features: int, kernel_size: int = 3, strides: int = 1, **fields: Any) -> nn.Conv:
    """`nn.Conv` with a square kernel, "SAME" padding and fast gradients; other fields are `nn.Conv`'s own."""
    square = (kernel_size, kernel_size)
    return nn.Conv(features, square, (strides, strides), conv_general_dilated=conv_general_dilated, **fields)


class UpConv(nn.Module):
    """Doubles the resolution: a convolution to f^2 times the features, then `depth_to_space`.

    Equal in form to a transposed convolution of stride f, and free of its uneven overlaps (Shi et al. 2016).
    """

    features: int
    kernel_size: int = 3
    factor: int = 2
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        folded = self.features * self.factor**2
        x = Conv(folded, self.kernel_size, use_bias=self.use_bias, kernel_init=self.kernel_init, dtype=self.dtype)(x)
        return depth_to_space(x, self.factor)


class TransposedConv(nn.Module):
    """Doubles the resolution: a transposed convolution with a 4x4 kernel, stride 2 and padding 1.

    Each of the four output pixels of a position sees 2x2 inputs, so it is computed as a 2x2 convolution to four times
    the features: in 16 products an input where an `UpConv` takes 36.
    """

    features: int
    use_bias: bool = True
    kernel_init: Callable = nn.initializers.lecun_normal()
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, width = x.shape[1:3]
        folded, full = 4 * self.features, ((1, 1), (1, 1))
        y = Conv(folded, 2, padding=full, use_bias=False, kernel_init=self.kernel_init, dtype=self.dtype)(x)
        y = y.reshape(*y.shape[:3], self.features, 2, 2)
        # output 2 i + r sees inputs i + r - 1 and i + r
        rows = jnp.stack([y[:, r : r + height, :, :, r] for r in range(2)], -2)
        both = jnp.stack([rows[:, :, s : s + width, ..., s] for s in range(2)], -1)
        y = depth_to_space(both.reshape(-1, height, width, folded), 2)
        if self.use_bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,)).astype(y.dtype)
        return y
