"""The boundary equilibrium GAN (Berthelot et al. 2017, "BEGAN: Boundary Equilibrium Generative Adversarial Networks").

The critic is an autoencoder with the energy L(v) = mean |v - D(v)|, and a number k balances the two players:

    critic:     L(x) - k L(G(z_D))
    generator:  L(G(z_G))
    k <- clip(k + rate (gamma L(x) - L(G(z_G))), 0, 1)

(section 3.4). M = L(x) + |gamma L(x) - L(G(z))| falls as the game converges (section 3.4.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.losses.energies import convergence_measure, next_equilibrium
from jaxgen.models.gans.adversarial_losses import Equilibrium
from jaxgen.models.gans.ebgan import EBGAN
from jaxgen.models.gans.packing import pack


@dataclasses.dataclass(frozen=True, kw_only=True)
class BEGAN(EBGAN):
    """An `EBGAN` in equilibrium; k is the critic's memory `equilibrium`.

    Attributes:
        latent_dim: the paper's 64, with a uniform `prior`.
        gamma: the ratio E L(G(z)) / E L(x) at the equilibrium, below 1; samples are less diverse if it is lower.
        rate: the step size of k, the paper's lambda.
    """

    latent_dim: int = 64
    adversarial_loss: Equilibrium = Equilibrium()
    gamma: float = 0.5
    rate: float = 1e-3
    monitor: tuple[str, str] = ("convergence", "min")

    def _optimizer(self, play: str) -> optax.GradientTransformation:
        return optax.adam(1e-4, b1=0.9)

    def _critic(self, deterministic: bool = False) -> nn.Module:
        return dataclasses.replace(super()._critic(deterministic), power=1)

    def init(self, key: Key, batch: Batch) -> Variables:
        variables = super().init(key, batch)
        return {**variables, "critic": {**variables["critic"], "equilibrium": {"k": jnp.zeros(())}}}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        k = variables["critic"]["equilibrium"]["k"]
        balanced = dataclasses.replace(self, adversarial_loss=dataclasses.replace(self.adversarial_loss, k=k))
        return EBGAN.critic_loss(balanced, variables, batch, key, clock)

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Further metrics: `k`, and `convergence`, M."""
        game_key, seen_key, critic_key = jax.random.split(key, 3)
        out = super().generator_loss(variables, batch, game_key, clock)
        # transformed and packed, as the samples were
        real = self._seen(variables, self._scaled(batch["x"]), seen_key, clock)
        context = pack(batch.get("context"), self.packing)
        on_real = self._criticize(variables["critic"], real, context, critic_key)[0].score
        on_fake = out.metrics["score"][None]
        k = variables["critic"]["equilibrium"]["k"]
        after = next_equilibrium(k, on_real, on_fake, self.gamma, self.rate)
        convergence = convergence_measure(on_real, on_fake, self.gamma)
        return out.replace(
            metrics={**out.metrics, "k": k, "convergence": convergence},
            memory={**out.memory, "critic": {**out.memory.get("critic", {}), "equilibrium": {"k": after}}},
        )

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Further metrics: `convergence`, M."""
        context = batch.get("context")
        fake = self.sample(variables, key, jnp.shape(batch["x"])[0], context)
        on_real, on_fake = (self.score(variables, x, context) for x in (batch["x"], fake))
        convergence = convergence_measure(on_real, on_fake, self.gamma)
        return {"convergence": convergence, **super().evaluate(variables, batch, key)}
