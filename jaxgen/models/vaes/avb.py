"""Adversarial variational Bayes (Mescheder et al. 2017, "Adversarial Variational Bayes", algorithms 1 and 2).

A variational autoencoder whose posterior q(z|x) can be drawn from and not rated: noise is an input of its encoder. An
adversary with logit T(x, z) tells its draws from the prior's, and where it is optimal, T = log q(z|x) - log p(z), it
stands for what the bound lacks:

    adversary:     E_q softplus(-T(x, z)) + E_p softplus(T(x, z))   adversary
    autoencoder:   E_q [T(x, z) - log p(x|z)]                       encoder, noise basis and decoder

There T's own parameters have no part in the second, and need none: E_q of the optimal T's gradient in the posterior's
parameters is zero (proposition 2). With adaptive contrast (section 4.1) the prior in the game is replaced by the normal
r(z|x) of q's own moments, closer to q and so easier for the adversary:

    adversary:     E_q softplus(-T(x, z~)) + E softplus(T(x, eps)),   z~ = (z - mu(x)) / sigma(x),  eps ~ N(0, I)
    autoencoder:   E_q [T(x, z~) + log r(z|x) - log p(z) - log p(x|z)]

mu and sigma without a gradient: the sum T + log r - log p does not depend on them where T is optimal. The posterior is
the paper's own, z = z_0(x) + sum_k a_k(x) v_k(eps_k), whose moments are those of the v_k.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import non_saturating_discriminator
from jaxgen.models.players import forward, without_statistics
from jaxgen.models.vaes.objectives import Terms
from jaxgen.models.vaes.vae import VAE, Posterior
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import Headed, ScalarHead
from jaxgen.nets.implicit import MixingHead, NoiseBasis, mix, mixed_moments
from jaxgen.nets.joint import Joint
from jaxgen.nets.mlp import MLP

MOMENT_DRAWS = 256
"""Draws of the noise, always the same, that the posterior's moments are taken over."""
FLOOR = 1e-4
"""Of the posterior's variance, as r and its normalised draws have it."""


@dataclasses.dataclass(frozen=True)
class AVB(VAE):
    """Players `encoder`, `basis`, `decoder` and `adversary`; plays `autoencoder` and `adversary`.

    What a VAE offers of its Gaussian posterior (`log_prob`, `posterior_moments`, `terms`, `anomaly_score`) is here of
    r(z|x), the normal of the posterior's moments: bounds by it are bounds, whatever the adversary is worth. Draws, of
    `encode` and `reconstruct` with a key, are the posterior's own. The prior is standard normal.

    Attributes:
        adversary: any network from pairs of data (and context, concatenated) and latents to features: `Joint`; the
            model adds the scalar output.
        adaptive_contrast: play against r(z|x) in place of the prior.
        basis: the number of functions v_k.
        noise: dimension of the noise of each.
        basis_widths: of their hidden layers.
    """

    adversary: nn.Module = Joint(MLP((512, 512)))
    adaptive_contrast: bool = True
    basis: int = 32
    noise: int = 64
    basis_widths: tuple[int, ...] = (128, 128, 128)

    def __post_init__(self):
        super().__post_init__()
        if self.posterior is not None or self.prior is not None:
            raise ValueError("AVB has an implicit posterior and a standard normal prior: give it neither another way")

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, MixingHead(self.latents, self.basis))

    @property
    def _basis(self) -> nn.Module:
        return NoiseBasis(self.latents, self.basis_widths)

    @property
    def _adversary(self) -> nn.Module:
        return Headed(self.adversary, ScalarHead())

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; an adversary with batch statistics.
        """
        vae_key, x_key, z_key, noise_key, basis_key, adversary_key = jax.random.split(key, 6)
        seen = concatenate_context(self._observe(batch["x"], x_key)[0], batch.get("context"))
        z = jax.random.normal(z_key, (seen.shape[0], self.latents))
        adversary = self._adversary.init(adversary_key, (seen, z))
        return {
            **super().init(vae_key, batch),
            "basis": self._basis.init(basis_key, self._noise(noise_key, seen.shape[0])),
            "adversary": without_statistics("adversary", adversary),
        }

    @property
    def players(self) -> tuple[str, ...]:
        """Whose parameters the bound moves."""
        return ("encoder", "basis", "decoder")

    def plays(self) -> Mapping[str, Play]:
        return {
            "autoencoder": Play(self.players, self.loss, optax.adam(1e-4)),
            "adversary": Play(("adversary",), self.adversary_loss, optax.adam(2e-4)),
        }

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective, in nats, its divergence by the adversary; the metrics are that bound and its parts."""
        terms, state = self.adversarial_terms(variables, batch, key, training=True)
        return LossOutput(self.objective(terms, clock), self._figures(terms), state)

    def adversary_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means of the logits."""
        x_key, z_key, contrast_key, encoder_key, *keys = jax.random.split(key, 6)
        (seen, _), context = self._observe(batch["x"], x_key), batch.get("context")
        q, _ = self._infer(variables, seen, context, encoder_key)
        z = lax.stop_gradient(self._contrast(q, self._imply(variables, q, z_key))[0])
        on_posterior = self._judge(variables, seen, z, context, keys[0])
        on_contrast = self._judge(variables, seen, jax.random.normal(contrast_key, z.shape), context, keys[1])
        figures = {"posterior": on_posterior.mean(), "contrast": on_contrast.mean()}
        return LossOutput(non_saturating_discriminator(on_posterior, on_contrast), figures)

    def adversarial_terms(
        self, variables: Variables, batch: Batch, key: Key, training: bool = False
    ) -> tuple[Terms, Mapping[str, Mapping[str, Any]]]:
        """`terms` of the posterior itself, their divergence by the adversary: right where that is optimal."""
        x_key, z_key, *keys = jax.random.split(key, 5)
        encoder_key, decoder_key, adversary_key = keys if training else (None, None, None)
        (seen, target), context = self._observe(batch["x"], x_key), batch.get("context")
        q, encoder_state = self._infer(variables, seen, context, encoder_key)
        z = self._imply(variables, q, z_key)
        judged, remainder = self._contrast(q, z)
        kl = self._judge(variables, seen, judged, context, adversary_key) + remainder
        params, decoder_state = forward(
            self._decoder, variables["decoder"], self._decoder_inputs(z, context, target), key=decoder_key
        )
        terms = Terms(self.likelihood.log_prob(params, target), kl, None, z, q.mean, q.log_variance)
        return terms, {"encoder": encoder_state, "decoder": decoder_state}

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: a VAE's figures of r(z|x); and `adversarial_elbo`, the paper's own, and its parts, which are of the
        posterior but bound nothing while the adversary is not optimal.
        """
        terms = self.adversarial_terms(variables, batch, key)[0]
        adversarial = {f"adversarial_{name}": value for name, value in self._figures(terms).items()}
        return {**super().evaluate(variables, batch, key), **adversarial}

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The posterior's mean, [B, latents], or with a key a draw from it."""
        if key is None:
            return super().encode(variables, x, None, context)
        x_key, z_key = jax.random.split(key)
        return self._imply(variables, self._infer(variables, self._observe(x, x_key)[0], context)[0], z_key)

    def _noise(self, key: Key, n: int) -> Array:
        return jax.random.normal(key, (n, self.basis, self.noise))

    def _infer(
        self, variables: Variables, seen: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Posterior, Mapping[str, Any]]:
        """The posterior's moments, and as its features the location and scales that `mix` wants."""
        mixture, state = forward(self._encoder, variables["encoder"], concatenate_context(seen, context), key=key)
        values = self._basis.apply(variables["basis"], self._noise(jax.random.key(0), MOMENT_DRAWS))
        mean, variance = mixed_moments(*mixture, values)
        return Posterior(mean, jnp.log(variance + FLOOR), mixture), state

    def _imply(self, variables: Variables, q: Posterior, key: Key) -> Array:
        """z ~ q(z|x), [B, L]."""
        return mix(*q.features, self._basis.apply(variables["basis"], self._noise(key, q.mean.shape[0])))

    def _contrast(self, q: Posterior, z: Array) -> tuple[Array, Array | float]:
        """What the adversary is shown of z, and what its logit lacks of log q(z|x) - log p(z), [B]."""
        if not self.adaptive_contrast:
            return z, 0.0
        mean, log_variance = lax.stop_gradient((q.mean, q.log_variance))
        normalised = (z - mean) * jnp.exp(-log_variance / 2)
        return normalised, self._normal.log_prob(normalised) - log_variance.sum(-1) / 2 - self._normal.log_prob(z)

    def _judge(
        self, variables: Variables, seen: Array, z: Array, context: Array | None, key: Key | None = None
    ) -> Array:
        """T, [B]."""
        pair = (concatenate_context(seen, context), z)
        return forward(self._adversary, variables["adversary"], pair, key=key)[0]
