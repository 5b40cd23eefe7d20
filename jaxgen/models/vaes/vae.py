"""The variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes").

A decoder p(x|z) with a prior p(z), and an encoder q(z|x) = N(mu(x), diag sigma^2(x)) that stands for its posterior. Both
climb the evidence lower bound

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)),    z = mu(x) + sigma(x) eps,  eps ~ N(0, I),

the first term by one draw of eps, the second in closed form. With a context c everywhere, q(z|x, c) and p(x|z, c), it
is a conditional one (Sohn et al. 2015), whose prior may be p(z|c).

Posterior and prior may be flows (Rezende & Mohamed 2015). With f from z to the normal draw, as any bijector runs from
data to latents, log q(z|x) = log N(f(z); mu, sigma^2) + log|det df/dz|, and the divergence is estimated by the draw:
log q(z|x) - log p(z). `posterior=Invert(MAF)` is the inverse autoregressive flow of Kingma et al. 2016, fast to draw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import context_rows, counts, freeze_fields, real, rows, shape
from jaxgen.bijectors.bijector import Bijector
from jaxgen.contracts import Array, Batch, Clock, Every, Key, LossOutput, Play, Variables
from jaxgen.distributions.likelihoods import Bernoulli, Likelihood
from jaxgen.distributions.normal import Normal
from jaxgen.losses.elbo import elbo, importance_weighted_bound, kl_per_dimension
from jaxgen.losses.likelihood import bits_per_dim
from jaxgen.models.players import forward
from jaxgen.models.scaling import from_data, to_data
from jaxgen.models.vaes.objectives import ELBO, Objective, Terms
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import EventHead, GaussianHead, Headed


class Posterior(NamedTuple):
    """q(z|x) of each row: [B, L] the moments of its normal draw, and what a posterior flow is conditioned on, if any."""

    mean: Array
    log_variance: Array
    features: Array | None


Kind = TypeVar("Kind", bound="VAE")


@dataclasses.dataclass(frozen=True)
class VAE:
    """Players `encoder` and `decoder`, and `posterior` and `prior` where they learn, moved together by the play `elbo`.

    Attributes:
        encoder: any network from data (and context, concatenated) to features; the model adds the two Gaussian heads.
        decoder: any network from latents (and context, concatenated) to features; the model adds the likelihood's head.
        event_shape: of the data, without the batch.
        latents: dimension of z.
        likelihood: p(x|z).
        levels: the data are integers 0..levels-1; None, they are real. Integers reach the encoder scaled to [0, 1], and
            the likelihood so too unless it counts levels itself: a Gaussian then rates the scaled data, undequantized.
        binarize: for a Bernoulli likelihood: draw each pixel anew, on with its grey value as probability, with the
            step's key (Burda et al. 2016); otherwise rate the grey values by their cross-entropy.
        objective: what is minimised.
        posterior: a flow from z [B, latents] to the encoder's normal draw; as many features as there are latents, a
            third output of the encoder, are its context. None: the normal itself.
        prior: None: standard normal. A bijector: a flow from z to a standard normal, given the context if there is one.
            Any other network, from the context: a normal whose moments it computes, with a head that the model adds.
    """

    encoder: nn.Module
    decoder: nn.Module
    event_shape: tuple[int, ...]
    latents: int = 50
    likelihood: Likelihood = Bernoulli()
    levels: int | None = None
    binarize: bool = True
    objective: Objective = ELBO()
    posterior: Bijector | None = None
    prior: nn.Module | None = None

    def __post_init__(self):
        freeze_fields(self)
        shape(self.event_shape)
        counts(latents=self.latents)
        if self.levels is not None:
            counts(2, levels=self.levels)
        if self.likelihood.levels not in (None, self.levels):
            raise ValueError(f"the likelihood counts {self.likelihood.levels} levels, the model {self.levels}")

    @property
    def monitor(self) -> tuple[str, str]:
        """The bound, unless the objective names what it is to be judged by."""
        return getattr(self.objective, "monitor", ("elbo", "max"))

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, GaussianHead(self.latents, self.latents if self.posterior else 0))

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.n))

    @property
    def _normal(self) -> Normal:
        """Of the noise that latents are drawn by, and where there is no other the prior."""
        return Normal((self.latents,))

    @property
    def _prior(self) -> nn.Module:
        return self.prior if self._has_flow_prior else Headed(self.prior, GaussianHead(self.latents))

    @property
    def _has_flow_prior(self) -> bool:
        return isinstance(self.prior, Bijector)

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: data of another shape or type; a prior network without a context; a flow with batch statistics.
        """
        x_key, z_key, encoder_key, decoder_key, posterior_key, prior_key = jax.random.split(key, 6)
        seen, target = self._observe(batch["x"], x_key)
        z, context = jax.random.normal(z_key, (seen.shape[0], self.latents)), batch.get("context")
        variables = {"encoder": self._encoder.init(encoder_key, concatenate_context(seen, context))}
        if self.posterior is not None:
            q = self._infer(variables, seen, context)[0]
            start = q.mean + jnp.exp(q.log_variance / 2) * z
            variables["posterior"] = self.posterior.init(
                posterior_key, start, q.features, method="inverse_and_log_det"
            )
            z = self._draw(variables, q, z)[0]
        if self._has_flow_prior:
            variables["prior"] = self.prior.init(prior_key, z, context)
        elif self.prior is not None:
            variables["prior"] = self._prior.init(prior_key, self._required(context, z))
        if any("batch_stats" in variables.get(name, {}) for name in ("posterior", "prior")):
            raise ValueError("posterior and prior have batch statistics, which nothing moves: use ActNorm or none")
        return {**variables, "decoder": self._decoder.init(decoder_key, self._decoder_inputs(z, context, target))}

    @property
    def players(self) -> tuple[str, ...]:
        """Whose parameters the bound moves."""
        learned = {"posterior": self.posterior, "prior": self.prior}
        return ("encoder", "decoder", *(name for name, part in learned.items() if part is not None))

    def plays(self) -> Mapping[str, Play]:
        return {"elbo": Play(self.players, self.loss, optax.adam(1e-3), accumulates=self.accumulates)}

    @property
    def accumulates(self) -> bool:
        """Whether the loss is a mean over examples: the optimal variance of a Gaussian is the batch's."""
        return self.objective.accumulates and self.likelihood.accumulates

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective, in nats; the metrics are the plain bound and its parts."""
        terms, state = self.terms(variables, batch, key, training=True)
        return LossOutput(self.objective(terms, clock), self._figures(terms), state)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: `elbo` and its parts, `reconstruction` - `kl`; `bits_per_dim` where the likelihood counts levels."""
        figures = self._figures(self.terms(variables, batch, key)[0])
        if self.likelihood.levels is not None:
            figures["bits_per_dim"] = bits_per_dim(figures["elbo"], math.prod(self.event_shape))
        return figures

    def log_prob(
        self,
        variables: Variables,
        x: Array,
        key: Key,
        context: Array | None = None,
        samples: int = 100,
        chunk: int = 1,
    ) -> Array:
        """A lower bound of log p(x) in nats, [B]: the importance-weighted one of `samples` draws, `chunk` at a time."""
        return importance_weighted_bound(self.log_weights(variables, x, key, context, samples, chunk))

    def log_weights(
        self,
        variables: Variables,
        x: Array,
        key: Key,
        context: Array | None = None,
        samples: int = 100,
        chunk: int = 1,
    ) -> Array:
        """log p(x, z) - log q(z|x) of `samples` draws z for each row, [samples, B]."""
        x_key, z_key = jax.random.split(key)
        seen, target = self._observe(x, x_key)
        q = self._infer(variables, seen, context)[0]

        def log_weight(key: Key) -> Array:
            z, log_q = self._draw(variables, q, jax.random.normal(key, q.mean.shape))
            log_likelihood = self.likelihood.log_prob(self._parameters(variables, z, context, target), target)
            return log_likelihood + self._log_prior(variables, z, context) - log_q

        return lax.map(log_weight, jax.random.split(z_key, samples), batch_size=min(chunk, samples))

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, means: bool = False
    ) -> Array:
        """x ~ p(x|z), z ~ p(z), in data units; with `means` E[x|z] instead, which is what papers show."""
        z_key, x_key = jax.random.split(key)
        z = self.sample_prior(variables, z_key, n, context)
        if means:
            return self.decode(variables, z, context)
        return self._data_units(self._generate(variables, z, context, x_key))

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """z ~ p(z), or p(z|context): [n, latents]."""
        counts(n=n)
        z = jax.random.normal(key, (n, self.latents))
        if self._has_flow_prior:
            return self.prior.apply(variables["prior"], z, context, method="inverse")
        if self.prior is not None:
            mean, log_variance = self._prior_moments(variables, context, z)
            return mean + jnp.exp(log_variance / 2) * z
        return z

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The posterior's mean, [B, latents], or with a key a draw from it; what a posterior flow makes of either."""
        x_key, z_key = (None, None) if key is None else jax.random.split(key)
        q = self._infer(variables, self._observe(x, x_key)[0], context)[0]
        noise = jnp.zeros_like(q.mean) if key is None else jax.random.normal(z_key, q.mean.shape)
        return self._draw(variables, q, noise)[0]

    def posterior_moments(self, variables: Variables, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """Mean and log-variance of q(z|x), each [B, latents]; of what a posterior flow starts from, if there is one."""
        q = self._infer(variables, self._observe(x, None)[0], context)[0]
        return q.mean, q.log_variance

    def observed(self, x: Array, key: Key) -> Array:
        """Data in data units with their pixels drawn, where the likelihood wants them on or off; others as they are.

        `terms` draws no pixel of these again, so that several passes may rate the same.
        """
        return self._data_units(self._observe(x, key)[1])

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """E[x|z] in data units."""
        z = rows("z", z)
        return self._data_units(self._generate(variables, z, context))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|z] at the posterior's mean z, or with a key at a draw from the posterior."""
        return self.decode(variables, self.encode(variables, x, key, context), context)

    def anomaly_score(
        self,
        variables: Variables,
        x: Array,
        key: Key,
        context: Array | None = None,
        by: Literal["reconstruction", "elbo", "log_prob"] = "elbo",
        samples: int = 10,
        chunk: int = 1,
    ) -> Array:
        """How unlikely each row is, in nats, [B]: minus E_q[log p(x|z)], minus the bound, or minus that on log p(x).

        An and Cho 2015, "Variational Autoencoder based Anomaly Detection using Reconstruction Probability", for the
        first; each by `samples` draws.
        """
        if by == "log_prob":
            return -self.log_prob(variables, x, key, context, samples, chunk)
        batch = {"x": x} if context is None else {"x": x, "context": context}

        def score(key: Key) -> Array:
            terms = self.terms(variables, batch, key)[0]
            return terms.kl - terms.log_likelihood if by == "elbo" else -terms.log_likelihood

        return lax.map(score, jax.random.split(key, samples), batch_size=min(chunk, samples)).mean(0)

    def terms(
        self, variables: Variables, batch: Batch, key: Key, training: bool = False
    ) -> tuple[Terms, Mapping[str, Mapping[str, Any]]]:
        """The bound's terms by row, from one draw of z; and what the networks' passes changed, if they are training."""
        x_key, z_key, *keys = jax.random.split(key, 4)
        encoder_key, decoder_key = keys if training else (None, None)
        (seen, target), context = self._observe(batch["x"], x_key), batch.get("context")
        q, encoder_state = self._infer(variables, seen, context, encoder_key)
        z, log_q = self._draw(variables, q, jax.random.normal(z_key, q.mean.shape))
        params, decoder_state = forward(
            self._decoder, variables["decoder"], self._decoder_inputs(z, context, target), key=decoder_key
        )
        parts = self._kl_per_dimension(variables, q, context)
        kl = log_q - self._log_prior(variables, z, context) if parts is None else parts.sum(-1)
        log_likelihood = self.likelihood.log_prob(params, target)
        terms = Terms(log_likelihood, kl, parts, z, q.mean, q.log_variance)
        return terms, {"encoder": encoder_state, "decoder": decoder_state}

    def _figures(self, terms: Terms) -> dict[str, Array]:
        bound = elbo(terms.log_likelihood, terms.kl)
        figures = {"elbo": bound, "kl": terms.kl, "reconstruction": terms.log_likelihood}
        return {name: rows.mean() for name, rows in figures.items()}

    def _observe(self, x: Array, key: Key | None) -> tuple[Array, Array]:
        """Data as the encoder sees them, and as the likelihood rates them."""
        x = real("x", x)
        seen = from_data(x, self.event_shape, self.levels)
        if self.binarize and isinstance(self.likelihood, Bernoulli) and key is not None:
            seen = jax.random.bernoulli(key, seen).astype(seen.dtype)
        return seen, seen if self.likelihood.levels is None else x

    def _data_units(self, y: Array) -> Array:
        return to_data(y, self.levels, high=1.0 if self.likelihood.levels is None else self.levels - 1)

    def _infer(
        self, variables: Variables, seen: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Posterior, Mapping[str, Any]]:
        """The posterior, and what the encoder's pass changed; with a key it is training."""
        outputs, state = forward(self._encoder, variables["encoder"], concatenate_context(seen, context), key=key)
        return Posterior(*outputs), state

    def _draw(self, variables: Variables, q: Posterior, noise: Array) -> tuple[Array, Array]:
        """z [B, L] by standard normal noise [B, L], and log q(z|x) [B]."""
        z = q.mean + jnp.exp(q.log_variance / 2) * noise
        log_q = self._normal.log_prob(noise) - q.log_variance.sum(-1) / 2
        if self.posterior is None:
            return z, log_q
        z, log_det = self.posterior.apply(variables["posterior"], z, q.features, method="inverse_and_log_det")
        return z, log_q - log_det

    def _log_prior(self, variables: Variables, z: Array, context: Array | None) -> Array:
        """log p(z), [B]."""
        if self._has_flow_prior:
            z, log_det = self.prior.apply(variables["prior"], z, context)
            return self._normal.log_prob(z) + log_det
        mean, log_variance = self._prior_moments(variables, context, z)
        log_volume = (jnp.zeros_like(z) + log_variance).sum(-1) / 2
        return self._normal.log_prob((z - mean) * jnp.exp(-log_variance / 2)) - log_volume

    def _kl_per_dimension(self, variables: Variables, q: Posterior, context: Array | None) -> Array | None:
        """[B, L], where both are diagonal normals; else None."""
        if self.posterior is not None or self._has_flow_prior:
            return None
        return kl_per_dimension(q.mean, q.log_variance, *self._prior_moments(variables, context, q.mean))

    def _prior_moments(
        self, variables: Variables, context: Array | None, z: Array
    ) -> tuple[Array | float, Array | float]:
        """Mean and log-variance of a normal prior of latents z, [B, L] each."""
        if self.prior is None:
            return 0.0, 0.0
        mean, log_variance, _ = self._prior.apply(variables["prior"], self._required(context, z))
        return mean, log_variance

    def _required(self, context: Array | None, z: Array) -> Array:
        if context is None:
            raise ValueError("the prior is a network of the context, and there is none: give one, or prior=None")
        return context_rows(context, z)

    def _generate(self, variables: Variables, z: Array, context: Array | None, key: Key | None = None) -> Array:
        """x ~ p(x|z), or without a key E[x|z], as the likelihood counts."""
        params = self._parameters(variables, z, context)
        return self.likelihood.mean(params) if key is None else self.likelihood.sample(params, key)

    def _parameters(
        self, variables: Variables, z: Array, context: Array | None, target: Array | None = None
    ) -> Array:
        return forward(self._decoder, variables["decoder"], self._decoder_inputs(z, context, target))[0]

    def _decoder_inputs(self, z: Array, context: Array | None, target: Array | None) -> Any:
        """What the decoder is given: the latents, and where it is autoregressive, of the target what came before."""
        return concatenate_context(z, context)


def extended(model: VAE, kind: type[Kind], **fields: Any) -> Kind:
    """A VAE of another kind, with the fields of this one and these of its own: `extended(vae, IWAE, samples=5)`."""
    return kind(**{field.name: getattr(model, field.name) for field in dataclasses.fields(model)}, **fields)


def lagging_inference(model: VAE, encoder_steps: int, optimizer: optax.GradientTransformation) -> dict[str, Play]:
    """The encoder moves each step, on a batch of its own, the decoder once in `encoder_steps`: two plays of one bound.

    He et al. 2019, "Lagging Inference Networks and Posterior Collapse in Variational Autoencoders", algorithm 1, with a
    fixed number of the encoder's moves in place of their stopping rule.
    """
    inference = tuple(player for player in model.players if player in ("encoder", "posterior"))
    generation = tuple(player for player in model.players if player not in inference)
    return {
        "inference": Play(inference, model.loss, optimizer, accumulates=model.accumulates),
        "generation": Play(generation, model.loss, optimizer, Every(encoder_steps), model.accumulates),
    }
