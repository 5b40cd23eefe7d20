"""Layers with an equalised learning rate (Karras et al. 2018, "Progressive Growing of GANs", section 4.1).

    y = (m / sqrt(fan_in)) W x + m b,    W ~ N(0, 1) / m

The steps of Adam do not depend on the scale of the gradient. So parameters of one scale change at one relative speed in
all layers, `m` times as fast in layers with the learning-rate multiplier m.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.convolution import conv_general_dilated

NHWC = ("NHWC", "HWIO", "NHWC")


def scaled_leaky_relu(x: jax.Array) -> jax.Array:
    """sqrt(2) leaky_relu(x, 0.2), which roughly keeps the variance of a normal x."""
    return math.sqrt(2) * nn.leaky_relu(x, 0.2)


def equalized_kernel(layer: nn.Module, shape: tuple[int, ...], lr_multiplier: float = 1.0) -> jax.Array:
    """The parameter `kernel` of a layer, [..., C, D], times m / sqrt(fan_in); in a compact method."""
    kernel = layer.param("kernel", nn.initializers.normal(1 / lr_multiplier), shape)
    return lr_multiplier / math.sqrt(math.prod(shape[:-1])) * kernel


def _biased(layer: nn.Module, y: jax.Array) -> jax.Array:
    if not layer.use_bias:
        return y
    start = nn.initializers.constant(layer.bias_init / layer.lr_multiplier)
    return y + (layer.lr_multiplier * layer.param("bias", start, (layer.features,))).astype(y.dtype)


class EqualizedDense(nn.Module):
    """[..., C] to [..., features].

    Attributes:
        lr_multiplier: m; 0.01 in StyleGAN's mapping network.
        bias_init: initial value of m b.
    """

    features: int
    lr_multiplier: float = 1.0
    use_bias: bool = True
    bias_init: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = equalized_kernel(self, (x.shape[-1], self.features), self.lr_multiplier)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return _biased(self, jnp.matmul(x, kernel))


class EqualizedConv(nn.Module):
    """`jaxgen.convolution.Conv` with an equalised learning rate: [B, H, W, C] to [B, H/s, W/s, features].

    Attributes:
        padding: `"SAME"` or `"VALID"`.
        lr_multiplier, bias_init: as in `EqualizedDense`.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    padding: str = "SAME"
    lr_multiplier: float = 1.0
    use_bias: bool = True
    bias_init: float = 0.0
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = equalized_kernel(self, shape, self.lr_multiplier)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        y = conv_general_dilated(x, kernel, (self.strides,) * 2, self.padding, dimension_numbers=NHWC)
        return _biased(self, y)
