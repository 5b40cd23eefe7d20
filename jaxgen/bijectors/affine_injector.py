"""Affine injectors: maps of all coordinates with parameters from the context alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from jaxgen.bijectors.bijector import Array, Bijector, ValueAndLogDet, sum_over_event
from jaxgen.bijectors.coupling import ZeroHead, fit_context, head_parameters
from jaxgen.bijectors.transformers import TanhAffine
from jaxgen.precision import at_least_float32


class AffineInjector(Bijector):
    """`z = (x + t(u)) exp(s(u))` with the context u, `log_det = sum s(u)`: transforms every coordinate.

    Source: Lugmayr et al. 2020, "SRFlow" (arXiv:2006.14200). A coupling leaves one part of the event as it
    is and sees the other; an injector sees the context only.

    Attributes:
        conditioner: any network from the context, fitted to the resolution of x, to features at each position or one
            vector [B, K].
        transformer: the elementwise map; `TanhAffine` bounds s on both sides, so that no scale of the inverse diverges.
        head: the output layer, as in `Coupling`.

    Raises:
        ValueError: no context, or one that does not fit.
    """

    conditioner: nn.Module
    transformer: Any = TanhAffine()
    head: Callable[..., nn.Module] = dataclasses.field(default=ZeroHead, kw_only=True)

    @nn.compact
    def _both(self, x: Array, context: Array | None, direction: str) -> ValueAndLogDet:
        if context is None:
            raise ValueError("`context` must be given: an AffineInjector computes its parameters from it, got None")
        x = at_least_float32(x)
        h = self.conditioner(fit_context(context, x.shape).astype(x.dtype))
        parameters = head_parameters(self.head, self.transformer, h, x.shape).astype(x.dtype)
        z, log_derivative = getattr(self.transformer, direction)(x, parameters)
        return z, sum_over_event(log_derivative)

    def forward_and_log_det(self, x: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(x, context, "forward")

    def inverse_and_log_det(self, z: Array, context: Array | None = None) -> ValueAndLogDet:
        return self._both(z, context, "inverse")
