"""The variational discriminator bottleneck (Peng et al. 2019, "Variational Discriminator Bottleneck").

The critic sees a row x only through a code z ~ E(z|x) = N(mu(x), sigma(x)^2), which may carry I_c nats on the average
of data and samples:

    critic:     E criterion(D(z)) + beta (E KL(E(z|x) || N(0, I)) - I_c)
    beta <- max(0, beta + alpha (E KL - I_c))
    generator:  criterion(D(mu(G(z))))

(equations 9 to 11): while they are told apart easily the critic is made to blur, so that the generator has a gradient.
The generator is judged by the means (section 4.3).
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.contracts import Array, Batch, Collections, Key, LossOutput, Variables
from jaxgen.losses.auxiliary import bottleneck, next_dual
from jaxgen.losses.elbo import kl_to_standard_normal
from jaxgen.models.gans.gan import GAN
from jaxgen.models.gans.players import Judgement, Pair, scored, told
from jaxgen.models.players import forward
from jaxgen.nets.heads import GaussianHead, ScalarHead


class BottleneckCritic(nn.Module):
    """An event to a score, by way of a code, and to the code's KL in nats, [B].

    Attributes:
        drawn: with a `noise` stream the code is drawn; without one, or where this is False, it is its mean.
    """

    network: nn.Module
    condition: nn.Module
    codes: int
    drawn: bool = True

    @nn.compact
    def __call__(self, pair: Pair) -> Judgement:
        x, context = pair
        h = self.network(told(self.condition, x, context))
        normal = GaussianHead(self.codes, name="code")(h)
        drawn = self.drawn and self.has_rng("noise")
        code = normal.sample(self.make_rng("noise")) if drawn else normal.mean
        score = scored(self.condition, ScalarHead(name="head")(code), code, context)
        return Judgement(score, kl_to_standard_normal(*normal))


@dataclasses.dataclass(frozen=True)
class BottleneckGAN(GAN):
    """A `GAN` whose critic sees rows through a noisy code; beta is the critic's state, `dual`.

    Attributes:
        codes: the code's dimension.
        information: I_c in nats.
        dual_rate: alpha.
    """

    codes: int = 128
    information: float = 0.5
    dual_rate: float = 1e-5

    @property
    def _critic(self) -> nn.Module:
        return BottleneckCritic(self.critic, self.critic_condition, self.codes)

    def init(self, key: Key, batch: Batch) -> Variables:
        variables = super().init(key, batch)
        return {**variables, "critic": {**variables["critic"], "dual": {"beta": jnp.zeros(())}}}

    def _critic_term(
        self, variables: Variables, on_real: Judgement, on_fake: Judgement, z: Array, context: Array | None
    ) -> LossOutput:
        beta = variables["critic"]["dual"]["beta"]
        kl = jnp.concatenate([on_real.features, on_fake.features])
        after = next_dual(beta, kl, self.information, self.dual_rate)
        return LossOutput(
            bottleneck(kl, beta, self.information), {"kl": kl.mean(), "beta": beta},
            memory={"critic": {"dual": {"beta": after}}},
        )  # fmt: skip

    def _judge_for_generator(self, critic: Collections, x: Array, context: Array | None, key: Key) -> Judgement:
        # in all but the code as in training: batch statistics are the batch's
        return forward(dataclasses.replace(self._critic, drawn=False), critic, (x, context), key=key)[0]
