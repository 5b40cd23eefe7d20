"""The variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes").

A decoder p(x|z) with a prior p(z), and an encoder q(z|x) that approximates the posterior, maximise the evidence lower
bound

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)).

What is minimised (`objectives`), the posterior (`posteriors`) and the prior (`priors`) are values: a VAE with
`objective=ImportanceWeighted(50)` is the IWAE, one with a `FlowPosterior` has a normalizing flow as its posterior. By
default q(z|x) = N(mean(x), diag sigma^2(x)), p(z) = N(0, I), the first term is estimated by one sample and the second
is exact. With a context c everywhere, q(z|x, c) and p(x|z, c), it is the conditional VAE (Sohn et al. 2015).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import as_batch, broadcast_context, check_counts, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.distributions.likelihoods import Bernoulli, Likelihood
from jaxgen.losses.elbo import elbo
from jaxgen.losses.likelihood import bits_per_dim
from jaxgen.models.forward import forward
from jaxgen.models.vaes.estimates import Estimates
from jaxgen.models.vaes.objectives import ELBO, BoundTerms, Objective
from jaxgen.models.vaes.observation import check_levels, data_units, observe
from jaxgen.models.vaes.posteriors import NormalPosterior, Posterior
from jaxgen.models.vaes.priors import Prior, StandardPrior
from jaxgen.models.vaes.sampling import sample_terms
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import EventHead, Headed


@dataclasses.dataclass(frozen=True)
class VAE(Estimates):
    """Players `encoder`, `decoder` and those of the posterior and the prior, all trained by the play `elbo`.

    Attributes:
        encoder: any network from data (and context, concatenated) to features; the posterior adds the last layer.
        decoder: any network from latents (and context, concatenated) to features; the model adds the likelihood's head.
        event_shape: shape of the data, without the batch.
        latent_dim: L, the dimension of z.
        likelihood: p(x|z).
        levels: the data are integers 0..levels-1; None: they are real. The encoder gets integers scaled to [0, 1], and
            so does the likelihood unless it has levels itself.
        binarize: with a Bernoulli likelihood, draw each pixel as 0 or 1 with its grey value as probability, at each
            step (Burda et al. 2016); otherwise the likelihood is the cross-entropy of the grey values.
        objective: what is minimised.
        posterior: q(z|x).
        prior: p(z), or p(z|context).
        initializer: `(key, variables, x) -> variables`, applied to fresh variables and the data as the encoder sees
            them without binarization; None: the networks' own initialisation.

    Raises:
        ValueError: levels that differ from the likelihood's; an objective that does not fit the posterior.
    """

    encoder: nn.Module
    decoder: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    latent_dim: int = 50
    likelihood: Likelihood = Bernoulli()
    levels: int | None = None
    binarize: bool = True
    objective: Objective = ELBO()
    posterior: Posterior = NormalPosterior()
    prior: Prior = StandardPrior()
    initializer: Callable[[Key, Variables, Array], Variables] | None = None

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(latent_dim=self.latent_dim)
        if self.levels is not None:
            check_counts(2, levels=self.levels)
        check_levels(self.likelihood, self.levels)
        self.posterior.check(self.latent_dim, self.prior)
        if self.objective.doubly and not isinstance(self.posterior, NormalPosterior):
            raise ValueError(
                "`posterior` must be NormalPosterior with doubly=True, which needs log q(z|x) of given z, got "
                f"{type(self.posterior).__name__}"
            )

    @property
    def monitor(self) -> tuple[str, str]:
        return self.objective.monitor

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, self.posterior.head(self.latent_dim))

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.num_params))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; a missing context; batch statistics in the posterior or the prior.
        """
        x_key, z_key, encoder_key, decoder_key, posterior_key, prior_key = jax.random.split(key, 6)
        seen, target = self._observe(batch["x"], x_key)
        context = broadcast_context(batch.get("context"), seen)
        outputs, encoder = self._encoder.init_with_output(encoder_key, concatenate_context(seen, context))
        variables = {"encoder": encoder, **self.posterior.init(posterior_key, outputs)}
        noise = jax.random.normal(z_key, (seen.shape[0], self.latent_dim))
        z, _ = self.posterior.reparameterize(variables, self.posterior.infer(variables, outputs), noise)
        variables |= self.prior.init(prior_key, z, context)
        variables["decoder"] = self._decoder.init(decoder_key, self._decoder_inputs(z, context, target))
        if self.initializer is None:
            return variables
        return self.initializer(jax.random.fold_in(key, 1), variables, self._observe(batch["x"], None)[0])

    @property
    def players(self) -> tuple[str, ...]:
        """The players whose parameters the bound moves."""
        return ("encoder", "decoder", *self.posterior.players, *self.prior.players)

    @property
    def accumulates(self) -> bool:
        """Whether the loss is a mean over examples (`jaxgen.contracts.Play`)."""
        return self.objective.accumulates and self.likelihood.accumulates and self.posterior.accumulates

    def plays(self) -> Mapping[str, Play]:
        return {"elbo": Play(self.players, self.loss, optax.adam(1e-3), accumulates=self.accumulates)}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective in nats, plus the posterior's penalty; metrics are those of `evaluate` and of the penalty."""
        terms, statistics = self.terms(variables, batch, key, self.objective, training=True)
        penalty = self.posterior.penalty(variables, terms.q, jax.random.fold_in(key, 1))
        value, metrics = self.objective(terms, clock) + penalty.value, {**self._metrics(terms), **penalty.metrics}
        return LossOutput(value, metrics, {**statistics, **penalty.statistics})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: `elbo` and its parts, `reconstruction` - `kl`, and the objective's metrics; `bits_per_dim` of the
        bound, if the likelihood has levels.
        """
        metrics = self._metrics(self.terms(variables, batch, key, self.objective)[0])
        if self.likelihood.levels is not None:
            metrics["bits_per_dim"] = bits_per_dim(metrics["elbo"], math.prod(self.event_shape))
        return metrics

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, means: bool = False
    ) -> Array:
        """x ~ p(x|z), z ~ p(z), in data units; with `means` E[x|z] instead, which papers show."""
        z_key, x_key = jax.random.split(key)
        z = self.sample_prior(variables, z_key, n, context)
        return self._data_units(self._generate(variables, z, context, None if means else x_key))

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """z ~ p(z), or p(z|context): [n, latent_dim]."""
        check_counts(n=n)
        return self.prior.sample(variables, key, (n, self.latent_dim), context)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """z ~ q(z|x), [B, latent_dim]; without a key, z at zero noise: the mean of a normal posterior."""
        x_key, z_key = (None, None) if key is None else jax.random.split(key)
        seen = self._observe(x, x_key)[0]
        q, shape = self._infer(variables, seen, context)[0], (seen.shape[0], self.latent_dim)
        noise = jnp.zeros(shape) if key is None else jax.random.normal(z_key, shape)
        return self.posterior.reparameterize(variables, q, noise)[0]

    def posterior_moments(self, variables: Variables, x: Array, context: Array | None = None) -> DiagonalNormal:
        """Mean and log-variance of q(z|x), [B, latent_dim] each; of a flow posterior, of the normal it starts from."""
        return self.posterior.moments(self._infer(variables, self._observe(x, None)[0], context)[0])

    def observed(self, x: Array, key: Key) -> Array:
        """Data in data units, binarized if the model binarizes; `terms` leaves these as they are."""
        return self._data_units(self._observe(x, key)[1])

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """E[x|z] in data units."""
        return self._data_units(self._generate(variables, as_batch("z", z), context))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|z] at z = `encode(x, key)`."""
        return self.decode(variables, self.encode(variables, x, key, context), context)

    def terms(
        self, variables: Variables, batch: Batch, key: Key, objective: Objective = ELBO(), training: bool = False
    ) -> tuple[BoundTerms, Mapping[str, Mapping[str, Any]]]:
        """The terms of the bound by the samples that `objective` asks for, and the statistics that training updates."""
        x_key, z_key, *keys = jax.random.split(key, 4)
        encoder_key, decoder_key = keys if training else (None, None)
        seen, target = self._observe(batch["x"], x_key)
        context = broadcast_context(batch.get("context"), seen)
        q, encoder_statistics = self._infer(variables, seen, context, encoder_key)
        prior = self.prior.normal(variables, self.latent_dim, context)
        exact = prior is not None and isinstance(q, DiagonalNormal)
        samples, decoder_statistics = sample_terms(self, variables, q, (target, context), objective, z_key, decoder_key)
        terms = BoundTerms(kl_per_dimension=q.kl_per_dimension(prior) if exact else None, q=q, **samples)
        return terms, {"encoder": encoder_statistics, "decoder": decoder_statistics}

    def log_joint(
        self, variables: Variables, z: Array, target: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Array, Mapping[str, Any]]:
        """log p(x|z) [B], log p(z) [B], and the decoder's updated statistics; with a key in training mode.

        Args:
            target: x as the likelihood has it.
        """
        inputs = self._decoder_inputs(z, context, target)
        params, statistics = forward(self._decoder, variables["decoder"], inputs, key=key)
        return self.likelihood.log_prob(params, target), self.prior.log_prob(variables, z, context), statistics

    def _metrics(self, terms: BoundTerms) -> dict[str, Array]:
        bound = elbo(terms.reconstruction, terms.kl)
        parts = {"elbo": bound, "kl": terms.kl, "reconstruction": terms.reconstruction}
        return {**{name: part.mean() for name, part in parts.items()}, **self.objective.metrics(terms)}

    def _observe(self, x: Array, key: Key | None) -> tuple[Array, Array]:
        """The data for the encoder, and for the likelihood; without a key they are not binarized."""
        seen, target = observe(x, self.event_shape, self.likelihood, self.levels)
        if self.binarize and isinstance(self.likelihood, Bernoulli) and key is not None:
            seen = target = jax.random.bernoulli(key, seen).astype(seen.dtype)
        return seen, target

    def _data_units(self, y: Array) -> Array:
        return data_units(y, self.likelihood, self.levels)

    def _infer(
        self, variables: Variables, seen: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Any, Mapping[str, Any]]:
        """q(z|x), and the encoder's updated statistics; with a key the encoder is in training mode."""
        outputs, statistics = forward(self._encoder, variables["encoder"], concatenate_context(seen, context), key=key)
        return self.posterior.infer(variables, outputs), statistics

    def _generate(self, variables: Variables, z: Array, context: Array | None, key: Key | None = None) -> Array:
        """x ~ p(x|z), or without a key E[x|z], in the units of the likelihood."""
        params = self._parameters(variables, z, context)
        return self.likelihood.mean(params) if key is None else self.likelihood.sample(params, key)

    def _parameters(self, variables: Variables, z: Array, context: Array | None, target: Array | None = None) -> Array:
        return forward(self._decoder, variables["decoder"], self._decoder_inputs(z, context, target))[0]

    def _decoder_inputs(self, z: Array, context: Array | None, target: Array | None) -> Any:
        """Autoregressive decoders use `target` too."""
        return concatenate_context(z, context)
