"""Continuous relaxations of symbols: logits [..., K] to points of the simplex, [..., K].

The largest entry is the symbol that they stand for.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_number
from jaxgen.distributions.concrete import gumbel_softmax

COLLECTION = "relaxation"
"""The collection of a relaxation's temperature, which `Annealing` lowers."""


class Softmax(nn.Module):
    """The probabilities themselves, without noise (Gulrajani et al. 2017, "Improved Training of Wasserstein GANs")."""

    @nn.compact
    def __call__(self, logits: jax.Array) -> jax.Array:
        return jax.nn.softmax(logits)


class GumbelSoftmax(nn.Module):
    """Relaxed samples (`jaxgen.distributions.gumbel_softmax`); without a `noise` stream the probabilities.

    Kusner and Hernandez-Lobato 2016, "GANs for Sequences of Discrete Elements with the Gumbel-softmax Distribution".

    Attributes:
        temperature: the initial one; it is a variable of the collection `relaxation`.
        hard: straight-through: one-hot samples with the relaxed samples' gradients.
    """

    temperature: float = 1.0
    hard: bool = False

    @nn.compact
    def __call__(self, logits: jax.Array) -> jax.Array:
        check_number("temperature", self.temperature, 0, above=True)
        temperature = self.variable(COLLECTION, "temperature", lambda: jnp.float32(self.temperature)).value
        if not self.has_rng("noise"):
            return jax.nn.softmax(logits)
        return gumbel_softmax(logits, self.make_rng("noise"), temperature, self.hard)
