"""Minibatch discrimination."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn


class MinibatchDiscrimination(nn.Module):
    """Appends to each example's features how close the other examples are: [B, F] to [B, F + kernels].

        o_ib = sum_j exp(-|M_ib - M_jb|_1),    M_i = T x_i, a matrix of kernels x dims

    (Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.2; j runs over all examples, including i.)
    As with batch normalisation, the score of an example depends on the others: a penalty on slopes does not fit, nor does
    gradient accumulation.

    Attributes:
        kernels, dims: as above; the defaults are those of the authors' code.
    """

    kernels: int = 100
    dims: int = 5

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(x.shape[0], -1)
        m = nn.Dense(self.kernels * self.dims, use_bias=False)(x).reshape(-1, self.kernels, self.dims)
        distances = jnp.abs(m[:, None] - m[None]).sum(-1)
        return jnp.concatenate([x, jnp.exp(-distances).sum(1)], -1)
