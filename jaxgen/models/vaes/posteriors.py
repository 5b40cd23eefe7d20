"""Posteriors q(z|x) of variational autoencoders, as values: from the encoder's outputs to samples of z.

A posterior chooses the encoder's last layer (`head`) and interprets its outputs for a batch (`infer`); the result, here
called q, is a pytree whose leaves share the batch axis.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Bijector
from jaxgen.contracts import Array, Key, LossOutput, Variables
from jaxgen.distributions.diagonal_normal import DiagonalNormal
from jaxgen.models.codebook import PLAYER, Codebook, Quantized
from jaxgen.models.forward import without_statistics
from jaxgen.models.vaes.priors import Prior, UniformCodes
from jaxgen.nets.heads import LOG_VARIANCE_BOUND, GaussianFeaturesHead, GaussianHead
from jaxgen.nets.implicit import MixingHead, NoiseBasis, mix, mixed_moments
from jaxgen.sharding import full_batch


class Posterior:
    """A base class with the defaults.

    Attributes:
        players: with parameters of the posterior beside the encoder's.
        accumulates: whether `penalty` is a mean over examples (`jaxgen.contracts.Play`).
    """

    players: tuple[str, ...] = ()
    accumulates: bool = True

    def check(self, latent_dim: int, prior: Prior) -> None:
        """Raises:
        ValueError: a dimension or a prior that does not fit.
        """
        if isinstance(prior, UniformCodes):
            raise ValueError(f"`prior` must not be UniformCodes with {type(self).__name__}, which has no codes")

    def head(self, latent_dim: int) -> nn.Module:
        """The encoder's last layer."""
        raise NotImplementedError

    def init(self, key: Key, outputs: Any) -> Variables:
        """The variables of `players`, for the head's outputs on a batch."""
        return {}

    def infer(self, variables: Variables, outputs: Any) -> Any:
        """q, from the head's outputs."""
        return outputs

    def moments(self, q: Any) -> DiagonalNormal:
        """The normal [B, L] that the samples start from or that has their moments."""
        return q

    def reparameterize(self, variables: Variables, q: Any, noise: Array) -> tuple[Array, Array]:
        """z [B, L] from standard normal noise [B, L], and log q(z|x) [B]."""
        return self.moments(q).reparameterize(noise)

    def penalty(self, variables: Variables, q: Any, key: Key) -> LossOutput:
        """What is added to the objective, with its metrics and statistics."""
        return LossOutput(jnp.zeros(()))


@dataclasses.dataclass(frozen=True)
class NormalPosterior(Posterior):
    """N(mean(x), diag exp(log_variance(x)))."""

    def head(self, latent_dim: int) -> nn.Module:
        return GaussianHead(latent_dim)


class FlowOutputs(NamedTuple):
    """The normal that a flow starts from and the context of the flow, [B, L] each."""

    normal: DiagonalNormal
    features: Array


@dataclasses.dataclass(frozen=True)
class FlowPosterior(Posterior):
    """log q(z|x) = log N(f(z); mean, variance) + log|det df/dz|, f a bijector: the player `posterior`.

    Rezende & Mohamed 2015, "Variational Inference with Normalizing Flows". f runs from z to the normal sample, as any
    bijector runs from data to latents: `FlowPosterior(Invert(MaskedAutoregressive(...)))` is the inverse autoregressive
    flow of Kingma et al. 2016, which samples in one pass. Its context are L more outputs of the encoder.
    """

    bijector: Bijector
    players = ("posterior",)

    def head(self, latent_dim: int) -> nn.Module:
        return GaussianFeaturesHead(latent_dim, latent_dim)

    def init(self, key: Key, outputs: Any) -> Variables:
        init_key, noise_key = jax.random.split(key)
        normal, features = outputs
        start = normal.sample(noise_key)
        collections = self.bijector.init(init_key, start, features, method="inverse_and_log_det")
        return {"posterior": without_statistics("posterior", collections)}

    def infer(self, variables: Variables, outputs: Any) -> FlowOutputs:
        return FlowOutputs(*outputs)

    def moments(self, q: FlowOutputs) -> DiagonalNormal:
        return q.normal

    def reparameterize(self, variables: Variables, q: FlowOutputs, noise: Array) -> tuple[Array, Array]:
        z, log_q = q.normal.reparameterize(noise)
        z, log_det = self.bijector.apply(variables["posterior"], z, q.features, method="inverse_and_log_det")
        return z, log_q - log_det


@dataclasses.dataclass(frozen=True)
class QuantizedPosterior(Posterior):
    """The codes nearest to the encoder's L / D vectors, with probability one: the player `codebook`.

    With `prior=UniformCodes(codebook)`, KL(q(z|x) || p(z)) = L / D log K for every x: the posterior cannot collapse.
    The codebook's loss is added to the objective (van den Oord et al. 2017, section 3).
    """

    codebook: Codebook

    @property
    def players(self) -> tuple[str, ...]:
        return self.codebook.players

    @property
    def accumulates(self) -> bool:
        return self.codebook.accumulates

    def check(self, latent_dim: int, prior: Prior) -> None:
        if latent_dim % self.codebook.code_dim:
            raise ValueError(f"`latent_dim` must be a multiple of code_dim={self.codebook.code_dim}, got {latent_dim}")
        if prior != UniformCodes(self.codebook):
            raise ValueError(f"`prior` must be UniformCodes with the posterior's codebook, got {prior}")

    def head(self, latent_dim: int) -> nn.Module:
        return nn.Dense(latent_dim)

    def init(self, key: Key, outputs: Array) -> Variables:
        return {PLAYER: self.codebook.init(key, outputs)}

    def infer(self, variables: Variables, outputs: Array) -> Quantized:
        return self.codebook.quantize(variables[PLAYER], outputs.reshape(outputs.shape[0], -1, self.codebook.code_dim))

    def moments(self, q: Quantized) -> DiagonalNormal:
        """The codes as means, with the smallest log-variance of a `GaussianHead`."""
        z = q.straight_through.reshape(q.codes.shape[0], -1)
        return DiagonalNormal(z, jnp.full_like(z, -LOG_VARIANCE_BOUND))

    def reparameterize(self, variables: Variables, q: Quantized, noise: Array) -> tuple[Array, Array]:
        return self.moments(q).mean, full_batch(q.codes)

    def penalty(self, variables: Variables, q: Quantized, key: Key) -> LossOutput:
        return self.codebook.loss(variables[PLAYER], q, key)


MOMENT_SAMPLES = 256
"""Fixed samples of the noise from which the moments of an implicit posterior are computed."""
VARIANCE_FLOOR = 1e-4
"""Added to the variance of an implicit posterior."""


class ImplicitOutputs(NamedTuple):
    """The normal of the posterior's moments, and the location and scales of the sample, the inputs of `mix`."""

    normal: DiagonalNormal
    mixture: tuple[Array, Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImplicitPosterior(Posterior):
    """z = z_0(x) + sum_k a_k(x) v_k(eps_k), which has samples (`sample`) but no density: the player `basis`.

    Mescheder et al. 2017, section 6.1. As a `Posterior` it stands for r(z|x), the normal of its moments, which are
    those of the v_k.

    Attributes:
        num_functions: the number of functions v_k.
        noise_dim: dimension of each eps_k.
        widths: of the hidden layers of each v_k.
    """

    num_functions: int = 32
    noise_dim: int = 64
    widths: tuple[int, ...] = (128, 128, 128)
    players = ("basis",)

    def head(self, latent_dim: int) -> nn.Module:
        return MixingHead(latent_dim, self.num_functions)

    def init(self, key: Key, outputs: tuple[Array, Array]) -> Variables:
        location = outputs[0]
        return {"basis": self._basis(location).init(key, self._noise(jax.random.key(0), location.shape[0]))}

    def infer(self, variables: Variables, outputs: tuple[Array, Array]) -> ImplicitOutputs:
        noise = self._noise(jax.random.key(0), MOMENT_SAMPLES)
        mean, variance = mixed_moments(*outputs, self._basis(outputs[0]).apply(variables["basis"], noise))
        return ImplicitOutputs(DiagonalNormal(mean, jnp.log(variance + VARIANCE_FLOOR)), outputs)

    def moments(self, q: ImplicitOutputs) -> DiagonalNormal:
        return q.normal

    def sample(self, variables: Variables, q: ImplicitOutputs, key: Key) -> Array:
        """z ~ q(z|x), [B, L]."""
        location, scales = q.mixture
        return mix(
            location, scales, self._basis(location).apply(variables["basis"], self._noise(key, location.shape[0]))
        )

    def _basis(self, location: Array) -> nn.Module:
        return NoiseBasis(location.shape[-1], self.widths)

    def _noise(self, key: Key, n: int) -> Array:
        return jax.random.normal(key, (n, self.num_functions, self.noise_dim))
