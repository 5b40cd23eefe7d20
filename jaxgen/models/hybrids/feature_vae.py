"""Variational autoencoders whose likelihood is normal in features of the data, which networks of other players compute.

    log p(x|z) = sum_i log N(f_i(x) | f_i(G(z)), I),    G(z) the decoder's mean

in place of a likelihood of the pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.arguments import broadcast_context
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.models.forward import forward
from jaxgen.models.vaes.objectives import BoundTerms
from jaxgen.models.vaes.vae import VAE

UNIT = Gaussian(std=1.0)


class Generated(NamedTuple):
    """What encoder and decoder make of a batch.

    Attributes:
        real, reconstructions, samples: [B, *event_shape], as the encoder sees data.
        context: [B, ...] or None.
        z: [B, L], a sample of q, from which the reconstructions are.
        q, log_posterior: q(z|x), and log q(z|x) [B].
        statistics: of both players, as a training pass updates them.
    """

    real: Array
    reconstructions: Array
    samples: Array
    context: Array | None
    z: Array
    q: Any
    log_posterior: Array
    statistics: Mapping[str, Mapping[str, Any]]

    @property
    def images(self) -> tuple[Array, Array, Array]:
        return self.real, self.reconstructions, self.samples


@dataclasses.dataclass(frozen=True)
class FeatureVAE(VAE):
    """A base class; subclasses add the players that compute the features, and their plays.

    `terms`, `evaluate` and `anomaly_score` use the likelihood of the features. There is no `log_prob`: a density of
    features is not a density of x.

    Attributes:
        likelihood: its mean is G(z), in (0, 1) for a Bernoulli; its density is not used.

    Raises:
        ValueError: a likelihood with levels, whose mean does not have the scale of the encoder's input.
    """

    _: dataclasses.KW_ONLY
    binarize: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.likelihood.levels is not None:
            raise ValueError(
                "`likelihood` must be Bernoulli or Gaussian, whose mean has the scale of the data, got "
                f"{self.likelihood}"
            )

    @property
    def log_prob(self) -> Any:
        raise AttributeError(f"{type(self).__name__} has no density of the data, only of their features")

    def features(
        self, variables: Variables, images: Sequence[Array], context: Array | None, key: Key | None = None
    ) -> list[tuple[Array, ...]]:
        """The features f_1, f_2, ... of several batches [B, *event_shape] as the encoder sees them; with a key in
        training mode.
        """
        raise NotImplementedError

    def log_joint(
        self, variables: Variables, z: Array, target: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Array, Mapping[str, Any]]:
        decoder_key, features_key = (None, None) if key is None else jax.random.split(key)
        generated, statistics = self.generate(variables, z, context, decoder_key)
        on_real, on_generated = self.features(variables, (target, generated), context, features_key)
        return log_likelihood(on_real, on_generated), self.prior.log_prob(variables, z, context), statistics

    def generate(
        self, variables: Variables, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """G(z) as the encoder sees data, and the decoder's updated statistics; with a key in training mode."""
        inputs = self._decoder_inputs(z, context, None)
        params, statistics = forward(self._decoder, variables["decoder"], inputs, key=key)
        return self.likelihood.mean(params), statistics

    def generate_both(
        self, variables: Variables, batch: Batch, key: Key, sample_context: Array | None = None, training: bool = True
    ) -> Generated:
        """Reconstructions and samples, by one pass of the decoder over both.

        Args:
            sample_context: of the samples; None: the batch's.
        """
        x_key, z_key, prior_key, *keys = jax.random.split(key, 5)
        encoder_key, decoder_key = keys if training else (None, None)
        seen = self._observe(batch["x"], x_key)[0]
        context = broadcast_context(batch.get("context"), seen)
        sample_context = context if sample_context is None else sample_context
        q, encoder_statistics = self._infer(variables, seen, context, encoder_key)
        noise = jax.random.normal(z_key, (seen.shape[0], self.latent_dim))
        z, log_posterior = self.posterior.reparameterize(variables, q, noise)
        z_prior = self.sample_prior(variables, prior_key, seen.shape[0], sample_context)
        contexts = None if context is None else jnp.concatenate([context, sample_context])
        both, statistics = self.generate(variables, jnp.concatenate([z, z_prior]), contexts, decoder_key)
        statistics = {"encoder": encoder_statistics, "decoder": statistics}
        return Generated(seen, *jnp.split(both, 2), context, z, q, log_posterior, statistics)

    def bound_terms(self, variables: Variables, generated: Generated, log_likelihood: Array) -> BoundTerms:
        """The terms of the bound with log p(x|z) [B] of `Generated.z`."""
        prior, z = self.prior.normal(variables, self.latent_dim, generated.context), generated.z
        exact = prior is not None and isinstance(generated.q, DiagonalNormal)
        log_prior = self.prior.log_prob(variables, z, generated.context)
        sampled = (a[None] for a in (log_likelihood, log_prior, generated.log_posterior))
        return BoundTerms(*sampled, generated.q.kl_per_dimension(prior) if exact else None, z[None], generated.q)


def log_likelihood(on_real: Sequence[Array], on_generated: Sequence[Array]) -> Array:
    """sum_i log N(a_i | b_i, I) of features a_i, b_i [B, ...]: [B]."""
    return sum(UNIT.log_prob(b[..., None], a) for a, b in zip(on_real, on_generated, strict=True))


def jointly(
    network: Callable[..., tuple[Any, Any]], batches: Sequence[Array], context: Array | None
) -> tuple[list[Any], Any]:
    """Applies `network(x, context) -> (outputs, statistics)` to several batches [B, ...] at once.

    Batch normalisation then has the statistics of all: with those of each it would hide differences between real and
    generated examples.

    Returns:
        The outputs of each batch, and the statistics.
    """
    repeated = None if context is None else jnp.concatenate([context] * len(batches))
    outputs, statistics = network(jnp.concatenate(batches), repeated)
    size = batches[0].shape[0]
    return [jax.tree.map(lambda a: a[i * size : (i + 1) * size], outputs) for i in range(len(batches))], statistics
