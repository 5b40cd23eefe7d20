"""Layers with spectrally normalised kernels (Miyato et al. 2018, "Spectral Normalization for GANs")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.convolution import conv_general_dilated
from jaxgen.nets.initializers import lecun_normal


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.linalg.norm(x), 1e-12)


class SpectralNorm(nn.Module):
    """A kernel [..., D], reshaped to a matrix W [K, D], divided by its largest singular value sigma.

    One power iteration per call approximates sigma from below (Miyato et al. 2018, algorithm 1):

        v = W u / |W u|,    u' = W^T v / |W^T v|,    sigma = v^T W u'

    u is a variable of the collection `spectral`, replaced by u' if that collection is mutable; otherwise the function
    is fixed. The gradient flows through sigma with v and u' constant: d sigma / d W = v u'^T.
    """

    @nn.compact
    def __call__(self, kernel: jax.Array) -> jax.Array:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        u = self.variable(
            "spectral", "u", lambda: _unit(jax.random.normal(self.make_rng("params"), matrix.shape[1:], matrix.dtype))
        )
        held = lax.stop_gradient(matrix)
        left = _unit(held @ u.value)
        right = _unit(left @ held)
        if self.is_mutable_collection("spectral") and not self.is_initializing():
            u.value = right
        return kernel / jnp.maximum(left @ matrix @ right, 1e-12)


def _biased(layer: nn.Module, y: jax.Array) -> jax.Array:
    if not layer.use_bias:
        return y
    return y + layer.param("bias", nn.initializers.zeros, (layer.features,)).astype(y.dtype)


class SpectralDense(nn.Module):
    """`nn.Dense` with a spectrally normalised kernel."""

    features: int
    use_bias: bool = True
    kernel_init: Callable = lecun_normal
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = SpectralNorm()(self.param("kernel", self.kernel_init, (x.shape[-1], self.features)))
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return _biased(self, x @ kernel)


class SpectralConv(nn.Module):
    """`jaxgen.convolution.Conv` with a spectrally normalised kernel; its matrix is [height width C, features]."""

    features: int
    kernel_size: int = 3
    strides: int = 1
    use_bias: bool = True
    kernel_init: Callable = lecun_normal
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = SpectralNorm()(self.param("kernel", self.kernel_init, shape))
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        y = conv_general_dilated(x, kernel, (self.strides,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return _biased(self, y)
