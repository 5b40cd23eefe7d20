"""The boundary equilibrium GAN (Berthelot et al. 2017, "BEGAN: Boundary Equilibrium Generative Adversarial Networks").

The critic is an autoencoder with the error L(v) = mean |v - D(v)|, and the game is held in balance by a number k:

    critic:     L(x) - k L(G(z_D))
    generator:  L(G(z_G))
    k <- clip(k + lambda (gamma L(x) - L(G(z_G))), 0, 1)

(section 3.4). M = L(x) + |gamma L(x) - L(G(z))| falls as the game converges (section 3.4.1).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.losses.energies import convergence_measure, equilibrium_critic, next_equilibrium
from jaxgen.models.gans.ebgan import EBGAN
from jaxgen.models.gans.optimizers import Adam, Optimizer
from jaxgen.models.gans.packing import pack
from jaxgen.models.gans.players import Judgement


@dataclasses.dataclass(frozen=True)
class BEGAN(EBGAN):
    """An `EBGAN` in equilibrium; k is the critic's state, `equilibrium`.

    Attributes:
        latents: the paper's 64, whose `prior` is uniform.
        gamma: the ratio E L(G(z)) / E L(x) that is held: below 1, the lower the less diverse.
        rate: lambda.
    """

    latents: int = 64
    gamma: float = 0.5
    rate: float = 1e-3
    critic_optimizer: Optimizer = Adam(1e-4, 0.9)
    generator_optimizer: Optimizer = Adam(1e-4, 0.9)
    monitor: tuple[str, str] = ("convergence", "min")

    @property
    def _critic(self) -> nn.Module:
        return dataclasses.replace(super()._critic, power=1)

    def init(self, key: Key, batch: Batch) -> Variables:
        variables = super().init(key, batch)
        return {**variables, "critic": {**variables["critic"], "equilibrium": {"k": jnp.zeros(())}}}

    def generator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: `k`, and `convergence`, M."""
        game_key, seen_key, critic_key = jax.random.split(key, 3)
        out = super().generator_loss(variables, batch, game_key, clock)
        # as the critic sees them in training, as it did the samples
        real, context = self._seen(self._scaled(batch["x"]), seen_key, clock), pack(batch.get("context"), self.packing)
        on_real = self._judge(variables["critic"], real, context, critic_key)[0].score
        on_fake = out.metrics["score"][None]
        k = variables["critic"]["equilibrium"]["k"]
        after = next_equilibrium(k, on_real, on_fake, self.gamma, self.rate)
        convergence = convergence_measure(on_real, on_fake, self.gamma)
        return out.replace(
            metrics={**out.metrics, "k": k, "convergence": convergence},
            memory={**out.memory, "critic": {"equilibrium": {"k": after}}},
        )

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Also `convergence`, M."""
        context = batch.get("context")
        fake = self.sample(variables, key, jnp.shape(batch["x"])[0], context)
        on_real, on_fake = (self.score(variables, x, context) for x in (batch["x"], fake))
        figures = super().evaluate(variables, batch, key)
        return {"convergence": convergence_measure(on_real, on_fake, self.gamma), **figures}

    def _contest(self, variables: Variables, on_real: Judgement, on_fake: Judgement) -> Array:
        return equilibrium_critic(on_real.score, on_fake.score, variables["critic"]["equilibrium"]["k"])
