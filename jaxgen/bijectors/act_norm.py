"""Normalisation with data-dependent initialisation."""

from __future__ import annotations

import math

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.numerics import channel_moments
from jaxgen.precision import at_least_float32

class ActNorm(Bijector):
    """`z = (x + shift) exp(log_scale)` for each channel of the last axis (Kingma and Dhariwal 2018, section 3.1).

    `init` sets both parameters so that the output of the direction that it runs has mean 0 and standard deviation 1 in
    each channel of its batch; inside `Repeat` each repetition is initialised on the previous one's output. Constant
    channels, and batches of few examples, are scaled by the standard deviation of the batch (`channel_moments`).
    """

    @nn.compact
    def _both(self, x: Array, inverse: bool) -> ValueAndLogDet:
        x = at_least_float32(x)

        def initial(_):
            mean, variance = channel_moments(x)
            std = jnp.sqrt(variance)
            shift, scale = (mean / std, std) if inverse else (-mean, 1 / std)
            return {"shift": shift.astype(jnp.float32), "log_scale": jnp.log(scale).astype(jnp.float32)}

        parameters = self.param("norm", initial)
        shift, log_scale = parameters["shift"].astype(x.dtype), parameters["log_scale"].astype(x.dtype)
        log_det = zero_log_det(x) + math.prod(x.shape[1:-1]) * log_scale.sum()
        if inverse:
            return x * jnp.exp(-log_scale) - shift, -log_det
        return (x + shift) * jnp.exp(log_scale), log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, inverse=True)
