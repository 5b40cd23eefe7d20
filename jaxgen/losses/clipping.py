"""Weight clipping."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxgen.contracts import Array


def clip_weights(bound: float) -> optax.GradientTransformation:
    """Clips all parameters to [-bound, bound] after an optimizer: `optax.chain(optimizer, clip_weights(0.01))`.

    Biases and gains of normalisations are clipped too. Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1.

    Raises:
        ValueError: `bound` is not positive; `update` is called without parameters.
    """
    if not bound > 0:
        raise ValueError(f"`bound` must be positive, got {bound}")

    def clip(update: Array, weight: Array) -> Array:
        # optax adds the result to the weight, so the bound is reduced by the rounding of the difference and the sum
        box = jnp.maximum(bound - jnp.finfo(weight.dtype).eps * (jnp.abs(weight) + bound), 0)
        return jnp.clip(weight + update, -box, box) - weight

    def update(updates, params):
        if params is None:
            raise ValueError("`params` of clip_weights(...).update must be the parameters, got None")
        return jax.tree.map(clip, updates, params)

    return optax.stateless(update)
