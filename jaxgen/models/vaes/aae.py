"""The adversarial autoencoder (Makhzani et al. 2015, "Adversarial Autoencoders").

An autoencoder and a discriminator D of codes with logit a, which makes the distribution of all codes that of a prior
p(z), of any kind that has samples. Its real examples are samples z_p of the prior, its fake ones the codes z_q:

    reconstruction:   -E log p(x|z_q)                           encoder and decoder
    discriminator:    E softplus(-a(z_p)) + E softplus(a(z_q))  discriminator
    regularisation:   E softplus(-a(z_q))                       encoder

three moves a step, in this order (section 2). The encoder is deterministic or Gaussian, z = mu(x) + sigma(x) eps
(section 2.1). A context c is given to the decoder but not to the encoder, so that codes hold the rest of x, its style
(section 4). With labels, the discriminator also gets the labels of both, and each class is matched to the component of
the prior with its index (section 2.3; there with one more class, for examples without a label).
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

from jaxgen.arguments import as_batch, check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.likelihoods import Bernoulli, Likelihood
from jaxgen.distributions.normal import StandardNormal
from jaxgen.losses.adversarial import non_saturating_discriminator, non_saturating_generator
from jaxgen.metrics.distances import sample_distances, sliced_wasserstein
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.vaes.observation import check_levels, data_units, observe
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import EventHead, GaussianHead, Headed, ScalarHead
from jaxgen.sharding import sharded


class CodePrior(Protocol):
    def sample(self, key: Key, n: int) -> Array:
        """[n, latent_dim]; with a third argument, labels [n], each sample is of the component of its label."""


@dataclasses.dataclass(frozen=True)
class AAE:
    """Players `encoder`, `decoder` and `discriminator`; plays `reconstruction`, `discriminator`, `regularisation`.

    Attributes:
        encoder: any network from data to features; the model adds the last layer.
        decoder: any network from latents (and context, concatenated) to features; the model adds the likelihood's head.
        discriminator: any network from latents to features; the model adds the scalar output.
        event_shape: shape of the data, without the batch.
        latent_dim: dimension of z.
        likelihood: p(x|z): its logarithm is the reconstruction, for a Bernoulli the cross-entropy of grey values.
        levels: the data are integers 0..levels-1, which the networks get on [0, 1]; None: they are real.
        stochastic: a Gaussian encoder; otherwise a deterministic one.
        prior: what codes are matched to; None: standard normal.
        num_classes: if positive, the discriminator gets the labels 0..num_classes-1.
        metrics: `(real, fake) -> {name: scalar}` on samples in data units, reported by `evaluate`.
        monitor: the metric of `evaluate` that chooses the best checkpoint, and its direction.

    Raises:
        ValueError: levels that differ from the likelihood's; classes without a prior.
    """

    encoder: nn.Module
    decoder: nn.Module
    discriminator: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    latent_dim: int = 8
    likelihood: Likelihood = Bernoulli()
    levels: int | None = None
    stochastic: bool = False
    prior: CodePrior | None = None
    num_classes: int = 0
    metrics: Callable[[Array, Array], Mapping[str, Array]] = sample_distances
    monitor: tuple[str, str] = ("sliced_wasserstein", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(latent_dim=self.latent_dim)
        check_counts(0, num_classes=self.num_classes)
        check_levels(self.likelihood, self.levels)
        if self.num_classes and self.prior is None:
            raise ValueError(f"`prior` must have components for num_classes={self.num_classes}, got None")

    @property
    def _encoder(self) -> nn.Module:
        head = GaussianHead(self.latent_dim) if self.stochastic else EventHead((self.latent_dim,))
        return Headed(self.encoder, head)

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.num_params))

    @property
    def _discriminator(self) -> nn.Module:
        return Headed(self.discriminator, ScalarHead())

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; no labels although the model has classes; a discriminator with batch
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
        z, encoder_statistics = self._code(variables, self._observe(batch["x"]), z_key, encoder_key)
        log_likelihood, decoder_statistics = self._rate(variables, z, batch, decoder_key)
        statistics = {"encoder": encoder_statistics, "decoder": decoder_statistics}
        return LossOutput(-log_likelihood.mean(), statistics=statistics)

    def discriminator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means of the logits."""
        prior_key, z_key, encoder_key, *keys = jax.random.split(key, 5)
        seen = self._observe(batch["x"])
        fake = lax.stop_gradient(self._code(variables, seen, z_key, encoder_key)[0])
        on_real = self._judge(variables, seen, self._prior_codes(batch, prior_key), batch, keys[0])
        on_fake = self._judge(variables, seen, fake, batch, keys[1])
        metrics = {"real": on_real.mean(), "fake": on_fake.mean()}
        return LossOutput(non_saturating_discriminator(on_real, on_fake), metrics)

    def regularisation_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        z_key, encoder_key, discriminator_key = jax.random.split(key, 3)
        seen = self._observe(batch["x"])
        # the reconstruction has updated the encoder's statistics
        z, _ = self._code(variables, seen, z_key, encoder_key)
        return LossOutput(non_saturating_generator(self._judge(variables, seen, z, batch, discriminator_key)))

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`reconstruction`, E log p(x|z) in nats; `codes`, the sliced Wasserstein distance from codes to as many
        samples of the prior; `metrics` of as many samples as examples.
        """
        z_key, metrics_key = jax.random.split(key)
        z = self.encode(variables, batch["x"], z_key)
        reconstruction = self._rate(variables, z, batch)[0].mean()
        return {"reconstruction": reconstruction, **self._distances(variables, batch, z, metrics_key)}

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """E[x|z] in data units, z ~ p(z)."""
        return self.decode(variables, self.sample_prior(variables, key, n, context), context)

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """z ~ p(z): [n, latent_dim]."""
        return sharded((self.prior or StandardNormal((self.latent_dim,))).sample(key, n))

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The code, [B, latent_dim]: the mean of a Gaussian encoder, or with a key a sample. Ignores the context."""
        return self._code(variables, self._observe(x), key)[0]

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """E[x|z] in data units."""
        params, _ = self._parameters(variables, as_batch("z", z), context)
        return data_units(self.likelihood.mean(params), self.likelihood, self.levels)

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|z] at z = `encode(x, key)`."""
        return self.decode(variables, self.encode(variables, x, key), context)

    def _distances(self, variables: Variables, batch: Batch, z: Array, key: Key) -> dict[str, Array]:
        """The metrics of codes and samples."""
        prior_key, sample_key = jax.random.split(key)
        codes = sliced_wasserstein(z, self.sample_prior(variables, prior_key, z.shape[0]), jax.random.key(0))
        return {
            "codes": codes,
            **self.metrics(batch["x"], self.sample(variables, sample_key, z.shape[0], batch.get("context"))),
        }

    def _observe(self, x: Array) -> Array:
        return observe(x, self.event_shape, self.likelihood, self.levels)[0]

    def _code(
        self, variables: Variables, seen: Array, z_key: Key | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """Codes [B, L], without `z_key` their means, and updated statistics; with `key` in training mode."""
        outputs, statistics = forward(self._encoder, variables["encoder"], seen, key=key)
        if not self.stochastic:
            return outputs[..., 0], statistics
        return outputs.mean if z_key is None else outputs.sample(z_key), statistics

    def _prior_codes(self, batch: Batch, key: Key) -> Array:
        """A sample of the prior per example; if the model has classes, of the component of its label."""
        if not self.num_classes:
            return self.sample_prior({}, key, jnp.shape(batch["x"])[0])
        if "label" not in batch:
            raise ValueError(f"the data must have labels with num_classes={self.num_classes}, got none")
        return sharded(self.prior.sample(key, jnp.shape(batch["x"])[0], batch["label"]))

    def _parameters(
        self, variables: Variables, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        return forward(self._decoder, variables["decoder"], concatenate_context(z, context), key=key)

    def _rate(
        self, variables: Variables, z: Array, batch: Batch, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """log p(x|z) [B], and updated statistics."""
        params, statistics = self._parameters(variables, z, batch.get("context"), key)
        target = observe(batch["x"], self.event_shape, self.likelihood, self.levels)[1]
        return self.likelihood.log_prob(params, target), statistics

    def _judged(self, seen: Array, z: Array, batch: Batch) -> Any:
        """The discriminator's input."""
        return jnp.concatenate([z, jax.nn.one_hot(batch["label"], self.num_classes)], -1) if self.num_classes else z

    def _judge(self, variables: Variables, seen: Array, z: Array, batch: Batch, key: Key | None = None) -> Array:
        """Logits [B] of being a sample of the prior."""
        return forward(self._discriminator, variables["discriminator"], self._judged(seen, z, batch), key=key)[0]
