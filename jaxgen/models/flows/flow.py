"""A normalizing flow: a bijector and a base density."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxgen.arguments import as_events, as_real
from jaxgen.bijectors.bijector import Bijector, zero_log_det
from jaxgen.bijectors.compose import reverses
from jaxgen.bijectors.reversible import reconstruction_error
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.dequantization import Dequantization, quantize
from jaxgen.distributions.standard import StandardDistribution
from jaxgen.losses.likelihood import bits_per_dim, negative_log_likelihood
from jaxgen.models.forward import forward
from jaxgen.precision import at_least_float32


@dataclasses.dataclass(frozen=True)
class Flow:
    """`log p(x) = log p_base(f(x)) + log|det df/dx|`, a model with one player, "flow", trained by maximum likelihood.

    Data are [B, *base.event_shape]: floats, or with a dequantization integers. Log-probabilities are in nats and in
    data units: with dequantization they are lower bounds of the integers' log-probabilities, and require a key for the
    noise. A learned dequantization is a second player, "dequantizer", trained with the flow, and so is the "encoder" of
    the context: a `Play` of fewer players freezes the others, `fit(start={"encoder": ...})` begins with a trained one.

    Attributes:
        bijector: f, whose `forward` runs from data to latents of the same shape.
        base: the density of the latents, `StandardNormal`, `Logistic` or `Uniform`; its mass outside the bijector's
            image would be lost.
        dequantization: from integers to points of [0, 1), the bijector's inputs; None for continuous data.
        encoder: a network from the context to the features that condition the bijector; None: the context itself.
    """

    bijector: Bijector
    base: StandardDistribution
    dequantization: Dequantization | None = None
    encoder: nn.Module | None = None

    @property
    def monitor(self) -> tuple[str, str]:
        return ("bits_per_dim" if self.dequantization else "negative_log_likelihood", "min")

    def init(self, key: Key, batch: Batch) -> Variables:
        """The variables {"flow": collections}, and those of the players "dequantizer" and "encoder" if there are such.

        Data-dependent parameters are computed from `batch["x"]` [B, *event] and `batch["context"]`, if any.
        """
        noise_key, key = jax.random.split(key)
        variables = {}
        if self._learns_noise:
            dequantizer_key, key = jax.random.split(key)
            variables["dequantizer"] = self.dequantization.init(dequantizer_key, jnp.asarray(batch["x"]))
        context = batch.get("context")
        if self.encoder is not None:
            encoder_key, key = jax.random.split(key)
            variables["encoder"] = jax.jit(self.encoder.init)(encoder_key, self._encoder_input(context))
        y, _ = self._continuous(variables, batch["x"], noise_key)
        # one compilation in place of hundreds of small ones
        return {**variables, "flow": jax.jit(self.bijector.init)(key, y, self._encode(variables, context)[0])}

    def plays(self) -> Mapping[str, Play]:
        """One play: maximum likelihood by Adam, gradients clipped to norm 50 (log-likelihoods sum over the event)."""
        players = ("dequantizer",) * self._learns_noise + ("encoder",) * (self.encoder is not None) + ("flow",)
        optimizer = optax.chain(optax.clip_by_global_norm(50.0), optax.adam(1e-3))
        return {"flow": Play(players, self.loss, optimizer, accumulates=True)}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """The negative log-likelihood in nats, in training mode (`jaxgen.models.forward.forward`).

        A flow that rebuilds its inputs for the gradient also reports the `reconstruction_error` of two examples.
        """
        noise_key, flow_key = jax.random.split(key)
        y, data_log_det = self._continuous(variables, batch["x"], noise_key)
        context, statistics = self._encode(variables, batch.get("context"), jax.random.fold_in(flow_key, 0xE2C))
        (z, log_det), updated = forward(self.bijector, variables["flow"], y, context, key=flow_key)
        statistics = {**statistics, **({"flow": updated} if updated else {})}
        log_prob = self.base.log_prob(z) + log_det + data_log_det
        metrics = {**self._metrics(log_prob), "log_det": log_det.mean()}
        if reverses(self.bijector):
            few = None if context is None else context[:2]
            metrics["reconstruction_error"] = reconstruction_error(self.bijector, variables["flow"], y[:2], few)
        return LossOutput(negative_log_likelihood(log_prob), metrics, statistics)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """Evaluation metrics: `log_prob` in nats; `bits_per_dim` for integers, else `negative_log_likelihood`."""
        log_prob = self.log_prob(variables, batch["x"], key, batch.get("context"))
        return {**self._metrics(log_prob), "log_prob": log_prob.mean()}

    def log_prob(
        self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None, samples: int = 1
    ) -> Array:
        """log p(x | context), [B].

        With dequantization it is the importance-weighted bound `log 1/K sum_k p(y_k) / q(y_k | x)` over K = `samples`
        samples of the noise, computed one after another. Outside the support (`Bijector`) it is -inf, with gradient
        zero.

        Raises:
            ValueError: x of another event shape or, with dequantization, floats or no key.
        """
        context, _ = self._encode(variables, context)

        def one(key: Key | None) -> Array:
            y, data_log_det = self._continuous(variables, x, key)
            (z, log_det), _ = forward(self.bijector, variables["flow"], y, context)
            return self.base.log_prob(z) + log_det + data_log_det

        if self.dequantization is None or key is None or samples == 1:
            return one(key)
        return jax.nn.logsumexp(jax.lax.map(one, jax.random.split(key, samples)), axis=0) - math.log(samples)

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array | None = None, temperature: float = 1.0
    ) -> Array:
        """n samples in data units, [n, *event].

        Args:
            context: [n, ...], or [1, ...] for all samples.
            temperature: scales the latents.
        """
        return self.decode(variables, temperature * self.base.sample(key, n), context)

    def sample_and_log_prob(
        self, variables: Variables, key: Key, n: int, context: Array | None = None
    ) -> tuple[Array, Array]:
        """n samples [n, *event] and their log-probabilities [n], from one pass of the inverse.

        With dequantization the noise is the fraction that rounding removes from the sample.

        Raises:
            ValueError: a learned dequantization, whose density of that noise is not computed.
        """
        if self._learns_noise:
            raise ValueError("sample_and_log_prob requires a fixed dequantization, got a learned one")
        z, (context, _) = self.base.sample(key, n), self._encode(variables, context)
        (y, log_det), _ = forward(self.bijector, variables["flow"], z, context, method="inverse_and_log_det")
        log_prob = self.base.log_prob(z) - log_det
        if self.dequantization is None:
            return y, log_prob
        levels = self.dequantization.levels
        return quantize(y, levels), log_prob - self._dims * math.log(levels)

    def encode(self, variables: Variables, x: Array, key: Key | None = None, context: Array | None = None) -> Array:
        """Data to latents, both [B, *event]; raises as `log_prob`."""
        y, _ = self._continuous(variables, x, key)
        context, _ = self._encode(variables, context)
        return forward(self.bijector, variables["flow"], y, context, method="forward")[0]

    def decode(self, variables: Variables, z: Array, context: Array | None = None) -> Array:
        """Latents to data, both [B, *event]."""
        z = as_events("z", z, self.base.event_shape)
        context, _ = self._encode(variables, context)
        y, _ = forward(self.bijector, variables["flow"], z, context, method="inverse")
        return y if self.dequantization is None else quantize(y, self.dequantization.levels)

    @property
    def _learns_noise(self) -> bool:
        return self.dequantization is not None and self.dequantization.learned

    @property
    def _dims(self) -> int:
        return math.prod(self.base.event_shape)

    @staticmethod
    def _encoder_input(context: Array | None) -> Array:
        """The context as an array.

        Raises:
            ValueError: no context.
        """
        if context is None:
            raise ValueError("`context` must be given: this flow's encoder computes its features from it, got None")
        return as_real("context", context)

    def _encode(
        self, variables: Variables, context: Array | None, key: Key | None = None
    ) -> tuple[Array | None, dict[str, Any]]:
        """The bijector's context, and the statistics that the encoder updates in training, by player."""
        if self.encoder is None:
            return context, {}
        features, updated = forward(self.encoder, variables["encoder"], self._encoder_input(context), key=key)
        return features, {"encoder": updated} if updated else {}

    def _continuous(self, variables: Variables, x: Array, key: Key | None) -> tuple[Array, Array]:
        """The bijector's inputs [B, *event], and the term that dequantization adds to log p, [B]."""
        x = as_events("x", x, self.base.event_shape)
        if self.dequantization is None:
            x = at_least_float32(x)
            return x, zero_log_det(x)
        if key is None:
            raise ValueError("`key` must be given: this flow dequantizes its data with random noise")
        if jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"`x` must be integers, which this flow dequantizes, got {x.dtype}")
        return self.dequantization.dequantize(key, x, variables.get("dequantizer"))

    def _metrics(self, log_prob: Array) -> dict[str, Array]:
        if self.dequantization is None:
            return {"negative_log_likelihood": negative_log_likelihood(log_prob)}
        return {"bits_per_dim": bits_per_dim(log_prob, self._dims).mean()}
