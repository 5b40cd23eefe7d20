"""Kernel initialisers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

he_normal = nn.initializers.he_normal()
"""For residual networks."""
lecun_normal = nn.initializers.lecun_normal()
"""Flax's default for dense layers and convolutions."""

standard_normal = nn.initializers.normal(1.0)
"""For vectors of tokens."""


def small_normal(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """N(0, 0.02^2), of DCGAN (Radford et al. 2016, section 4) and PacGAN (Lin et al. 2018)."""
    return 0.02 * jax.random.normal(key, shape, dtype)
