"""Priors p(z) and p(z|context) of variational autoencoders, as values; `variables` are those of all players."""

from __future__ import annotations

import dataclasses
import math

import jax
from flax import linen as nn

from jaxgen.arguments import broadcast_context
from jaxgen.bijectors.bijector import Bijector
from jaxgen.contracts import Array, Key, Variables
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.models.codebook import PLAYER, Codebook
from jaxgen.models.forward import without_statistics
from jaxgen.nets.heads import GaussianHead, Headed
from jaxgen.sharding import full_batch


class Prior:
    """A base class with the defaults.

    Attributes:
        players: with parameters of the prior.
    """

    players: tuple[str, ...] = ()

    def init(self, key: Key, z: Array, context: Array | None) -> Variables:
        """The variables of `players`, for latents like z [B, L]."""
        return {}

    def normal(self, variables: Variables, latent_dim: int, context: Array | None) -> DiagonalNormal | None:
        """The prior, if it is a diagonal normal, [L] or [B, L]; otherwise None."""
        return None

    def log_prob(self, variables: Variables, z: Array, context: Array | None) -> Array:
        """In nats: [B, L] to [B]."""
        return self.normal(variables, z.shape[-1], broadcast_context(context, z)).log_prob(z)

    def sample(self, variables: Variables, key: Key, shape: tuple[int, int], context: Array | None) -> Array:
        """z of the shape [n, L], given the context, [n, ...] or [1, ...], if there is one."""
        noise = jax.random.normal(key, shape)
        return self.normal(variables, shape[-1], broadcast_context(context, noise)).reparameterize(noise)[0]


@dataclasses.dataclass(frozen=True)
class StandardPrior(Prior):
    """N(0, I), independent of the context."""

    def normal(self, variables: Variables, latent_dim: int, context: Array | None) -> DiagonalNormal:
        return DiagonalNormal.standard(latent_dim)


@dataclasses.dataclass(frozen=True)
class ContextPrior(Prior):
    """A diagonal normal given the context, its moments computed by a network: the player `prior`.

    Attributes:
        network: any network from contexts to features; the model adds the two heads.
    """

    network: nn.Module
    players = ("prior",)

    def init(self, key: Key, z: Array, context: Array | None) -> Variables:
        collections = self._headed(z.shape[-1]).init(key, self._required(context))
        return {"prior": without_statistics("prior", collections)}

    def normal(self, variables: Variables, latent_dim: int, context: Array | None) -> DiagonalNormal:
        return self._headed(latent_dim).apply(variables["prior"], self._required(context))

    def _headed(self, latent_dim: int) -> nn.Module:
        return Headed(self.network, GaussianHead(latent_dim))

    def _required(self, context: Array | None) -> Array:
        if context is None:
            raise ValueError("`context` must be given: the prior is a network of it")
        return context


@dataclasses.dataclass(frozen=True)
class FlowPrior(Prior):
    """log p(z) = log N(f(z); 0, I) + log|det df/dz|, f a bijector given the context, if any: the player `prior`."""

    bijector: Bijector
    players = ("prior",)

    def init(self, key: Key, z: Array, context: Array | None) -> Variables:
        return {"prior": without_statistics("prior", self.bijector.init(key, z, context))}

    def log_prob(self, variables: Variables, z: Array, context: Array | None) -> Array:
        z, log_det = self.bijector.apply(variables["prior"], z, context)
        return DiagonalNormal.standard(z.shape[-1]).log_prob(z) + log_det

    def sample(self, variables: Variables, key: Key, shape: tuple[int, int], context: Array | None) -> Array:
        return self.bijector.apply(variables["prior"], jax.random.normal(key, shape), context, method="inverse")


@dataclasses.dataclass(frozen=True)
class UniformCodes(Prior):
    """L / D codes of a codebook, each of the K with the same probability: the prior of a `QuantizedPosterior`."""

    codebook: Codebook

    def log_prob(self, variables: Variables, z: Array, context: Array | None) -> Array:
        groups = z.shape[-1] // self.codebook.code_dim
        return full_batch(z, -groups * math.log(self.codebook.num_codes))

    def sample(self, variables: Variables, key: Key, shape: tuple[int, int], context: Array | None) -> Array:
        groups = shape[-1] // self.codebook.code_dim
        indices = jax.random.randint(key, (shape[0], groups), 0, self.codebook.num_codes)
        return self.codebook.codes(variables[PLAYER])[indices].reshape(shape)
