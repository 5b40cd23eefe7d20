"""The weight that balances two losses by the norms of their gradients, and losses with a given gradient."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array


def adaptive_weight(of_reference: Any, of_loss: Any, epsilon: float = 1e-6, greatest: float = 1e4) -> Array:
    """`|g_reference| / (|g_loss| + epsilon)`, at most `greatest`, a scalar without gradient.

    A loss with this weight has a gradient with the norm of the reference's. Source: Esser et al. 2021, "Taming
    Transformers for High-Resolution Image Synthesis", equation 7, where the gradients are those of the reconstruction
    and the adversarial loss in the generator's last layer; the authors' code has an epsilon of 1e-4 and the bound.

    Args:
        of_reference, of_loss: gradients with respect to the same parameters, trees of arrays.
        epsilon: at least 0; greatest: the bound.

    Raises:
        ValueError: trees of other structures; a number out of range.
    """
    check_number("epsilon", epsilon, 0)
    check_number("greatest", greatest, 0)
    if jax.tree.structure(of_reference) != jax.tree.structure(of_loss):
        raise ValueError(
            f"`of_reference` and `of_loss` must have the same structure, got {jax.tree.structure(of_reference)} and "
            f"{jax.tree.structure(of_loss)}"
        )
    for reference, other in zip(jax.tree.leaves(of_reference), jax.tree.leaves(of_loss), strict=True):
        as_arrays("...", of_reference=reference, of_loss=other)
    weight = optax.tree.norm(of_reference) / (optax.tree.norm(of_loss) + epsilon)
    return lax.stop_gradient(jnp.clip(weight, 0, greatest))


def with_gradient(value: Array, x: Array, gradient: Array) -> Array:
    """`value`, a scalar, whose derivative with respect to x is `gradient`, [...] as x, and no other.

    It passes a gradient that is known already on to what x depends on, in one backward pass.
    """
    x, gradient = as_arrays("...", x=x, gradient=gradient)
    return lax.stop_gradient(value) + (lax.stop_gradient(gradient) * (x - lax.stop_gradient(x))).sum()
