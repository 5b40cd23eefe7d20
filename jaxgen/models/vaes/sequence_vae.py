"""A variational autoencoder whose decoder is autoregressive: p(x|z) = prod_t p(x_t | x_<t, z).

A language model with a latent vector for the whole of its text (Bowman et al. 2016, "Generating Sentences from a
Continuous Space", arXiv:1511.06349). Where the decoder can do without z, training often ends with q(z|x) = p(z): the
posterior collapses. The remedies are values here and elsewhere: the objective's weight and free bits
(`jaxgen.models.vaes.objectives`), plays in which the encoder moves more often (`lagging_inference`), `word_dropout`, a
decoder that reaches less far, and discrete latents.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Variables
from jaxgen.distributions.likelihoods import Categorical, Gaussian, Likelihood
from jaxgen.losses.vector_quantization import codebook_loss, commitment_loss, k_means, nearest_codes, straight_through
from jaxgen.models.players import forward
from jaxgen.models.vaes.objectives import ELBO, Objective
from jaxgen.models.vaes.vae import VAE, Posterior
from jaxgen.nets.context import concatenate_context
from jaxgen.nets.heads import LOG_VARIANCE_BOUND, Headed
from jaxgen.nets.recurrent import Autoregressive, RecurrentDecoder, RecurrentEncoder, mark
from jaxgen.sharding import full_rows, rows_as, vary_as


@dataclasses.dataclass(frozen=True)
class SequenceVAE(VAE):
    """A VAE of sequences of symbols (a `Categorical` likelihood, integers [B, T]), time series ([B, T, D]), or images.

    Networks see a Categorical's integers one-hot and other data as VAE has them, the encoder [B, T, D] (images
    [B, H, W, C]). The decoder is a causal network (`jaxgen.nets.recurrent`), which while learning and in every figure
    is given the data before each place, and in `sample`, `decode` and `reconstruct` what it made itself. `decode` goes
    on at each place with the mean, or the likeliest symbol; there is no closed form of E[x|z].

    Attributes:
        axes: how many of the event's first axes number its places: 1 goes from time to time or from row to row of an
            image, 2 from pixel to pixel. The coordinates of a place are independent of each other, given those before.
        word_dropout: while learning, the share of places that the decoder is not shown. With 1 it is Bowman et al.'s
            inputless decoder, which depends on z alone.
    """

    axes: int = 1
    word_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.axes <= len(self.event_shape):
            raise ValueError(f"axes={self.axes}: places need from 1 to all of the axes of an event {self.event_shape}")
        if not 0 <= self.word_dropout <= 1:
            raise ValueError(f"word_dropout={self.word_dropout}: a share, from 0 to 1, is needed")

    @property
    def _decoder(self) -> Autoregressive:
        return Autoregressive(self.decoder, self.event_shape, self.likelihood.n, self.axes, self.word_dropout)

    def _decoder_inputs(self, z: Array, context: Array | None, target: Array) -> tuple[Array, Array]:
        values = self._values(target)
        places = math.prod(self.event_shape[: self.axes])
        return super()._decoder_inputs(z, context, target), values.reshape(z.shape[0], places, -1)

    def _observe(self, x: Array, key: Key | None) -> tuple[Array, Array]:
        target = super()._observe(x, key)[1]
        return self._values(target), target

    def _values(self, target: Array) -> Array:
        """What the likelihood rates, [B, ...], as networks see it, [B, T, D] or images."""
        x = target[..., None] if target.ndim == 2 else target
        if isinstance(self.likelihood, Categorical):
            return jax.nn.one_hot(x.astype(jnp.int32), self.likelihood.levels).reshape(*x.shape[:-1], -1)
        return x if self.likelihood.levels is None else x / (self.likelihood.levels - 1)

    def _generate(self, variables: Variables, z: Array, context: Array | None, key: Key | None = None) -> Array:
        """Place after place, each from what came out before it; without a key the best instead of draws."""
        z = super()._decoder_inputs(z, context, None)
        places, coordinates = (math.prod(self.event_shape[s]) for s in (slice(self.axes), slice(self.axes, None)))
        rows, variables = z.shape[0], variables["decoder"]

        def values(x: Array) -> Array:
            return mark(self._values(x).reshape(rows, -1))

        def place(state: tuple[Any, Array], key: Key | None) -> tuple[tuple[Any, Array], Array]:
            carry, before = state
            carry, params = self._decoder.apply(variables, carry, z, before, method="step")
            x = self._best(params) if key is None else self.likelihood.sample(params, key)
            return (carry, values(x)), x

        start = rows_as(self._decoder.apply(variables, rows, method="start"), z)
        nothing = jnp.zeros_like(values(full_rows(z, 0, (coordinates,))))
        keys = None if key is None else jax.random.split(key, places)
        x = lax.scan(place, vary_as((start, nothing), z, keys, variables), keys, length=places)[1]
        return jnp.moveaxis(x, 0, 1).reshape(rows, *self.event_shape)

    def _best(self, params: Array) -> Array:
        if isinstance(self.likelihood, Categorical):
            return params.argmax(-1).astype(jnp.float32)
        return self.likelihood.mean(params)


@dataclasses.dataclass(frozen=True)
class QuantizedSequenceVAE(SequenceVAE):
    """A SequenceVAE of discrete latents, whose divergence cannot vanish: `groups` codes of a codebook of `codes`.

    The encoder's vectors give way to the nearest codes, learned as in the VQ-VAE (van den Oord et al. 2017, section 3),
    and under a uniform prior KL(q(z|x) || p(z)) is groups log codes for every x, whatever the decoder makes of z. The
    codebook is a player, and joins in the play `elbo`.

    Attributes:
        groups: vectors, of `latents` / `groups` dimensions each.
        codes: how many there are in the codebook, which all groups share.
        commitment: beta of the VQ-VAE.
    """

    groups: int = 1
    codes: int = 8
    commitment: float = 0.25

    def __post_init__(self):
        super().__post_init__()
        if self.latents % self.groups:
            raise ValueError(f"latents={self.latents} are not divided by groups={self.groups}: they have to be")
        if self.posterior is not None or self.prior is not None:
            raise ValueError("posterior and prior are given: discrete latents have neither")

    @property
    def _encoder(self) -> Headed:
        return Headed(self.encoder, nn.Dense(self.latents))

    @property
    def players(self) -> tuple[str, ...]:
        return (*super().players, "codebook")

    def init(self, key: Key, batch: Batch) -> Variables:
        """The codes start where k-means puts them among the encoder's vectors of the batch.

        Raises:
            ValueError: data of another shape or type.
        """
        variables = super().init(key, batch)
        codes_key, x_key = jax.random.split(jax.random.fold_in(key, 1))
        z_e = self._infer(variables, self._observe(batch["x"], x_key)[0], batch.get("context"))[0].mean
        return {**variables, "codebook": {"params": {"codes": k_means(codes_key, self._vectors(z_e), self.codes)}}}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The objective, in nats, and the codebook's losses, in squared units of the codes."""
        terms, state = self.terms(variables, batch, key, training=True)
        e = self._codes(variables, terms.mean)
        quantization = codebook_loss(terms.mean, e) + self.commitment * commitment_loss(terms.mean, e)
        return LossOutput(self.objective(terms, clock) + quantization, self._figures(terms), state)

    def posterior_moments(self, variables: Variables, x: Array, context: Array | None = None) -> tuple[Array, Array]:
        """The codes [B, latents], and log-variances as low as they get."""
        z = self.encode(variables, x, None, context)
        return z, jnp.full_like(z, -LOG_VARIANCE_BOUND)

    def sample_prior(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """Uniform codes, [n, latents]."""
        which = jax.random.randint(key, (n, self.groups), 0, self.codes)
        return variables["codebook"]["params"]["codes"][which].reshape(n, self.latents)

    def _vectors(self, z: Array) -> Array:
        """[B, latents] to [B groups, dimensions of a code]."""
        return z.reshape(-1, self.latents // self.groups)

    def _codes(self, variables: Variables, z_e: Array) -> Array:
        """The codes nearest to the encoder's vectors, [B, latents]."""
        codebook = variables["codebook"]["params"]["codes"]
        return codebook[nearest_codes(self._vectors(z_e), codebook)].reshape(z_e.shape)

    def _infer(
        self, variables: Variables, seen: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Posterior, Mapping[str, Any]]:
        z_e, state = forward(self._encoder, variables["encoder"], concatenate_context(seen, context), key=key)
        return Posterior(z_e, jnp.full_like(z_e, -LOG_VARIANCE_BOUND), None), state

    def _draw(self, variables: Variables, q: Posterior, noise: Array) -> tuple[Array, Array]:
        """The codes, and the logarithm of their probability, which is one."""
        return straight_through(q.mean, self._codes(variables, q.mean)), full_rows(q.mean)

    def _log_prior(self, variables: Variables, z: Array, context: Array | None) -> Array:
        return full_rows(z, -self.groups * math.log(self.codes))

    def _kl_per_dimension(self, variables: Variables, q: Posterior, context: Array | None) -> None:
        return None


def recurrent_vae(
    event_shape: tuple[int, ...],
    latents: int = 32,
    width: int = 128,
    cell: Literal["gru", "lstm"] = "gru",
    likelihood: Likelihood = Gaussian(),
    levels: int | None = None,
    objective: Objective = ELBO(),
    word_dropout: float = 0.0,
) -> SequenceVAE:
    """Recurrent networks for both: of symbols [T] with `likelihood=Categorical(levels)`, or of a time series [T, D]."""
    encoder, decoder = RecurrentEncoder(width, cell), RecurrentDecoder(width, cell)
    return SequenceVAE(
        encoder, decoder, event_shape, latents, likelihood, levels, objective=objective, word_dropout=word_dropout
    )
