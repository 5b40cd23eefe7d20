"""A variational autoencoder with an autoregressive decoder: p(x|z) = prod_t p(x_t | x_<t, z).

A language model with a latent vector for the whole text (Bowman et al. 2016, "Generating Sentences from a Continuous
Space", arXiv:1511.06349). If the decoder needs no z, training often ends with q(z|x) = p(z): the posterior collapses.
Remedies are the objective's weight and free bits (`ELBO`), plays in which the encoder moves more often
(`lagging_inference`), `word_dropout`, a decoder with a shorter reach, and discrete latents (`QuantizedPosterior`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.contracts import Array, Key, Variables
from jaxgen.distributions.likelihoods import Categorical
from jaxgen.models.vaes.vae import VAE
from jaxgen.nets.recurrent import Autoregressive, mark
from jaxgen.sharding import full_batch, shard_like, vary_like


@dataclasses.dataclass(frozen=True)
class SequenceVAE(VAE):
    """A VAE of sequences of symbols (a `Categorical` likelihood, integers [B, T]), time series ([B, T, D]), or images.

    Networks get a Categorical's integers one-hot and other data as in VAE; the encoder's input is [B, T, D], for images
    [B, H, W, C]. The decoder is a causal network (`jaxgen.nets.recurrent`). In losses and metrics its inputs are the
    data before each place, in `sample`, `decode` and `reconstruct` its own outputs. `decode` continues at each place
    with the mean, or the likeliest symbol: E[x|z] has no closed form.

    Attributes:
        axes: the number of the event's leading axes that number its places: 1 goes from time to time or from row to row
            of an image, 2 from pixel to pixel. The coordinates of a place are independent given those before.
        word_dropout: in training, the fraction of places that are hidden from the decoder. With 1 it is Bowman et al.'s
            inputless decoder, which depends on z alone.

    Raises:
        ValueError: as `VAE`; `axes` or `word_dropout` out of range.
    """

    _: dataclasses.KW_ONLY
    axes: int = 1
    word_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.axes <= len(self.event_shape):
            raise ValueError(f"`axes` must be from 1 to {len(self.event_shape)}, the event's axes, got {self.axes}")
        if not 0 <= self.word_dropout <= 1:
            raise ValueError(f"`word_dropout` must be from 0 to 1, got {self.word_dropout}")

    @property
    def _decoder(self) -> Autoregressive:
        return Autoregressive(self.decoder, self.event_shape, self.likelihood.num_params, self.axes, self.word_dropout)

    def _decoder_inputs(self, z: Array, context: Array | None, target: Array) -> tuple[Array, Array]:
        values = self._values(target)
        places = math.prod(self.event_shape[: self.axes])
        return super()._decoder_inputs(z, context, target), values.reshape(z.shape[0], places, -1)

    def _observe(self, x: Array, key: Key | None) -> tuple[Array, Array]:
        target = super()._observe(x, key)[1]
        return self._values(target), target

    def _values(self, target: Array) -> Array:
        """The likelihood's data, [B, ...], as inputs of networks, [B, T, D] or images."""
        x = target[..., None] if target.ndim == 2 else target
        if isinstance(self.likelihood, Categorical):
            return jax.nn.one_hot(x.astype(jnp.int32), self.likelihood.levels).reshape(*x.shape[:-1], -1)
        return x if self.likelihood.levels is None else x / (self.likelihood.levels - 1)

    def _generate(self, variables: Variables, z: Array, context: Array | None, key: Key | None = None) -> Array:
        """Place by place, each from the outputs before it; without a key `_best` instead of samples."""
        z = super()._decoder_inputs(z, context, None)
        places, coordinates = (math.prod(self.event_shape[s]) for s in (slice(self.axes), slice(self.axes, None)))
        size, variables = z.shape[0], variables["decoder"]

        def values(x: Array) -> Array:
            return mark(self._values(x).reshape(size, -1))

        def place(state: tuple[Any, Array], key: Key | None) -> tuple[tuple[Any, Array], Array]:
            carry, before = state
            carry, params = self._decoder.apply(variables, carry, z, before, method="step")
            x = self._best(params) if key is None else self.likelihood.sample(params, key)
            return (carry, values(x)), x

        before = jnp.zeros_like(values(full_batch(z, 0, (coordinates,))))
        start = shard_like(self._decoder.apply(variables, size, method="start"), z), before
        keys = None if key is None else jax.random.split(key, places)
        x = lax.scan(place, vary_like(start, z, keys, variables), keys, length=places)[1]
        return jnp.moveaxis(x, 0, 1).reshape(size, *self.event_shape)

    def _best(self, params: Array) -> Array:
        if isinstance(self.likelihood, Categorical):
            return params.argmax(-1).astype(jnp.float32)
        return self.likelihood.mean(params)
