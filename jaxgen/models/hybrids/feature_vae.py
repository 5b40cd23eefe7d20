"""Variational autoencoders whose likelihood is normal in features of the data, which networks of other players compute.

    log p(x|z) = sum_i log N(f_i(x) | f_i(G(z)), I),    G(z) the decoder's mean

in place of a likelihood of the pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key, Variables
from jaxgen.distributions.likelihoods import Gaussian
from jaxgen.models.forward import forward
from jaxgen.models.vaes.vae import VAE

UNIT = Gaussian(std=1.0)


@dataclasses.dataclass(frozen=True)
class FeatureVAE(VAE):
    """A base class; subclasses add the players that compute the features, and their plays.

    `terms`, `evaluate` and `anomaly_score` have the likelihood of the features. There is no `log_prob`: densities of
    features are none of x.

    Attributes:
        likelihood: its mean is G(z), in (0, 1) for a Bernoulli; its density is not used.

    Raises:
        ValueError: a likelihood with levels, whose mean has not the scale of the encoder's input.
    """

    _: dataclasses.KW_ONLY
    binarize: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.likelihood.levels is not None:
            raise ValueError(
                f"`likelihood` must be Bernoulli or Gaussian, whose mean has the scale of the data, got {self.likelihood}"
            )

    @property
    def log_prob(self) -> Any:
        raise AttributeError(f"{type(self).__name__} has no density of the data, only one of their features")

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


def log_likelihood(on_real: Sequence[Array], on_generated: Sequence[Array]) -> Array:
    """sum_i log N(a_i | b_i, I) of features a_i, b_i [B, ...]: [B]."""
    return sum(UNIT.log_prob(b[..., None], a) for a, b in zip(on_real, on_generated, strict=True))


def jointly(network: Callable[..., tuple[Any, Any]], batches: Sequence[Array], context: Array | None) -> tuple[list, Any]:
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
