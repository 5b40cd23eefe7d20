"""Batch normalisation as a bijector."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.numerics import channel_moments
from jaxgen.precision import at_least_float32


class BatchNorm(Bijector):
    """`z = (x - mean) / sqrt(var + epsilon) * exp(log_gamma) + beta` for each channel of the last axis.

    In training (`batch_stats` is mutable) `forward` normalises by the batch's mean and variance, through which
    gradients flow, and updates the running statistics; otherwise it normalises by the running statistics. `inverse`
    always uses the running statistics and never updates them: in training it does not undo `forward`.

    `init` sets the running statistics so that the output of the direction that it runs has mean 0 and variance 1 in
    each channel of its batch; inside `Repeat` each repetition is initialised on the previous one's output. The variance
    of a constant channel is that of the whole batch, in training too; in `init` also for few examples
    (`channel_moments`).

    Sources: Dinh et al. 2017, section 3.7 and appendix E; Papamakarios et al. 2017, appendix B.

    Attributes:
        momentum: the decay of the running statistics.
        epsilon: added to the variance.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def _both(self, x: Array, inverse: bool) -> ValueAndLogDet:
        x = at_least_float32(x)

        def initial():
            mean, var = channel_moments(x)
            if inverse:
                var = jnp.maximum(1 / (var + self.epsilon) - self.epsilon, 0)
                mean = -mean * jnp.sqrt(var + self.epsilon)
            return {"mean": mean.astype(jnp.float32), "var": var.astype(jnp.float32)}

        running = self.variable("batch_stats", "running", initial)
        log_gamma = self.param("log_gamma", nn.initializers.zeros, x.shape[-1:]).astype(x.dtype)
        beta = self.param("beta", nn.initializers.zeros, x.shape[-1:]).astype(x.dtype)
        mean, var = (running.value[name].astype(x.dtype) for name in ("mean", "var"))
        if self.is_mutable_collection("batch_stats") and not (self.is_initializing() or inverse):
            mean, var = channel_moments(x, enough=1)
            batch = lax.stop_gradient({"mean": mean.astype(jnp.float32), "var": var.astype(jnp.float32)})
            running.value = jax.tree.map(
                lambda old, new: self.momentum * old + (1 - self.momentum) * new, running.value, batch
            )
        log_scale = log_gamma - 0.5 * jnp.log(var + self.epsilon)
        log_det = zero_log_det(x) + math.prod(x.shape[1:-1]) * log_scale.sum()
        if inverse:
            return (x - beta) * jnp.exp(-log_scale) + mean, -log_det
        return (x - mean) * jnp.exp(log_scale) + beta, log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, inverse=True)
