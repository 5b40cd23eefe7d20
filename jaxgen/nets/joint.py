"""Networks with two inputs, data and latents."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn


class Joint(nn.Module):
    """A pair of [B, ...] and [B, L] to features: `network([flatten(trunk(x)), z])`.

    Attributes:
        network: its input is the concatenation, [B, features + L].
        trunk: its input is the first array, such as `ConvEncoder` for images; None: the identity.
    """

    network: nn.Module
    trunk: nn.Module | None = None

    def __call__(self, pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        x, z = pair
        h = x if self.trunk is None else self.trunk(x)
        return self.network(jnp.concatenate([h.reshape(h.shape[0], -1), z], -1))
