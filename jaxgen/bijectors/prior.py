"""Learned priors, written as bijectors to a standard normal."""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, sum_over_event
from jaxgen.bijectors.compose import Chain, OnHalf
from jaxgen.bijectors.coupling import Coupling, ZeroHead, fit_context, head_parameters
from jaxgen.bijectors.transformers import AffineTransformer
from jaxgen.precision import at_least_float32


class LearnedPrior(Bijector):
    """`z = (x - mu) / sigma`: with a standard normal base, a normal prior of x whose moments are learned.

    Without context mu and sigma are parameters; with one, a layer that starts at zero computes them from it: a prior
    for each class. Fresh, it is the identity.

    Attributes:
        per_position: whether every position has its own mu and sigma, or all share one for each channel. (A context
            that is an image gives every position its own.)
        bound: the largest |log sigma|.
    """

    per_position: bool = False
    bound: float = 2.0

    @nn.compact
    def _both(self, x: Array, context: Array | None, direction: str) -> ValueAndLogDet:
        x, transformer = at_least_float32(x), AffineTransformer(self.bound)
        shape = x.shape[1:] if self.per_position else (1,) * (x.ndim - 2) + x.shape[-1:]
        if context is None:
            parameters = self.param("prior", nn.initializers.zeros, (*shape, transformer.n))
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
    """Half of the channels leave the flow, `rest` goes on with the first half h = x1.

    `z2 = (x2 - mu(h)) / sigma(h)` is the learned conditional prior of the half that leaves, written as an affine
    coupling: with a standard normal base, log p(x2 | h) is that of a normal with the moments that `conditioner`
    computes (Dinh et al. 2017, section 3.6; Kingma and Dhariwal 2018). Latents keep the shape of the input.
    """
    return Chain((Coupling(AffineTransformer(), conditioner), OnHalf(rest)))
