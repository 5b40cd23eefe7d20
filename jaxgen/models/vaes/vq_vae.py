"""The vector-quantized autoencoder (van den Oord et al. 2017, "Neural Discrete Representation Learning").

An encoder computes a vector at each place of a grid, a codebook replaces it by the nearest of K codes
(`jaxgen.models.codebook`), and a decoder gives the likelihood of the data; the loss is

    -log p(x|codes) + |sg[z_e] - e|^2 + beta |z_e - sg[e]|^2.

Then an autoregressive prior of the codes is trained: it gives samples, and the bound log p(x) >= log p(codes) +
log p(x|codes). The posterior has all its mass on one grid of codes: for uniform codes the KL is log K per place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Phase, Play, Variables
from jaxgen.distributions.discretized import DiscretizedLogistic
from jaxgen.distributions.likelihoods import Likelihood
from jaxgen.losses.elbo import elbo
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.models.codebook import PLAYER, Codebook
from jaxgen.models.forward import forward
from jaxgen.models.vaes.observation import check_levels, data_units, observe
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import EventHead, Headed
from jaxgen.nets.pixel_cnn import PixelCNN, sample_codes
from jaxgen.sharding import full_batch


@dataclasses.dataclass(frozen=True)
class VQVAE:
    """Players `encoder`, `codebook`, `decoder` and `prior`.

    The play `autoencoder` moves the first three, the play `prior` the last, on the codes, without a gradient to the
    encoder. As in the paper, the second has a phase of its own, after the first.

    Attributes:
        encoder: any network from images (and context, concatenated) to features [B, h, w, C]; the model adds a 1x1
            convolution to the dimension of the codes.
        decoder: any network from [B, h, w, code_dim] (and context, concatenated) to features; the model adds the
            likelihood's head.
        event_shape: shape of the data, without the batch.
        codebook: the codes, and how they learn.
        likelihood: p(x|codes).
        levels: the data are integers 0..levels-1; None: they are real. The encoder gets integers scaled to [0, 1], and
            so does the likelihood unless it has levels itself.
        prior: p(codes), or p(codes|context); None: uniform.
        prior_fraction: the fraction of a run's steps that train the prior.

    Raises:
        ValueError: levels unlike the likelihood's; a prior with another number of codes; a fraction out of range.
    """

    encoder: nn.Module
    decoder: nn.Module
    event_shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    codebook: Codebook = Codebook()
    likelihood: Likelihood = DiscretizedLogistic(256)
    levels: int | None = 256
    prior: PixelCNN | None = None
    prior_fraction: float = 0.4
    monitor: ClassVar = ("elbo", "max")

    def __post_init__(self):
        freeze_fields(self)
        check_levels(self.likelihood, self.levels)
        if not 0 <= self.prior_fraction < 1:
            raise ValueError(f"`prior_fraction` must be at least 0 and below 1, got {self.prior_fraction}")
        if self.prior is not None and self.prior.num_codes != self.codebook.num_codes:
            raise ValueError(
                f"`prior` must have num_codes={self.codebook.num_codes}, as the codebook, got {self.prior.num_codes}"
            )

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, nn.Dense(self.codebook.code_dim))

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.num_params))

    def init(self, key: Key, batch: Batch) -> Variables:
        """The codes start at k-means centres of the encoder's vectors of the batch.

        Raises:
            ValueError: data of another shape or type; an encoder whose features are not a grid.
        """
        encoder_key, codebook_key, decoder_key, prior_key = jax.random.split(key, 4)
        (seen, _), context = self._observe(batch["x"]), batch.get("context")
        z_e, encoder = self._encoder.init_with_output(encoder_key, concatenate_context(seen, context))
        if z_e.ndim != 4:
            raise ValueError(f"`encoder` must return a grid [B, h, w, C], got shape {(*z_e.shape[:-1], 'C')}")
        codebook = self.codebook.init(codebook_key, z_e)
        quantized = self.codebook.quantize(codebook, z_e)
        decoder = self._decoder.init(decoder_key, concatenate_context(quantized.codes, context))
        variables = {"encoder": encoder, PLAYER: codebook, "decoder": decoder}
        if self.prior is not None:
            variables["prior"] = self.prior.init(prior_key, quantized.indices, context)
        return variables

    def plays(self) -> Mapping[str, Play]:
        players = ("encoder", *self.codebook.players, "decoder")
        accumulates = self.likelihood.accumulates and self.codebook.accumulates
        plays = {"autoencoder": Play(players, self.loss, optax.adam(2e-4), accumulates=accumulates)}
        if self.prior is not None:
            plays["prior"] = Play(("prior",), self.prior_loss, optax.adam(3e-4), accumulates=True)
        return plays

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """The autoencoder's phase, then the prior's."""
        plays = self.plays()
        prior_steps = int(self.prior_fraction * steps) if self.prior is not None else 0
        lengths = {"autoencoder": steps - prior_steps, "prior": prior_steps}
        return tuple(Phase({name: plays[name]}, n) for name, n in lengths.items() if n)

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The metrics are the reconstruction, log p(x|codes), and the codebook's (`Codebook.loss`)."""
        encoder_key, decoder_key, codebook_key = jax.random.split(key, 3)
        (seen, target), context = self._observe(batch["x"]), batch.get("context")
        z_e, encoder_statistics = forward(
            self._encoder, variables["encoder"], concatenate_context(seen, context), key=encoder_key
        )
        quantized = self.codebook.quantize(variables[PLAYER], z_e)
        inputs = concatenate_context(quantized.straight_through, context)
        params, decoder_statistics = forward(self._decoder, variables["decoder"], inputs, key=decoder_key)
        reconstruction = self.likelihood.log_prob(params, target).mean()
        quantization = self.codebook.loss(variables[PLAYER], quantized, codebook_key)
        return LossOutput(
            quantization.value - reconstruction,
            {"reconstruction": reconstruction, **quantization.metrics},
            {"encoder": encoder_statistics, "decoder": decoder_statistics, **quantization.statistics},
        )

    def prior_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """-log p(codes) in nats, summed over the grid; the metric is in bits per code."""
        context = batch.get("context")
        codes = self.encode(variables, batch["x"], context=context)
        log_prob = self._log_prior(variables, codes, context, key)
        return LossOutput(negative_log_likelihood(log_prob), {"bits_per_code": self._bits_per_code(log_prob, codes)})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats per example: `elbo`, the bound on log p(x), and its part `reconstruction`, log p(x|codes).

        `bits_per_code` is -log2 p(codes) per code, log2 K for a uniform prior. If the likelihood has levels,
        `bits_per_dim` is that of the bound and `bits_per_dim_uniform` that of the bound with uniform codes.
        """
        reconstruction, log_prior, codes = self._terms(variables, batch["x"], batch.get("context"))
        metrics = {
            "elbo": elbo(reconstruction, -log_prior).mean(),
            "reconstruction": reconstruction.mean(),
            "bits_per_code": self._bits_per_code(log_prior, codes),
        }
        if self.likelihood.levels is not None:
            dims, uniform = math.prod(self.event_shape), elbo(reconstruction, -self._log_uniform(codes)).mean()
            metrics["bits_per_dim"] = bits_per_dim(metrics["elbo"], dims)
            metrics["bits_per_dim_uniform"] = bits_per_dim(uniform, dims)
        return metrics

    def log_prob(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """A bound on log p(x) in nats, [B]: log p(codes) + log p(x|codes). Deterministic: the key is ignored."""
        reconstruction, log_prior, _ = self._terms(variables, x, context)
        return elbo(reconstruction, -log_prior)

    def squared_error(self, variables: Variables, x: Array, context: Array | None = None) -> Array:
        """The mean over coordinates of (E[x|codes] - x)^2 in squared data units, [B], without rounding to levels."""
        mean = self.likelihood.mean(self._parameters(variables, self.encode(variables, x, context=context), context))
        if self.levels is not None and self.likelihood.levels is None:
            mean = (self.levels - 1) * mean
        return ((mean - jnp.asarray(x)) ** 2).reshape(mean.shape[0], -1).mean(-1)

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, means: bool = False
    ) -> Array:
        """x ~ p(x|codes), codes ~ p(codes), in data units; with `means` E[x|codes], which papers show."""
        codes_key, x_key = jax.random.split(key)
        codes = self.sample_prior(variables, codes_key, n, context)
        if means:
            return self.decode(variables, codes, context)
        return self._data_units(self.likelihood.sample(self._parameters(variables, codes, context), x_key))

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """Indices of codes ~ p(codes), or p(codes|context): int32 [n, h, w]."""
        dtype = jnp.float32 if self.levels is None else jnp.uint8
        x = jax.ShapeDtypeStruct((n, *self.event_shape), dtype)
        shape = jax.eval_shape(lambda x: self.encode(variables, x, context=context), x).shape
        if self.prior is None:
            return jax.random.randint(key, shape, 0, self.codebook.num_codes)
        return sample_codes(self.prior, variables["prior"], key, shape, context)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The indices of the codes, int32 [B, h, w]. Deterministic: the key is ignored."""
        z_e, _ = forward(self._encoder, variables["encoder"], concatenate_context(self._observe(x)[0], context))
        return self.codebook.quantize(variables[PLAYER], z_e).indices

    def decode(self, variables: Variables, codes: Array, context: Array | None = None) -> Array:
        """E[x|codes] in data units, for indices of codes [B, h, w]."""
        return self._data_units(self.likelihood.mean(self._parameters(variables, codes, context)))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|codes] at the codes of x. Deterministic: the key is ignored."""
        return self.decode(variables, self.encode(variables, x, key, context), context)

    def _terms(self, variables: Variables, x: Array, context: Array | None) -> tuple[Array, Array, Array]:
        """log p(x|codes) [B], log p(codes) [B] and the codes."""
        codes = self.encode(variables, x, context=context)
        log_likelihood = self.likelihood.log_prob(self._parameters(variables, codes, context), self._observe(x)[1])
        return log_likelihood, self._log_prior(variables, codes, context), codes

    def _log_uniform(self, codes: Array) -> Array:
        """log p(codes) for uniform codes, [B]."""
        return full_batch(codes, -math.log(self.codebook.num_codes) * math.prod(codes.shape[1:]), dtype=jnp.float32)

    def _log_prior(
        self, variables: Variables, codes: Array, context: Array | None, key: Key | None = None
    ) -> Array:
        """log p(codes), [B]; with a key the prior is in training mode."""
        if self.prior is None:
            return self._log_uniform(codes)
        logits = self.prior.apply(variables["prior"], codes, context, rngs=None if key is None else {"dropout": key})
        return -optax.softmax_cross_entropy_with_integer_labels(logits, codes).sum((1, 2))

    def _bits_per_code(self, log_prior: Array, codes: Array) -> Array:
        return bits_per_dim(log_prior.mean(), math.prod(codes.shape[1:]))

    def _parameters(self, variables: Variables, codes: Array, context: Array | None) -> Array:
        e = self.codebook.codes(variables[PLAYER])[codes]
        return forward(self._decoder, variables["decoder"], concatenate_context(e, context))[0]

    def _observe(self, x: Array) -> tuple[Array, Array]:
        return observe(x, self.event_shape, self.likelihood, self.levels)

    def _data_units(self, y: Array) -> Array:
        return data_units(y, self.likelihood, self.levels)
