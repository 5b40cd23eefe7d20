"""The localized GAN (Qi et al. 2018, "Global versus Localized Generative Adversarial Nets").

A generator G(x, z) maps an example x and noise z to neighbours of x: G(x, .) is a chart of the data near x. With J the
Jacobian of G(x, z) in z at z = 0,

    critic:     adversarial_loss.critic(D(x), D(G(x, z)))
    generator:  adversarial_loss.generator(D(G(x, z))) + mu E |G(x, 0) - x|^2 + eta E |J^T J - I|_F^2

The origin of the chart is x, and its tangents are orthonormal, so that none of them collapses. The paper approximates J
by finite differences; here it is exact, one forward derivative per latent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.losses.penalties import orthonormality
from jaxgen.losses.squared_distance import squared_distance
from jaxgen.models.gans.gan import GAN
from jaxgen.nets.conditioning import Unconditional


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalizedGAN(GAN):
    """A `GAN` whose `context` is the example itself, on the networks' scale and flattened, [B, D].

    Attributes:
        generator: without batch statistics, of layers that have forward derivatives (dense ones).
        latent_dim: dimension of the charts, that of the data's manifold.
        critic_condition: by default the critic ignores the context.
        origin_weight: mu.
        orthonormality_weight: eta.
    """

    latent_dim: int = 2
    critic_condition: nn.Module | None = Unconditional()
    origin_weight: float = 1.0
    orthonormality_weight: float = 1.0

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `GAN.init`; a context that is not the examples; a generator with batch statistics.
        """
        flat, context = self._scaled(batch["x"]).reshape(jnp.shape(batch["x"])[0], -1), batch.get("context")
        if context is None or context.shape != flat.shape:
            shape = None if context is None else context.shape
            raise ValueError(f"`context` must be the examples themselves, [B, {flat.shape[1]}], got shape {shape}")
        variables = super().init(key, batch)
        if "batch_stats" in variables["generator"]:
            raise ValueError("the generator must have no batch statistics: a chart depends on one example alone")
        return variables

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Further metrics: `origin` and `orthonormality`, without their weights."""
        out, context = super().generator_loss(variables, batch, key, clock), batch["context"]
        origin, deviation = self._origin(variables, context), orthonormality(self._jacobian(variables, context))
        value = out.value + self.origin_weight * origin + self.orthonormality_weight * deviation
        return out.replace(value=value, metrics={**out.metrics, "origin": origin, "orthonormality": deviation})

    def tangents(self, variables: Variables, context: Array) -> Array:
        """The singular values of J at examples [B, D], [B, latent_dim], in descending order."""
        return jnp.linalg.svd(self._jacobian(variables, context), compute_uv=False)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Further metrics: `rank`, the mean number of singular values above 0.1, and `origin`, E |G(x, 0) - x|^2."""
        context = batch["context"]
        rank = (self.tangents(variables, context) > 0.1).sum(-1).mean()
        return {"rank": rank, "origin": self._origin(variables, context), **super().evaluate(variables, batch, key)}

    def _chart(self, variables: Variables, z: Array, context: Array) -> Array:
        return self._generate(variables["generator"], z, context)[0].reshape(context.shape[0], -1)

    def _origin(self, variables: Variables, context: Array) -> Array:
        origins = self._chart(variables, jnp.zeros((context.shape[0], self.latent_dim)), context)
        return squared_distance(origins, context)

    def _jacobian(self, variables: Variables, context: Array) -> Array:
        """J, [B, D, latent_dim]."""
        zero = jnp.zeros((context.shape[0], self.latent_dim))

        def derivative(direction: Array) -> Array:
            tangent = jnp.broadcast_to(direction, zero.shape)
            return jax.jvp(lambda z: self._chart(variables, z, context), (zero,), (tangent,))[1]

        return jax.vmap(derivative, out_axes=-1)(jnp.eye(self.latent_dim))
