"""The variational autoencoder (Kingma & Welling 2014, "Auto-Encoding Variational Bayes").

A decoder p(x|z) with a standard normal prior p(z), and an encoder q(z|x) = N(mu(x), diag sigma^2(x)) that stands for
its posterior. Both climb the evidence lower bound

    log p(x) >= E_q[log p(x|z)] - KL(q(z|x) || p(z)),    z = mu(x) + sigma(x) eps,  eps ~ N(0, I),

the first term by one draw of eps, the second in closed form. With a context c everywhere, q(z|x, c) and p(x|z, c), it
is a conditional one; the prior does not depend on c.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Batch, Key, LossOutput, Play, Step, Variables
from jaxgen.distributions.likelihoods import Bernoulli, DiscretizedLogistic, Likelihood
from jaxgen.losses.elbo import elbo, importance_weighted_bound, kl_to_standard_normal, negative_elbo
from jaxgen.losses.likelihood import bits_per_dim
from jaxgen.models.players import forward
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.decoders import ConvDecoder, halvings
from jaxgen.nets.encoders import ConvEncoder
from jaxgen.nets.heads import EventHead, GaussianHead, Headed
from jaxgen.nets.mlp import MLP


@dataclasses.dataclass(frozen=True)
class VAE:
    """Players `encoder` and `decoder`, moved together by the play `elbo`.

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
        kl_weight: of the divergence in the loss, or a function of the step: `functools.partial(warm_up, steps=10_000)`.
    """

    encoder: nn.Module
    decoder: nn.Module
    event_shape: tuple[int, ...]
    latents: int = 50
    likelihood: Likelihood = Bernoulli()
    levels: int | None = None
    binarize: bool = True
    kl_weight: float | Callable[[Step], Array] = 1.0
    monitor: ClassVar = ("elbo", "max")

    def __post_init__(self):
        if self.likelihood.levels not in (None, self.levels):
            raise ValueError(f"the likelihood counts {self.likelihood.levels} levels, the model {self.levels}")

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, GaussianHead(self.latents))

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.n))

    def init(self, key: Key, batch: Batch) -> Variables:
        x_key, z_key, encoder_key, decoder_key = jax.random.split(key, 4)
        seen, _ = self._observe(batch["x"], x_key)
        z, context = jax.random.normal(z_key, (len(seen), self.latents)), batch.get("context")
        return {
            "encoder": self._encoder.init(encoder_key, concatenate_context(seen, context)),
            "decoder": self._decoder.init(decoder_key, concatenate_context(z, context)),
        }

    def plays(self) -> Mapping[str, Play]:
        return {"elbo": Play(("encoder", "decoder"), self.loss, optax.adam(1e-3))}

    def loss(self, variables: Variables, batch: Batch, key: Key, step: Step) -> LossOutput:
        """Minus the bound in nats, its divergence weighted by `kl_weight`; the metrics are unweighted."""
        reconstruction, kl, state = self._terms(variables, batch, key, training=True)
        weight = self.kl_weight(step) if callable(self.kl_weight) else self.kl_weight
        figures = {"elbo": elbo(reconstruction, kl), "kl": kl, "reconstruction": reconstruction}
        return LossOutput(
            negative_elbo(reconstruction, kl, weight), {name: a.mean() for name, a in figures.items()}, state
        )

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: `elbo` and its parts, `reconstruction` - `kl`; `bits_per_dim` where the likelihood counts levels."""
        reconstruction, kl, _ = self._terms(variables, batch, key, training=False)
        bound = elbo(reconstruction, kl).mean()
        figures = {"elbo": bound, "kl": kl.mean(), "reconstruction": reconstruction.mean()}
        if self.likelihood.levels is not None:
            figures["bits_per_dim"] = bits_per_dim(bound, math.prod(self.event_shape))
        return figures

    def log_prob(
        self, variables: Variables, x: Array, key: Key, context: Array | None = None, samples: int = 100
    ) -> Array:
        """A lower bound of log p(x) in nats, [B]: the importance-weighted one of `samples` draws, one after another."""
        x_key, z_key = jax.random.split(key)
        seen, target = self._observe(x, x_key)
        mean, log_variance = self._posterior(variables, seen, context)

        def log_weight(key: Key) -> Array:
            noise = jax.random.normal(key, mean.shape)
            z = mean + jnp.exp(log_variance / 2) * noise
            # log p(z) - log q(z|x): the 2 pi of both normals cancel
            log_ratio = (noise**2 + log_variance - z**2).sum(-1) / 2
            return self.likelihood.log_prob(self._parameters(variables, z, context), target) + log_ratio

        return importance_weighted_bound(lax.map(log_weight, jax.random.split(z_key, samples)))

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, means: bool = False
    ) -> Array:
        """x ~ p(x|z), z ~ p(z), in data units; with `means` E[x|z] instead, which is what papers show."""
        z_key, x_key = jax.random.split(key)
        z = jax.random.normal(z_key, (n, self.latents))
        if means:
            return self.decode(variables, z, context)
        return self._data_units(self.likelihood.sample(self._parameters(variables, z, context), x_key))

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The posterior's mean, [B, latents], or with a key a draw from it."""
        x_key, z_key = (None, None) if key is None else jax.random.split(key)
        mean, log_variance = self._posterior(variables, self._observe(x, x_key)[0], context)
        if key is None:
            return mean
        return mean + jnp.exp(log_variance / 2) * jax.random.normal(z_key, mean.shape)

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """E[x|z] in data units."""
        return self._data_units(self.likelihood.mean(self._parameters(variables, z, context)))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|z] at the posterior's mean z, or with a key at a draw from the posterior."""
        return self.decode(variables, self.encode(variables, x, key, context), context)

    def _observe(self, x: Array, key: Key | None) -> tuple[Array, Array]:
        """Data as the encoder sees them, and as the likelihood rates them."""
        seen = from_data(x, self.event_shape, self.levels)
        if self.binarize and isinstance(self.likelihood, Bernoulli) and key is not None:
            seen = jax.random.bernoulli(key, seen).astype(seen.dtype)
        return seen, seen if self.likelihood.levels is None else x

    def _data_units(self, y: Array) -> Array:
        return to_data(y, self.levels, high=1.0 if self.likelihood.levels is None else self.levels - 1)

    def _posterior(self, variables: Variables, seen: Array, context: Array | None) -> tuple[Array, Array]:
        return forward(self._encoder, variables["encoder"], concatenate_context(seen, context))[0]

    def _parameters(self, variables: Variables, z: Array, context: Array | None) -> Array:
        return forward(self._decoder, variables["decoder"], concatenate_context(z, context))[0]

    def _terms(self, variables: Variables, batch: Batch, key: Key, training: bool) -> tuple[Array, Array, Mapping]:
        """By row an unbiased E_q[log p(x|z)] and KL(q(z|x) || p(z)), and what the networks' passes changed."""
        x_key, z_key, *keys = jax.random.split(key, 4)
        encoder_key, decoder_key = keys if training else (None, None)
        (seen, target), context = self._observe(batch["x"], x_key), batch.get("context")
        (mean, log_variance), encoder_state = forward(
            self._encoder, variables["encoder"], concatenate_context(seen, context), encoder_key
        )
        z = mean + jnp.exp(log_variance / 2) * jax.random.normal(z_key, mean.shape)
        params, decoder_state = forward(
            self._decoder, variables["decoder"], concatenate_context(z, context), decoder_key
        )
        reconstruction = self.likelihood.log_prob(params, target)
        kl = kl_to_standard_normal(mean, log_variance)
        return reconstruction, kl, {"encoder": encoder_state, "decoder": decoder_state}


def dense_vae(
    event_shape: tuple[int, ...],
    latents: int = 50,
    widths: tuple[int, ...] = (200, 200),
    activation: Callable = nn.tanh,
    likelihood: Likelihood = Bernoulli(),
    levels: int | None = None,
    binarize: bool = True,
    kl_weight: float | Callable[[Step], Array] = 1.0,
) -> VAE:
    """Dense networks, by default those of Burda et al. 2016 on binarized MNIST: 784-200-200-50-200-200-784, tanh.

    `widths` run from the data to the latents, and back for the decoder.
    """
    encoder, decoder = MLP(widths, activation), MLP(widths[::-1], activation)
    return VAE(encoder, decoder, event_shape, latents, likelihood, levels, binarize, kl_weight)


def conv_vae(
    event_shape: tuple[int, int, int],
    latents: int = 64,
    width: int = 32,
    likelihood: Likelihood = DiscretizedLogistic(256),
    levels: int | None = 256,
    binarize: bool = True,
    kl_weight: float | Callable[[Step], Array] = 1.0,
) -> VAE:
    """Convolutional networks for images, halved while they are even and above 4 pixels, the channels doubling."""
    stages = halvings(event_shape)
    widths = tuple(width * 2**i for i in range(stages))
    start = (event_shape[0] >> stages, event_shape[1] >> stages)
    decoder = ConvDecoder(start, (*widths[::-1], width)) if widths else ConvDecoder(start, (width,))
    return VAE(ConvEncoder(widths), decoder, event_shape, latents, likelihood, levels, binarize, kl_weight)
