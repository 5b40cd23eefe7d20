"""The vector-quantized autoencoder (van den Oord et al. 2017, "Neural Discrete Representation Learning").

An encoder gives a vector z_e at each place of a grid, a codebook replaces it by the nearest of its K codes e, and a
decoder rates the data by them. With sg for what has no gradient, encoder, decoder and codebook descend

    -log p(x|z_q) + |sg[z_e] - e|^2 + beta |z_e - sg[e]|^2,    z_q = e with the gradient of z_e,

the last two summed over the grid. With `decay` the codes are moving averages of the vectors that they stand for, the
second term is not there, and codes that are hardly used are put on other vectors. Then an autoregressive prior learns
the codes, so that there are samples, and a bound: log p(x) >= log p(codes) + log p(x|codes).

Which codes there are is the posterior, of entropy zero: with uniform codes the divergence of it is log K a place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Collections, Key, LossOutput, Phase, Play, Variables
from jaxgen.distributions.likelihoods import DiscretizedLogistic, Likelihood
from jaxgen.losses.elbo import elbo
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.losses.vector_quantization import (
    averaged_codebook,
    codebook_loss,
    commitment_loss,
    k_means,
    nearest_codes,
    perplexity,
    restart_dead_codes,
    straight_through,
    update_averages,
)
from jaxgen.models.players import forward
from jaxgen.models.scaling import from_data, to_data
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.decoders import ResidualDecoder, halvings
from jaxgen.nets.encoders import ResidualEncoder
from jaxgen.nets.heads import EventHead, Headed
from jaxgen.nets.pixel_cnn import PixelCNN, sample_codes
from jaxgen.sharding import full_rows


class Quantized(NamedTuple):
    """The encoder's vectors [B, h, w, D], their codes' numbers [B, h, w] and the codes themselves [B, h, w, D]."""

    z_e: Array
    codes: Array
    e: Array


@dataclasses.dataclass(frozen=True)
class VQVAE:
    """Players `encoder`, `codebook`, `decoder` and `prior`.

    The play `autoencoder` moves the first three, the play `prior` the last, on the codes, without a gradient to the
    encoder. As in the paper, the second has a phase of its own, after the first.

    Attributes:
        encoder: any network from images (and context, concatenated) to features [B, h, w, C]; the model adds a 1x1
            convolution to the dimension of the codes.
        decoder: any network from [B, h, w, dimension] (and context, concatenated) to features; the model adds the
            likelihood's head.
        event_shape: of the data, without the batch.
        codes: how many there are, K.
        dimension: of a code.
        likelihood: p(x|codes).
        levels: the data are integers 0..levels-1; None, they are real. Integers reach the encoder scaled to [0, 1], and
            the likelihood so too unless it counts levels itself.
        commitment: beta.
        decay: of the averages that the codes are; None: the codes are parameters, which `codebook_loss` moves.
        restart: codes used less than this share of the mean usage are put on vectors of the batch, where `decay` is
            given; 0: never.
        prior: of the codes, given the context if there is one; None: uniform.
        prior_fraction: the fraction of a run's steps that train the prior.
    """

    encoder: nn.Module
    decoder: nn.Module
    event_shape: tuple[int, ...]
    codes: int = 512
    dimension: int = 64
    likelihood: Likelihood = DiscretizedLogistic(256)
    levels: int | None = 256
    commitment: float = 0.25
    decay: float | None = None
    restart: float = 0.05
    prior: PixelCNN | None = None
    prior_fraction: float = 0.4
    monitor: ClassVar = ("elbo", "max")

    def __post_init__(self):
        freeze_fields(self)
        if self.likelihood.levels not in (None, self.levels):
            raise ValueError(f"the likelihood counts {self.likelihood.levels} levels, the model {self.levels}")
        if not 0 <= self.prior_fraction < 1:
            raise ValueError(f"`prior_fraction` must be at least 0 and below 1, got {self.prior_fraction}")
        if self.prior is not None and self.prior.codes != self.codes:
            raise ValueError(f"the prior is of {self.prior.codes} codes, the codebook has {self.codes}")

    @property
    def _encoder(self) -> nn.Module:
        return Headed(self.encoder, nn.Dense(self.dimension))

    @property
    def _decoder(self) -> nn.Module:
        return Headed(self.decoder, EventHead(self.event_shape, self.likelihood.n))

    def init(self, key: Key, batch: Batch) -> Variables:
        """The codes start where k-means puts them among the encoder's vectors of the batch.

        Raises:
            ValueError: data of another shape or type; an encoder whose features are no grid.
        """
        encoder_key, codebook_key, decoder_key, prior_key = jax.random.split(key, 4)
        (seen, _), context = self._observe(batch["x"]), batch.get("context")
        z_e, encoder = self._encoder.init_with_output(encoder_key, concatenate_context(seen, context))
        if z_e.ndim != 4:
            raise ValueError(f"the encoder's features have to be a grid [B, h, w, C], not {(*z_e.shape[:-1], 'C')}")
        start = k_means(codebook_key, z_e.reshape(-1, self.dimension), self.codes)
        if self.decay is None:
            codebook = {"params": {"codes": start}}
        else:
            codebook = {"params": {}, "averages": {"counts": jnp.ones(self.codes), "sums": start}}
        variables = {"encoder": encoder, "codebook": codebook}
        q = self._quantize(variables, z_e)
        variables["decoder"] = self._decoder.init(decoder_key, concatenate_context(q.e, context))
        if self.prior is not None:
            variables["prior"] = self.prior.init(prior_key, q.codes, context)
        return variables

    def plays(self) -> Mapping[str, Play]:
        learned = () if self.decay is not None else ("codebook",)
        plays = {"autoencoder": Play(
            ("encoder", *learned, "decoder"), self.loss, optax.adam(2e-4), accumulates=self.likelihood.accumulates
        )}
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
        """The metrics are its terms and the perplexity of the batch's codes, which depends on the batch's size."""
        encoder_key, decoder_key, restart_key = jax.random.split(key, 3)
        (seen, target), context = self._observe(batch["x"]), batch.get("context")
        z_e, encoder_state = forward(
            self._encoder, variables["encoder"], concatenate_context(seen, context), key=encoder_key
        )
        q = self._quantize(variables, z_e)
        commitment = commitment_loss(z_e, q.e)
        state = {"encoder": encoder_state}
        if self.decay is None:
            quantization = codebook_loss(z_e, q.e) + self.commitment * commitment
        else:
            quantization = self.commitment * commitment
            state["codebook"] = {"averages": self._averages(variables["codebook"], q, restart_key)}
        z_q = straight_through(z_e, q.e)
        params, state["decoder"] = forward(
            self._decoder, variables["decoder"], concatenate_context(z_q, context), key=decoder_key
        )
        reconstruction = self.likelihood.log_prob(params, target).mean()
        metrics = {
            "reconstruction": reconstruction,
            "commitment": commitment,
            "batch_perplexity": perplexity(self._counts(q.codes)),
        }
        return LossOutput(quantization - reconstruction, metrics, state)

    def prior_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """-log p(codes), in nats, summed over the grid; the metric is of one code, in bits."""
        context = batch.get("context")
        codes = self.encode(variables, batch["x"], context=context)
        log_prob = self._log_prior(variables, codes, context, key)
        return LossOutput(negative_log_likelihood(log_prob), {"bits_per_code": self._bits_per_code(log_prob, codes)})

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Of an event in nats: `elbo`, the bound on log p(x), and its part `reconstruction`, log p(x|codes).

        `bits_per_code` is what the prior takes for one of the codes, log2 K where it is uniform; `bits_per_dim` is of
        the bound, where the likelihood counts levels, and `bits_per_dim_uniform` of the one with uniform codes.
        """
        reconstruction, log_prior, codes = self._terms(variables, batch["x"], batch.get("context"))
        figures = {
            "elbo": elbo(reconstruction, -log_prior).mean(),
            "reconstruction": reconstruction.mean(),
            "bits_per_code": self._bits_per_code(log_prior, codes),
        }
        if self.likelihood.levels is not None:
            dims, uniform = math.prod(self.event_shape), elbo(reconstruction, -self._log_uniform(codes)).mean()
            figures["bits_per_dim"] = bits_per_dim(figures["elbo"], dims)
            figures["bits_per_dim_uniform"] = bits_per_dim(uniform, dims)
        return figures

    def log_prob(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """A bound on log p(x) in nats, [B]: log p(codes) + log p(x|codes). Without noise; a key changes nothing."""
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
        """x ~ p(x|codes), codes ~ p(codes), in data units; with `means` E[x|codes], which is what papers show."""
        codes_key, x_key = jax.random.split(key)
        codes = self.sample_prior(variables, codes_key, n, context)
        if means:
            return self.decode(variables, codes, context)
        return self._data_units(self.likelihood.sample(self._parameters(variables, codes, context), x_key))

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """codes ~ p(codes), or p(codes|context): int32 [n, h, w]."""
        dtype = jnp.float32 if self.levels is None else jnp.uint8
        x = jax.ShapeDtypeStruct((n, *self.event_shape), dtype)
        shape = jax.eval_shape(lambda x: self.encode(variables, x, context=context), x).shape
        if self.prior is None:
            return jax.random.randint(key, shape, 0, self.codes)
        return sample_codes(self.prior, variables["prior"], key, shape, context)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """The codes' numbers, int32 [B, h, w]. Without noise; a key changes nothing."""
        z_e, _ = forward(self._encoder, variables["encoder"], concatenate_context(self._observe(x)[0], context))
        return self._quantize(variables, z_e).codes

    def decode(self, variables: Variables, codes: Array, context: Array | None = None) -> Array:
        """E[x|codes] in data units, of codes [B, h, w], integers."""
        return self._data_units(self.likelihood.mean(self._parameters(variables, codes, context)))

    def reconstruct(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None
    ) -> Array:
        """E[x|codes] at the codes of x. Without noise; a key changes nothing."""
        return self.decode(variables, self.encode(variables, x, key, context), context)

    def codebook(self, variables: Variables) -> Array:
        """The codes, [K, D]."""
        if self.decay is None:
            return jnp.asarray(variables["codebook"]["params"]["codes"])
        return averaged_codebook(**variables["codebook"]["averages"])

    def _quantize(self, variables: Variables, z_e: Array) -> Quantized:
        codebook = self.codebook(variables)
        codes = nearest_codes(z_e, codebook)
        return Quantized(z_e, codes, codebook[codes])

    def _averages(self, codebook: Collections, q: Quantized, key: Key) -> Mapping[str, Array]:
        counts, sums = update_averages(**codebook["averages"], z_e=q.z_e, codes=q.codes, decay=self.decay)
        if self.restart:
            counts, sums = restart_dead_codes(counts, sums, q.z_e, key, self.restart)
        return {"counts": counts, "sums": sums}

    def _counts(self, codes: Array) -> Array:
        """How often each code occurs, [K]."""
        return jnp.zeros(self.codes).at[codes.reshape(-1)].add(1)

    def _terms(self, variables: Variables, x: Array, context: Array | None) -> tuple[Array, Array, Array]:
        """log p(x|codes) [B], log p(codes) [B] and the codes."""
        codes = self.encode(variables, x, context=context)
        log_likelihood = self.likelihood.log_prob(self._parameters(variables, codes, context), self._observe(x)[1])
        return log_likelihood, self._log_prior(variables, codes, context), codes

    def _log_uniform(self, codes: Array) -> Array:
        """log p(codes) of uniform codes, [B]."""
        return full_rows(codes, -math.log(self.codes) * math.prod(codes.shape[1:]), dtype=jnp.float32)

    def _log_prior(
        self, variables: Variables, codes: Array, context: Array | None, key: Key | None = None
    ) -> Array:
        """log p(codes), [B]; with a key the prior is training."""
        if self.prior is None:
            return self._log_uniform(codes)
        logits = self.prior.apply(variables["prior"], codes, context, rngs=None if key is None else {"dropout": key})
        return -optax.softmax_cross_entropy_with_integer_labels(logits, codes).sum((1, 2))

    def _bits_per_code(self, log_prior: Array, codes: Array) -> Array:
        return bits_per_dim(log_prior.mean(), math.prod(codes.shape[1:]))

    def _parameters(self, variables: Variables, codes: Array, context: Array | None) -> Array:
        e = self.codebook(variables)[codes]
        return forward(self._decoder, variables["decoder"], concatenate_context(e, context))[0]

    def _observe(self, x: Array) -> tuple[Array, Array]:
        """Data as the encoder sees them, and as the likelihood rates them."""
        seen = from_data(x, self.event_shape, self.levels)
        return seen, seen if self.likelihood.levels is None else x

    def _data_units(self, y: Array) -> Array:
        return to_data(y, self.levels, high=1.0 if self.likelihood.levels is None else self.levels - 1)


def residual_vq_vae(
    event_shape: tuple[int, int, int],
    codes: int = 512,
    dimension: int = 64,
    width: int = 128,
    blocks: int = 2,
    hidden: int = 32,
    likelihood: Likelihood = DiscretizedLogistic(256),
    levels: int | None = 256,
    commitment: float = 0.25,
    decay: float | None = None,
    prior_width: int | None = 64,
    prior_blocks: int = 5,
    prior_dropout: float = 0.0,
    prior_fraction: float = 0.4,
) -> VQVAE:
    """The paper's networks for images: halved twice (8x8 places for 32x32), or as often as they leave 4 pixels.

    Args:
        width: channels at the lowest resolution; half of them at the next.
        blocks, hidden: residual blocks of encoder and decoder, and the channels within one.
        prior_width: channels of the gated PixelCNN; None: no prior but the uniform one.
        prior_blocks, prior_dropout: its layers, and its dropout rate.
        prior_fraction: the fraction of a run's steps that train it.
    """
    stages = min(2, halvings(event_shape))
    prior = None if prior_width is None else PixelCNN(codes, prior_width, prior_blocks, dropout=prior_dropout)
    encoder, decoder = (network(width, stages, blocks, hidden) for network in (ResidualEncoder, ResidualDecoder))
    return VQVAE(
        encoder, decoder, event_shape, codes, dimension, likelihood, levels, commitment, decay, prior=prior,
        prior_fraction=prior_fraction,
    )  # fmt: skip
