"""Adversarial variational Bayes (Mescheder et al. 2017, "Adversarial Variational Bayes", algorithms 1 and 2).

A VAE with an implicit posterior q(z|x), which has samples but no density: the encoder has noise as an input. An
adversary with logit T(x, z) discriminates its samples from the prior's; the optimal one, T = log q(z|x) - log p(z),
replaces the intractable part of the bound:

    adversary:     E_q softplus(-T(x, z)) + E_p softplus(T(x, z))   adversary
    autoencoder:   E_q [T(x, z) - log p(x|z)]                       encoder, noise basis and decoder

The gradient of the second through T's own parameters is not needed: for the optimal T its expectation under q is zero
(proposition 2). With adaptive contrast (section 4.1) the prior in the game is replaced by r(z|x), the normal with q's
moments, which is closer to q and so easier for the adversary:

    adversary:     E_q softplus(-T(x, z~)) + E softplus(T(x, eps)),   z~ = (z - mu(x)) / sigma(x),  eps ~ N(0, I)
    autoencoder:   E_q [T(x, z~) + log r(z|x) - log p(z) - log p(x|z)]

without gradients through mu and sigma: T + log r - log p does not depend on them for the optimal T.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import optax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.losses.adversarial import non_saturating_discriminator
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.vaes.objectives import BoundTerms
from jaxgen.models.vaes.posteriors import ImplicitOutputs, ImplicitPosterior
from jaxgen.models.vaes.priors import StandardPrior
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import Headed, ScalarHead
from jaxgen.nets.joint import Joint
from jaxgen.nets.mlp import MLP

@dataclasses.dataclass(frozen=True)
class AVB(VAE):
    """Players `encoder`, `basis`, `decoder` and `adversary`; plays `autoencoder` and `adversary`.

    `log_prob`, `posterior_moments`, `terms` and `anomaly_score` use r(z|x) as the posterior: their bounds hold for any
    adversary. `encode` and `reconstruct` with a key sample the implicit posterior.

    Attributes:
        adversary: any network from pairs of data (and context, concatenated) and latents to features: `Joint`; the
            model adds the scalar output.
        adaptive_contrast: play against r(z|x) instead of the prior.
        posterior: the implicit posterior.

    Raises:
        ValueError: another posterior or prior; an objective of several samples.
    """

    _: dataclasses.KW_ONLY
    adversary: nn.Module = Joint(MLP((512, 512)))
    adaptive_contrast: bool = True
    posterior: ImplicitPosterior = ImplicitPosterior()

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.posterior, ImplicitPosterior) or self.prior != StandardPrior():
            raise ValueError("`posterior` must be an ImplicitPosterior and `prior` StandardPrior() in AVB")
        if self.objective.draws != 1:
            raise ValueError(f"`objective` must have draws=1 in AVB, got {self.objective}")

    @property
    def _adversary(self) -> nn.Module:
        return Headed(self.adversary, ScalarHead())

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; an adversary with batch statistics.
        """
        vae_key, x_key, z_key, adversary_key = jax.random.split(key, 4)
        seen = concatenate_context(self._observe(batch["x"], x_key)[0], batch.get("context"))
        z = jax.random.normal(z_key, (seen.shape[0], self.latent_dim))
        adversary = self._adversary.init(adversary_key, (seen, z))
        return {**super().init(vae_key, batch), "adversary": without_statistics("adversary", adversary)}

    def plays(self) -> Mapping[str, Play]:
        return {
            "autoencoder": Play(self.players, self.loss, optax.adam(1e-4)),
            "adversary": Play(("adversary",), self.adversary_loss, optax.adam(2e-4)),
        }

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective in nats, with the divergence by the adversary; the metrics are this bound and its parts."""
        terms, statistics = self.adversarial_terms(variables, batch, key, training=True)
        return LossOutput(self.objective(terms, clock), self._metrics(terms), statistics)

    def adversary_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means of the logits."""
        x_key, z_key, contrast_key, encoder_key, *keys = jax.random.split(key, 6)
        (seen, _), context = self._observe(batch["x"], x_key), batch.get("context")
        q, _ = self._infer(variables, seen, context, encoder_key)
        z = lax.stop_gradient(self._contrast(q, self.posterior.sample(variables, q, z_key))[0])
        on_posterior = self._judge(variables, seen, z, context, keys[0])
        on_contrast = self._judge(variables, seen, jax.random.normal(contrast_key, z.shape), context, keys[1])
        metrics = {"posterior": on_posterior.mean(), "contrast": on_contrast.mean()}
        return LossOutput(non_saturating_discriminator(on_posterior, on_contrast), metrics)

    def adversarial_terms(
        self, variables: Variables, batch: Batch, key: Key, training: bool = False
    ) -> tuple[BoundTerms, Mapping[str, Mapping[str, Any]]]:
        """`terms` of the implicit posterior, its log-density by the adversary: correct for the optimal adversary."""
        x_key, z_key, *keys = jax.random.split(key, 5)
        encoder_key, decoder_key, adversary_key = keys if training else (None, None, None)
        (seen, target), context = self._observe(batch["x"], x_key), batch.get("context")
        q, encoder_statistics = self._infer(variables, seen, context, encoder_key)
        z = self.posterior.sample(variables, q, z_key)
        judged, log_contrast = self._contrast(q, z)
        log_posterior = self._judge(variables, seen, judged, context, adversary_key) + log_contrast
        log_likelihood, log_prior, decoder_statistics = self.log_joint(variables, z, target, context, decoder_key)
        sampled = (a[None] for a in (log_likelihood, log_prior, log_posterior))
        terms = BoundTerms(*sampled, None, z[None], q)
        return terms, {"encoder": encoder_statistics, "decoder": decoder_statistics}

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: a VAE's metrics for r(z|x); and `adversarial_elbo`, the paper's, with its parts, which are for the
        implicit posterior but are not bounds unless the adversary is optimal.
        """
        terms = self.adversarial_terms(variables, batch, key)[0]
        adversarial = {f"adversarial_{name}": value for name, value in self._metrics(terms).items()}
        return {**super().evaluate(variables, batch, key), **adversarial}

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """A sample of the implicit posterior, [B, latent_dim]; without a key, its mean."""
        if key is None:
            return super().encode(variables, x, None, context)
        x_key, z_key = jax.random.split(key)
        q = self._infer(variables, self._observe(x, x_key)[0], context)[0]
        return self.posterior.sample(variables, q, z_key)

    def _contrast(self, q: ImplicitOutputs, z: Array) -> tuple[Array, Array]:
        """What the adversary sees of z, and the log-density of the distribution that it contrasts with, [B]."""
        if not self.adaptive_contrast:
            return z, DiagonalNormal.standard(self.latent_dim).log_prob(z)
        normal = lax.stop_gradient(q.normal)
        return normal.normalize(z), normal.log_prob(z)

    def _judge(
        self, variables: Variables, seen: Array, z: Array, context: Array | None, key: Key | None = None
    ) -> Array:
        """T, [B]."""
        pair = (concatenate_context(seen, context), z)
        return forward(self._adversary, variables["adversary"], pair, key=key)[0]
