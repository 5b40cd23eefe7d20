"""The adversary activated VAE (Hu et al. 2018, "On Unifying Deep Generative Models", equation 17 and section 5.2).

A VAE's bound, written as a game, is an expectation over real and generated examples, p_0(x) = (p_data + p_model) / 2,
in which a perfect discriminator, q(y=1|x) = 1 for real ones, gives generated ones the weight zero (lemma 2). Here the
discriminator is learned, as a GAN's, and the weight of an example is what the reversed discriminator gives it,
q^r(y=0|x) = q(y=1|x) = D(x):

    discriminator:   -E_data log D(x) - E_model log(1 - D(x))
    elbo:            -E_data [D(x) L(x)] - E_model [D(x) L(x)],    L(x) = E_q log p(x|z) - KL(q(z|x) || p(z))

This is twice equation 17, so that the perfect discriminator leaves the VAE's own loss. The terms of y = 1 and the
divergence of q^r(y|x) from p(y) in equation 17 are constants here, since this play does not move the discriminator.
Weights and generated examples, as many as real ones, have no gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import optax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import non_saturating_discriminator
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.scaling import from_data
from jaxgen.models.vaes.objectives import ELBO, BoundTerms
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import Headed, ScalarHead
from jaxgen.nets.mlp import MLP


@dataclasses.dataclass(frozen=True)
class AAVAE(VAE):
    """A VAE's players and `discriminator`; plays `discriminator` and `elbo`.

    Attributes:
        discriminator: any network from data (and context, concatenated) to features; the model adds the scalar output.

    Raises:
        ValueError: an objective that is not an `ELBO`.
    """

    _: dataclasses.KW_ONLY
    discriminator: nn.Module = MLP((512, 512))

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.objective, ELBO):
            raise ValueError(f"`objective` must be an ELBO in AAVAE, whose examples have weights, got {self.objective}")

    @property
    def _discriminator(self) -> nn.Module:
        return Headed(self.discriminator, ScalarHead())

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: as `VAE.init`; a discriminator with batch statistics.
        """
        vae_key, discriminator_key = jax.random.split(key)
        discriminator = self._discriminator.init(discriminator_key, self._judged(batch))
        return {**super().init(vae_key, batch), "discriminator": without_statistics("discriminator", discriminator)}

    def plays(self) -> Mapping[str, Play]:
        discriminator = Play(("discriminator",), self.discriminator_loss, optax.adam(1e-4))
        return {"discriminator": discriminator, **super().plays()}

    def discriminator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means of the weights."""
        pair_key, *keys = jax.random.split(key, 3)
        pair = self._pair(variables, batch, pair_key)
        logits = [self._judge(variables, rows, k) for rows, k in zip(pair, keys, strict=True)]
        real, fake = (jax.nn.sigmoid(a).mean() for a in logits)
        return LossOutput(non_saturating_discriminator(*logits), {"real": real, "fake": fake})

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The weighted objective in nats; metrics are the plain bound of real examples, its parts, and the weights."""
        pair_key, real_key, fake_key = jax.random.split(key, 3)
        real, fake = self._pair(variables, batch, pair_key)
        terms, statistics = self.terms(variables, real, real_key, training=True)
        generated, _ = self.terms(variables, fake, fake_key, training=True)
        on_real, on_fake = (lax.stop_gradient(jax.nn.sigmoid(self._judge(variables, x))) for x in (real, fake))
        value = self.objective(weighted(terms, on_real), clock) + self.objective(weighted(generated, on_fake), clock)
        weights = {"real": on_real.mean(), "fake": on_fake.mean()}
        return LossOutput(value, {**self._metrics(terms), **weights}, statistics)

    def _pair(self, variables: Variables, batch: Batch, key: Key) -> tuple[Batch, Batch]:
        """Real and generated examples in data units, binarized once for all players."""
        x_key, sample_key = jax.random.split(key)
        x = self.observed(batch["x"], x_key)
        fake = lax.stop_gradient(self.sample(variables, sample_key, x.shape[0], batch.get("context")))
        return {**batch, "x": x}, {**batch, "x": fake}

    def _judged(self, batch: Batch) -> Array:
        return concatenate_context(from_data(batch["x"], self.event_shape, self.levels), batch.get("context"))

    def _judge(self, variables: Variables, batch: Batch, key: Key | None = None) -> Array:
        """Logits [B] of being real."""
        return forward(self._discriminator, variables["discriminator"], self._judged(batch), key=key)[0]


def weighted(terms: BoundTerms, weights: Array) -> BoundTerms:
    """BoundTerms whose bound is that of each example times its weight, [B]."""
    parts = None if terms.kl_per_dimension is None else weights[:, None] * terms.kl_per_dimension
    names = ("log_likelihood", "log_prior", "log_posterior")
    return terms._replace(kl_per_dimension=parts, **{name: weights * getattr(terms, name) for name in names})
