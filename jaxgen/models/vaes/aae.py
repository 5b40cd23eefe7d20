"""The adversarial autoencoder (Makhzani et al. 2015, "Adversarial Autoencoders").

An autoencoder whose codes, taken over all the data, a discriminator D of codes with logit a holds to a prior p(z) of
any kind that can be drawn from. Its real examples are draws z_p of the prior, its fake ones the codes z_q:

    reconstruction:   -E log p(x|z_q)                           encoder and decoder
    discriminator:    E softplus(-a(z_p)) + E softplus(a(z_q))  discriminator
    regularisation:   E softplus(-a(z_q))                       encoder

three moves a step, in this order (section 2). The encoder is deterministic or Gaussian, z = mu(x) + sigma(x) eps
(section 2.1). With a context c, the decoder is given it and the encoder is not, so that codes are of what is left of x,
its style (section 4). With labels, the discriminator is given those of both, and each class goes to the component of
the prior that bears its number (section 2.3; there with a class more, for rows without a label).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import freeze_fields, rows
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.likelihoods import Bernoulli, Likelihood
from jaxgen.distributions.normal import Normal
from jaxgen.losses.adversarial import non_saturating_discriminator, non_saturating_generator
from jaxgen.metrics.distances import sample_distances, sliced_wasserstein
from jaxgen.models.players import forward, without_statistics
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import EventHead, GaussianHead, Headed, ScalarHead
from jaxgen.sharding import sharded


class Prior(Protocol):
    def sample(self, key: Key, n: int) -> Array:
        """[n, latents]; where the model has classes, a third argument is the label [n] of each."""


@dataclasses.dataclass(frozen=True)
class AAE:
    """Players `encoder`, `decoder` and `discriminator`; plays `reconstruction`, `discriminator`, `regularisation`.

    Attributes:
        encoder: any network from data to features; the model adds the last layer.
        decoder: any network from latents (and context, concatenated) to features; the model adds the likelihood's head.
        discriminator: any network from latents to features; the model adds the scalar output.
        event_shape: of the data, without the batch.
        latents: dimension of z.
        likelihood: p(x|z): its logarithm is the reconstruction, a Bernoulli's the cross-entropy of grey values.
        levels: the data are integers 0..levels-1, which the networks see on [0, 1]; None, they are real.
        stochastic: a Gaussian encoder; otherwise a deterministic one.
        prior: what codes are held to; None: standard normal.
        classes: where the discriminator is given the label, their number; 0: it is not.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: which figure of `evaluate` says what checkpoint is best, and its direction.
    """

    encoder: nn.Module
    decoder: nn.Module
    discriminator: nn.Module
    event_shape: tuple[int, ...]
    latents: int = 8
    likelihood: Likelihood = Bernoulli()
    levels: int | None = None
    stochastic: bool = False
    prior: Prior | None = None
    classes: int = 0
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        if self.likelihood.levels not in (None, self.levels):
            raise ValueError(f"the likelihood counts {self.likelihood.levels} levels, the model {self.levels}")
        if self.classes and self.prior is None:
            raise ValueError(f"the model has {self.classes} classes and a prior without components: give it prior=")

    @property
    def _encoder(self) -> nn.Module:
        head = GaussianHead(self.latents) if self.stochastic else EventHead((self.latents,))
        return Headed(self.encoder, head)

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.n))

    @property
    def _discriminator(self) -> nn.Module:
        return Headed(self.discriminator, ScalarHead())

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; no labels, and the model has classes; a discriminator with batch
            statistics.
        """
        z_key, encoder_key, decoder_key, discriminator_key = jax.random.split(key, 4)
        seen, z = self._observe(batch["x"]), self._prior_codes(batch, z_key)
        judged = self._discriminator.init(discriminator_key, self._judged(seen, z, batch))
        return {
            "encoder": self._encoder.init(encoder_key, seen),
            "decoder": self._decoder.init(decoder_key, concatenate_context(z, batch.get("context"))),
            "discriminator": without_statistics("discriminator", judged),
        }

    def plays(self) -> Mapping[str, Play]:
        return {
            "reconstruction": Play(("encoder", "decoder"), self.reconstruction_loss, optax.adam(1e-3)),
            "discriminator": Play(("discriminator",), self.discriminator_loss, optax.adam(2e-4, b1=0.5)),
            "regularisation": Play(("encoder",), self.regularisation_loss, optax.adam(2e-4, b1=0.5)),
        }

    def reconstruction_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """In nats."""
        z_key, encoder_key, decoder_key = jax.random.split(key, 3)
        z, encoder_state = self._code(variables, self._observe(batch["x"]), z_key, encoder_key)
        log_likelihood, decoder_state = self._rate(variables, z, batch, decoder_key)
        return LossOutput(-log_likelihood.mean(), statistics={"encoder": encoder_state, "decoder": decoder_state})

    def discriminator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means of the logits."""
        prior_key, z_key, encoder_key, *keys = jax.random.split(key, 5)
        seen = self._observe(batch["x"])
        fake = lax.stop_gradient(self._code(variables, seen, z_key, encoder_key)[0])
        on_real = self._judge(variables, seen, self._prior_codes(batch, prior_key), batch, keys[0])
        on_fake = self._judge(variables, seen, fake, batch, keys[1])
        figures = {"real": on_real.mean(), "fake": on_fake.mean()}
        return LossOutput(non_saturating_discriminator(on_real, on_fake), figures)

    def regularisation_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        z_key, encoder_key, discriminator_key = jax.random.split(key, 3)
        seen = self._observe(batch["x"])
        # statistics of the encoder's batches moved with the reconstruction already
        z, _ = self._code(variables, seen, z_key, encoder_key)
        return LossOutput(non_saturating_generator(self._judge(variables, seen, z, batch, discriminator_key)))

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`reconstruction`, E log p(x|z) in nats; `codes`, the sliced Wasserstein distance from codes to as many draws
        of the prior; `metrics` of as many samples as rows.
        """
        z_key, figures_key = jax.random.split(key)
        z = self.encode(variables, batch["x"], z_key)
        reconstruction = self._rate(variables, z, batch)[0].mean()
        return {"reconstruction": reconstruction, **self._distances(variables, batch, z, figures_key)}

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """E[x|z] in data units, z ~ p(z)."""
        return self.decode(variables, self.sample_prior(variables, key, n, context), context)

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """z ~ p(z): [n, latents]."""
        return sharded((self.prior or Normal((self.latents,))).sample(key, n))

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The code, [B, latents]: of a Gaussian encoder its mean, or with a key a draw. No context goes into it."""
        return self._code(variables, self._observe(x), key)[0]

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """E[x|z] in data units."""
        z = rows("z", z)
        high = 1.0 if self.likelihood.levels is None else self.levels - 1
        return to_data(self.likelihood.mean(self._parameters(variables, z, context)[0]), self.levels, high=high)

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|z] at the code, of a Gaussian encoder its mean, or with a key a draw."""
        return self.decode(variables, self.encode(variables, x, key), context)

    def _distances(self, variables: Variables, batch: Batch, z: Array, key: Key) -> dict[str, Array]:
        """What `evaluate` says of codes and samples."""
        prior_key, sample_key = jax.random.split(key)
        codes = sliced_wasserstein(z, self.sample_prior(variables, prior_key, z.shape[0]), jax.random.key(0))
        return {
            "codes": codes,
            **self.metrics(batch["x"], self.sample(variables, sample_key, z.shape[0], batch.get("context"))),
        }

    def _observe(self, x: Array) -> Array:
        return from_data(x, self.event_shape, self.levels)

    def _code(
        self, variables: Variables, seen: Array, z_key: Key | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """Codes [B, L], without `z_key` their means, and what the pass changed; with a key the encoder is training."""
        outputs, state = forward(self._encoder, variables["encoder"], seen, key=key)
        if not self.stochastic:
            return outputs[..., 0], state
        mean, log_variance, _ = outputs
        if z_key is None:
            return mean, state
        return mean + jnp.exp(log_variance / 2) * jax.random.normal(z_key, mean.shape), state

    def _prior_codes(self, batch: Batch, key: Key) -> Array:
        """As many draws of the prior as rows; of the rows' own components, if the model has classes."""
        if not self.classes:
            return self.sample_prior({}, key, jnp.shape(batch["x"])[0])
        if "label" not in batch:
            raise ValueError(f"the model has {self.classes} classes, and the data no label: give one, or classes=0")
        return sharded(self.prior.sample(key, jnp.shape(batch["x"])[0], batch["label"]))

    def _parameters(
        self, variables: Variables, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        return forward(self._decoder, variables["decoder"], concatenate_context(z, context), key=key)

    def _rate(
        self, variables: Variables, z: Array, batch: Batch, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """log p(x|z) [B], and what the pass changed."""
        params, state = self._parameters(variables, z, batch.get("context"), key)
        target = self._observe(batch["x"]) if self.likelihood.levels is None else batch["x"]
        return self.likelihood.log_prob(params, target), state

    def _judged(self, seen: Array, z: Array, batch: Batch) -> Any:
        """What the discriminator is given."""
        return jnp.concatenate([z, jax.nn.one_hot(batch["label"], self.classes)], -1) if self.classes else z

    def _judge(self, variables: Variables, seen: Array, z: Array, batch: Batch, key: Key | None = None) -> Array:
        """Logits [B] of the prior's side."""
        return forward(self._discriminator, variables["discriminator"], self._judged(seen, z, batch), key=key)[0]
