"""A learned scale for each coordinate."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, zero_log_det
from jaxgen.precision import at_least_float32


class Scale(Bijector):
    """`z = x exp(s)` with s a parameter of each coordinate of the event (NICE, Dinh et al. 2015, section 3.3).

    As a flow's last layer it gives the base a learned scale `sigma = exp(-s)`: dimensions with large s vary little. At
    initialisation it is the identity.
    """

    @nn.compact
    def _both(self, x: Array, inverse: bool) -> ValueAndLogDet:
        x = at_least_float32(x)
        log_scale = self.param("log_scale", nn.initializers.zeros, x.shape[1:]).astype(x.dtype)
        log_det = zero_log_det(x) + log_scale.sum()
        if inverse:
            return x * jnp.exp(-log_scale), -log_det
        return x * jnp.exp(log_scale), log_det

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, inverse=False)

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, inverse=True)
