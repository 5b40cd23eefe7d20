"""The localized GAN (Qi et al. 2018, "Global versus Localized Generative Adversarial Nets").

A generator G(x, z) of a row and noise draws neighbours of x: G(x, .) charts the data near x. With J the Jacobian of
G(x, z) in z at z = 0,

    critic:     criterion.critic(D(x), D(G(x, z)))
    generator:  criterion.generator(D(G(x, z))) + mu E |G(x, 0) - x|^2 + eta E |J^T J - I|_F^2

the chart is at x, and its tangents are orthonormal, so that none of them collapses. The paper takes J by finite
differences; here it is exact, one forward derivative a latent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.losses.penalties import orthonormality
from jaxgen.losses.squared_distance import squared_distance
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.players import Judgement
from jaxgen.nets.conditioning import Ignore


@dataclasses.dataclass(frozen=True)
class LocalizedGAN(GAN):
    """A `GAN` whose `context` is the row itself, on the networks' scale and flattened, [B, D].

    Attributes:
        generator: as a `GAN`'s, without batch statistics, of networks that allow forward derivatives (dense ones).
        latents: dimension of the charts, that of the data's manifold.
        critic_condition: the critic is not told the row.
        origin_weight: mu.
        orthonormality_weight: eta.
    """

    latents: int = 2
    critic_condition: nn.Module = Ignore()
    origin_weight: float = 1.0
    orthonormality_weight: float = 1.0

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `GAN.init`; a context that is not the rows; a generator with batch statistics.
        """
        rows = self._scaled(batch["x"]).reshape(jnp.shape(batch["x"])[0], -1)
        if "context" not in batch or jnp.shape(batch["context"]) != rows.shape:
            raise ValueError(f"the localized GAN is of rows near rows: its context has to be [B, {rows.shape[1]}], them")
        variables = super().init(key, batch)
        if "batch_stats" in variables["generator"]:
            raise ValueError("the generator has batch statistics, and a chart is of one row alone: use none")
        return variables

    def tangents(self, variables: Variables, context: Array) -> Array:
        """The singular values of J at rows [B, D], [B, latents], the largest first: those above zero are its rank."""
        return jnp.linalg.svd(self._jacobian(variables, context), compute_uv=False)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Also `rank`, the mean number of singular values above a tenth, and `origin`, E |G(x, 0) - x|^2."""
        context = batch["context"]
        rank = (self.tangents(variables, context) > 0.1).sum(-1).mean()
        return {"rank": rank, "origin": self._origin(variables, context), **super().evaluate(variables, batch, key)}

    def _at(self, variables: Variables, z: Array, context: Array) -> Array:
        return self._generate(variables, z, context)[0].reshape(context.shape[0], -1)

    def _origin(self, variables: Variables, context: Array) -> Array:
        at_zero = self._at(variables, jnp.zeros((context.shape[0], self.latents)), context)
        return squared_distance(at_zero, context)

    def _jacobian(self, variables: Variables, context: Array) -> Array:
        """[B, D, latents]."""
        zero = jnp.zeros((context.shape[0], self.latents))

        def along(direction: Array) -> Array:
            tangent = jnp.broadcast_to(direction, zero.shape)
            return jax.jvp(lambda z: self._at(variables, z, context), (zero,), (tangent,))[1]

        return jax.vmap(along, out_axes=-1)(jnp.eye(self.latents))

    def _generator_term(
        self, variables: Variables, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        origin = self._origin(variables, context)
        apart = orthonormality(self._jacobian(variables, context))
        value = self.origin_weight * origin + self.orthonormality_weight * apart
        return LossOutput(value, {"origin": origin, "orthonormality": apart})
