"""Weights held to a box."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxgen.contracts import Array


def clip_weights(bound: float) -> optax.GradientTransformation:
    """Chained after an optimizer, leaves every parameter within +-bound: `optax.chain(optax.rmsprop(...), this)`.

    Arjovsky et al. 2017, "Wasserstein GAN", algorithm 1, where the bound is 0.01. Biases and the gains of normalisations
    are clipped too.

    Raises:
        ValueError: a bound that is not positive; an update that is not given the parameters.
    """
    if not bound > 0:
        raise ValueError(f"weights are clipped to +-bound, which must be positive, got {bound}")

    def clip(update: Array, weight: Array) -> Array:
        # what is returned is added to the weight: the box is smaller by the rounding of the difference and the sum
        box = jnp.maximum(bound - jnp.finfo(weight.dtype).eps * (jnp.abs(weight) + bound), 0)
        return jnp.clip(weight + update, -box, box) - weight

    def update(updates, params):
        if params is None:
            raise ValueError("clip_weights needs the parameters: update(updates, state, params)")
        return jax.tree.map(clip, updates, params)

    return optax.stateless(update)
