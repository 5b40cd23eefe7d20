"""VFunc, a generative model of functions (Bachman et al. 2018, "VFunc: a Deep Generative Model for Functions").

A latent z ~ N(0, I) chooses a function, whose values at points X are f(X) = g(X, z) + noise. The entropy of f(X) has a
bound by a recognition network q, as in InfoGAN:

    H(f) = H(z) + H(f|z) - H(z|f) >= H(z) + H(f|z) + E log q(z|f(X)).

g and q maximise E R(f) + c times the bound; here the reward R is the log-likelihood of data, sum_i log N(y_i | f(x_i),
noise^2), and with a prior on functions log p(f(X)) too. Then with c = 1, and points that include the data's, the
maximum is a lower bound of log p(y), exact if the functions have the posterior's distribution and q is exact. Without a
prior nothing but the networks limits functions away from the data, and with c = 0 they collapse to a single one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from jaxgen.arguments import as_arrays, broadcast_context, check_counts, check_number, check_shape, freeze_fields
from jaxgen.contracts import Array, Batch, Clock, Key, LossOutput, Play, Variables
from jaxgen.distributions.gaussian_process import GaussianProcess
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.scaling import from_data
from jaxgen.nets.heads import GaussianHead, Headed, VectorHead

LOG_2_PI_E = math.log(2 * math.pi) + 1
SAMPLES = 256
"""Functions in a Monte Carlo estimate of the predictive density."""


@dataclasses.dataclass(frozen=True)
class VFunc:
    """Players `function` and `recognition`, both trained by the play `vfunc` on values `x` at places `context`.

    Attributes:
        function: any network from places and latents, [B, Dx + latent_dim], to features; the model adds the last layer.
        recognition: any network from a function's values at the points, [B, M, Dy], to features.
        event_shape: of a value, (Dy,).
        points: X, M places of Dx numbers each, at which the entropy of functions is measured.
        num_examples: size of the training set, to which the likelihood of a batch is scaled.
        latent_dim: dimension of z.
        noise: standard deviation of the data.
        function_noise: standard deviation of f(x) given z.
        entropy_weight: c.
        prior: of each dimension of the values; None: the reward is the likelihood alone.
        functions: samples of z in a training step.
    """

    function: nn.Module
    recognition: nn.Module
    event_shape: tuple[int, ...]
    points: tuple[tuple[float, ...], ...]
    num_examples: int
    latent_dim: int = 10
    noise: float = 0.1
    function_noise: float = 0.05
    entropy_weight: float = 1.0
    prior: GaussianProcess | None = None
    functions: int = 32
    levels: ClassVar = None
    monitor: ClassVar = ("negative_log_likelihood", "min")

    def __post_init__(self):
        freeze_fields(self)
        check_shape(self.event_shape)
        check_counts(num_examples=self.num_examples, latent_dim=self.latent_dim, functions=self.functions)
        check_number("noise", self.noise, 0, above=True)
        check_number("function_noise", self.function_noise, 0, above=True)
        check_number("entropy_weight", self.entropy_weight, 0)
        if len(self.event_shape) != 1:
            raise ValueError(f"`event_shape` must be (features,), got {self.event_shape}")
        if np.ndim(self.points) != 2 or 0 in np.shape(self.points):
            raise ValueError(f"`points` must be M places of Dx numbers, got shape {np.shape(self.points)}")

    @property
    def _function(self) -> nn.Module:
        return Headed(self.function, VectorHead(*self.event_shape))

    @property
    def _recognition(self) -> nn.Module:
        return Headed(self.recognition, GaussianHead(self.latent_dim))

    def init(self, key: Key, batch: Batch) -> Variables:
        """Raises:
        ValueError: values of another shape, or no context with as many features as the points.
        """
        self._data(batch)
        function_key, recognition_key = jax.random.split(key)
        inputs = jnp.zeros((1, self._places.shape[1] + self.latent_dim))
        values = jnp.zeros((1, len(self.points), *self.event_shape))
        function = self._function.init(function_key, inputs)
        recognition = self._recognition.init(recognition_key, values)
        return {
            "function": without_statistics("function network", function),
            "recognition": without_statistics("recognition network", recognition),
        }

    def plays(self) -> Mapping[str, Play]:
        return {"vfunc": Play(("function", "recognition"), self.loss, optax.adam(1e-3))}

    def loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """-(E R(f) + c H), in nats, with the bound of the entropy H; the metrics are `reward` and `entropy`."""
        reward, entropy = self.reward_and_entropy(variables, batch, key, self.functions)
        return LossOutput(-reward - self.entropy_weight * entropy, {"reward": reward, "entropy": entropy})

    def reward_and_entropy(self, variables: Variables, batch: Batch, key: Key, n: int) -> tuple[Array, Array]:
        """E R(f) and the bound of H(f(X)), in nats, scalars, from n functions.

        The expectation over the noise of f is exact but for log q.
        """
        y, at = self._data(batch)
        z_key, noise_key = jax.random.split(key)
        z = jax.random.normal(z_key, (n, self.latent_dim))
        values = self._values(variables, z, jnp.concatenate([self._places, at]))
        on_points, on_data = jnp.split(values, [len(self.points)], 1)
        squared = ((y - on_data) ** 2).mean((0, 1)).sum() + self.function_noise**2 * y.shape[-1]
        log_normalizer = y.shape[-1] * math.log(2 * math.pi * self.noise**2)
        reward = -0.5 * self.num_examples * (squared / self.noise**2 + log_normalizer)
        f = on_points + self.function_noise * jax.random.normal(noise_key, on_points.shape)
        if self.prior is not None:
            reward += self._log_prior(on_points)
        log_q = forward(self._recognition, variables["recognition"], f)[0].log_prob(z).mean()
        size = f[0].size
        entropy = 0.5 * (self.latent_dim + size) * LOG_2_PI_E + size * math.log(self.function_noise) + log_q
        return reward, entropy

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """In nats: `negative_log_likelihood` of a value under the predictive density, and the loss's two terms."""
        reward, entropy = self.reward_and_entropy(variables, batch, key, SAMPLES)
        nll = -self.log_prob(variables, batch["x"], key, batch["context"]).mean()
        return {"negative_log_likelihood": nll, "reward": reward, "entropy": entropy}

    def log_prob(self, variables: Variables, x: Array, key: Key, context: Array) -> Array:
        """log of the mean over functions of N(x | f(context), noise^2), [B]: each value by itself."""
        y, at = self._data({"x": x, "context": context})
        values = self.sample_functions(variables, key, SAMPLES, at)
        variance = self.noise**2 + self.function_noise**2
        log_p = -0.5 * ((y - values) ** 2 / variance + math.log(2 * math.pi * variance)).sum(-1)
        return jax.nn.logsumexp(log_p, 0) - math.log(SAMPLES)

    def sample_functions(self, variables: Variables, key: Key, n: int, context: Array) -> Array:
        """n functions g(., z), without noise, at places [P, Dx]: [n, P, Dy]."""
        check_counts(n=n)
        return self._values(variables, jax.random.normal(key, (n, self.latent_dim)), self._at(context))

    def sample(self, variables: Variables, key: Key, n: int, context: Array | None = None) -> Array:
        """n values with the noise of the data, each of another function, at places [n, Dx] or [1, Dx]: [n, Dy]."""
        check_counts(n=n)
        z_key, noise_key = jax.random.split(key)
        z = jax.random.normal(z_key, (n, self.latent_dim))
        if context is None:
            raise ValueError("`context` must be the places of the values, got None")
        inputs = jnp.concatenate([self._at(broadcast_context(context, z)), z], -1)
        values = forward(self._function, variables["function"], inputs)[0]
        return values + math.hypot(self.noise, self.function_noise) * jax.random.normal(noise_key, values.shape)

    @property
    def _places(self) -> Array:
        return jnp.asarray(self.points, jnp.float32)

    def _at(self, context: Array) -> Array:
        (context,) = as_arrays("P D", context=context)
        if context.shape[1] != len(self.points[0]):
            raise ValueError(f"`context` must be places [B, {len(self.points[0])}], got shape {context.shape}")
        return context

    def _data(self, batch: Batch) -> tuple[Array, Array]:
        if batch.get("context") is None:
            raise ValueError(f"a VFunc expects a batch with an entry 'context', the places, got {sorted(batch)}")
        y = from_data(batch["x"], self.event_shape, None)
        return y, self._at(broadcast_context(batch["context"], y))

    def _values(self, variables: Variables, z: Array, at: Array) -> Array:
        """g of latents [n, L] at places [P, Dx], [n, P, Dy]."""
        shape = (len(z), len(at))
        pairs = [jnp.broadcast_to(at, (*shape, at.shape[1])), jnp.broadcast_to(z[:, None], (*shape, z.shape[1]))]
        inputs = jnp.concatenate(pairs, -1).reshape(shape[0] * shape[1], -1)
        return forward(self._function, variables["function"], inputs)[0].reshape(*shape, -1)

    def _log_prior(self, g: Array) -> Array:
        """E log p(f(X)) of f = g + noise, g [n, M, Dy]; the prior has the noise too."""
        n, m, features = g.shape
        flat = g.transpose(0, 2, 1).reshape(n * features, m)
        covariance = self.prior.covariance(self._places, self._places) + self.function_noise**2 * jnp.eye(m)
        spread = self.function_noise**2 * jnp.trace(jnp.linalg.inv(covariance))
        return features * (self.prior.log_prob(flat, self._places, self.function_noise).mean() - 0.5 * spread)
