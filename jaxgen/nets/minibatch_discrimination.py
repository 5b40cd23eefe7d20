"""Minibatch discrimination."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn


class MinibatchDiscrimination(nn.Module):
    """Appends similarities to the other examples to the features: [B, F] to [B, F + kernels].

        o_ib = sum_j exp(-|M_ib - M_jb|_1),    M_i = T x_i, a matrix of kernels x dims

    (Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.2; j runs over all examples, including i.)
    As with batch normalisation, scores depend on the other examples, which excludes gradient penalties and gradient
    accumulation.

    Attributes:
        kernels, dims: as above; the defaults are from the authors' code.
    """

    kernels: int = 100
    dims: int = 5
    examples_interact: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        m = nn.Dense(self.kernels * self.dims, use_bias=False)(x).reshape(-1, self.kernels, self.dims)
        distances = jnp.abs(m[:, None] - m[None]).sum(-1)
        return jnp.concatenate([x, jnp.exp(-distances).sum(1)], -1)
