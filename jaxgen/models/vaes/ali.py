"""Adversarially learned inference, or bidirectional GAN (Dumoulin et al. 2016; Donahue et al. 2016).

An encoder E and a decoder G without a loss of reconstruction: a discriminator with logit a sees pairs of data and
codes, real ones (x, E(x)) and fake ones (G(z), z), and both networks try to be classified as the other:

    discriminator:         E softplus(-a(x, E(x))) + E softplus(a(G(z), z))
    encoder and decoder:   E softplus(a(x, E(x))) + E softplus(-a(G(z), z))

At the optimum E inverts G. Both terms of the second are needed: only the first has a gradient for the encoder. With a
Gaussian encoder it is ALI, with a deterministic one BiGAN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.losses.adversarial import non_saturating_discriminator
from jaxgen.metrics.distances import sliced_wasserstein
from jaxgen.models.vaes.aae import AAE


@dataclasses.dataclass(frozen=True)
class ALI(AAE):
    """The networks of an `AAE` in another game: plays `discriminator` and `autoencoder` (encoder and decoder).

    Attributes:
        discriminator: any network from pairs of data (on [0, 1] if they are integers) and latents to features: `Joint`.
        likelihood: its mean is G(z), in (0, 1) for a Bernoulli; its density is not used.

    Raises:
        ValueError: as `AAE`; a likelihood with levels.
    """

    _: dataclasses.KW_ONLY
    monitor: tuple[str, str] = ("pairs", "min")

    def __post_init__(self):
        super().__post_init__()
        if self.likelihood.levels is not None:
            raise ValueError(
                f"`likelihood` must be Bernoulli or Gaussian, whose mean has the scale of the data, got "
                f"{self.likelihood}"
            )

    def plays(self) -> Mapping[str, Play]:
        def adam():
            return optax.adam(1e-4, b1=0.5)

        return {
            "discriminator": Play(("discriminator",), self.discriminator_loss, adam()),
            "autoencoder": Play(("encoder", "decoder"), self.autoencoder_loss, adam()),
        }

    def discriminator_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the means of the logits."""
        (on_real, on_fake), _ = self._logits(variables, batch, key, fixed=True)
        metrics = {"real": on_real.mean(), "fake": on_fake.mean()}
        return LossOutput(non_saturating_discriminator(on_real, on_fake), metrics)

    def autoencoder_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        (on_real, on_fake), statistics = self._logits(variables, batch, key)
        # the discriminator's loss with exchanged labels: no vanishing gradients while the discriminator wins
        return LossOutput(non_saturating_discriminator(on_fake, on_real), statistics=statistics)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """`pairs`, the sliced Wasserstein distance of (x, E(x)) from as many (G(z), z); `squared_error` of G(E(x)),
        summed over the event, both of data on [0, 1] if they are integers; `codes` and `metrics` as `AAE` has them.
        """
        z_key, prior_key, metrics_key = jax.random.split(key, 3)
        seen, context = self._observe(batch["x"]), batch.get("context")
        z, prior_z = self.encode(variables, batch["x"], z_key), self._prior_codes(batch, prior_key)

        def flat(x: Array) -> Array:
            return x.reshape(x.shape[0], -1)

        real = jnp.concatenate([flat(seen), z], -1)
        fake = jnp.concatenate([flat(self._generate(variables, prior_z, context)[0]), prior_z], -1)
        error = flat(seen - self._generate(variables, z, context)[0])
        return {
            "pairs": sliced_wasserstein(real, fake, jax.random.key(0)),
            "squared_error": (error**2).sum(-1).mean(),
            **self._distances(variables, batch, z, metrics_key),
        }

    def _generate(
        self, variables: Variables, z: Array, context: Array | None, key: Key | None = None
    ) -> tuple[Array, Mapping[str, Any]]:
        """G(z) as the discriminator sees it, and updated statistics."""
        params, statistics = self._parameters(variables, z, context, key)
        return self.likelihood.mean(params), statistics

    def _logits(
        self, variables: Variables, batch: Batch, key: Key, fixed: bool = False
    ) -> tuple[tuple[Array, Array], Mapping[str, Mapping[str, Any]]]:
        """Logits of (x, E(x)) and of (G(z), z), each [B], and updated statistics; fixed pairs have no gradient."""
        z_key, prior_key, encoder_key, decoder_key, *keys = jax.random.split(key, 6)
        seen, prior_z = self._observe(batch["x"]), self._prior_codes(batch, prior_key)
        z, encoder_statistics = self._code(variables, seen, z_key, encoder_key)
        x, decoder_statistics = self._generate(variables, prior_z, batch.get("context"), decoder_key)
        if fixed:
            z, x = lax.stop_gradient((z, x))
        pairs = ((seen, z), (x, prior_z))
        logits = tuple(self._judge(variables, *pair, batch, k) for pair, k in zip(pairs, keys, strict=True))
        return logits, {"encoder": encoder_statistics, "decoder": decoder_statistics}

    def _judged(self, seen: Array, z: Array, batch: Batch) -> Any:
        return seen, super()._judged(seen, z, batch)
