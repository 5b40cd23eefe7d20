"""Learned normal distributions as bijectors to a standard normal."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, sum_over_event
from jaxgen.bijectors.compose import Chain, FirstHalf
from jaxgen.bijectors.coupling import Coupling, ZeroHead, fit_context, head_parameters
from jaxgen.bijectors.transformers import TanhAffine
from jaxgen.precision import at_least_float32


class ConditionalNormal(Bijector):
    """`z = (x - mu) / sigma`: with a standard normal base, x is normal with learned moments, given the context if any.

    Without context mu and sigma are parameters; with one, a layer that starts at zero computes them, for example a
    prior for each class. At initialisation it is the identity.

    Attributes:
        per_position: every position has its own mu and sigma; otherwise every channel has. (With an image as context
            every position has its own.)
        bound: of |log sigma|.
    """

    per_position: bool = False
    bound: float = 2.0

    @nn.compact
    def _both(self, x: Array, context: Array | None, direction: str) -> ValueAndLogDet:
        x, transformer = at_least_float32(x), TanhAffine(self.bound)
        shape = x.shape[1:] if self.per_position else (1,) * (x.ndim - 2) + x.shape[-1:]
        if context is None:
            parameters = self.param("prior", nn.initializers.zeros, (*shape, transformer.num_params))
        elif context.ndim == 2:
            parameters = head_parameters(ZeroHead, transformer, context, (x.shape[0], *shape))
        else:
            parameters = head_parameters(ZeroHead, transformer, fit_context(context, x.shape), x.shape)
        parameters = parameters.astype(x.dtype) + jnp.zeros_like(x)[..., None]
        z, log_derivative = getattr(transformer, direction)(x, parameters)
        return z, sum_over_event(log_derivative)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, "forward")

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, context, "inverse")


def factor_out(rest: Bijector, conditioner: nn.Module) -> Chain:
    """Factors out the second half of the channels; `rest` acts on the first half h.

    `z2 = (x2 - mu(h)) / sigma(h)` is the learned conditional prior of the half factored out, as an affine coupling:
    with a standard normal base, p(x2 | h) is normal with the moments that `conditioner` computes (Dinh et al. 2017,
    section 3.6; Kingma and Dhariwal 2018). Latents have the shape of the input.
    """
    return Chain((Coupling(TanhAffine(), conditioner), FirstHalf(rest)))
