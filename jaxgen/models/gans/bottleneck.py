"""The variational discriminator bottleneck (Peng et al. 2019, "Variational Discriminator Bottleneck").

The critic scores an example x by a code z ~ E(z|x) = N(mu(x), sigma(x)^2), which may carry I_c nats on average over
data and samples:

    critic:     E adversarial_loss(D(z)) + beta (E KL(E(z|x) || N(0, I)) - I_c)
    beta <- max(0, beta + alpha (E KL - I_c))
    generator:  adversarial_loss(D(mu(G(z))))

(equations 9 to 11): as long as data and samples are easily separated, the codes of both are made to overlap, so that
the generator has a gradient. The generator's loss takes the means (section 4.3).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Key, LossOutput, Variables
from jaxgen.losses.auxiliary import bottleneck, next_dual
from jaxgen.losses.elbo import kl_to_standard_normal
from jaxgen.models.gans.terms import PLAYS, ForwardPass, Term, with_collection
from jaxgen.nets.heads import GaussianHead

if TYPE_CHECKING:
    from jaxgen.models.gans.gan import GAN


class GaussianCode(nn.Module):
    """Features [B, ...] to a code [B, code_dim], and `kl`, its divergence from the standard normal in nats, [B].

    Attributes:
        deterministic: whether the code is its mean; without a `noise` stream it always is.
    """

    code_dim: int
    deterministic: bool = False

    @nn.compact
    def __call__(self, h: Array) -> tuple[Array, Mapping[str, Array]]:
        normal = GaussianHead(self.code_dim, name="code")(h)
        sampled = self.has_rng("noise") and not self.deterministic
        code = normal.sample(self.make_rng("noise")) if sampled else normal.mean
        return code, {"kl": kl_to_standard_normal(*normal)}


@dataclasses.dataclass(frozen=True)
class Bottleneck(Term):
    """Replaces the critic's features by a noisy code; beta is the critic's memory `dual`. Metrics: `kl`, `beta`.

    Attributes:
        information: I_c in nats.
        code_dim: dimension of the code.
        dual_rate: alpha.
    """

    accumulates: ClassVar = PLAYS

    information: float = 0.5
    code_dim: int = 128
    dual_rate: float = 1e-5

    def __post_init__(self):
        check_counts(code_dim=self.code_dim)

    def init(self, gan: GAN, variables: Variables, batch: Batch, key: Key) -> Variables:
        return with_collection(variables, "critic", "dual", {"beta": jnp.zeros(())})

    def critic_layer(self, deterministic: bool) -> nn.Module:
        return GaussianCode(self.code_dim, deterministic)

    def critic_loss(self, computed: ForwardPass) -> LossOutput:
        beta = computed.variables["critic"]["dual"]["beta"]
        kl = jnp.concatenate([computed.on_real.extras["kl"], computed.on_fake.extras["kl"]])
        value = bottleneck(kl, beta, self.information)
        after = next_dual(beta, kl, self.information, self.dual_rate)
        return LossOutput(value, {"kl": kl.mean(), "beta": beta}, memory={"critic": {"dual": {"beta": after}}})
