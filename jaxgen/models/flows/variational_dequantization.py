"""Variational dequantization (Ho et al. 2019, "Flow++", arXiv:1902.00275, section 3.1).

The noise added to integers comes from a conditional flow q(u | x) in place of a uniform density,

    log P(x) >= E_{u ~ q(.|x)} [ log p((x + u) / levels) - log q(u | x) ] - dims log(levels),

so that p need not be constant within bins. The flow is over the logits of u, with a standard logistic base: initially q
is uniform.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_range
from jaxgen.bijectors import Bijector, Sigmoid
from jaxgen.contracts import Array, Key
from jaxgen.distributions.dequantization import require_levels
from jaxgen.distributions.logistic import Logistic


@dataclasses.dataclass(frozen=True)
class VariationalDequantization:
    """Integers 0 ... levels - 1 as points of [0, 1], by noise sampled from a conditional flow.

    Attributes:
        bijector: `forward` runs from the noise's logits to logistic latents, both [B, *event]; its context is the
            integer event, scaled to [-1, 1].
        levels: number of values of a coordinate, at most 256.
    """

    bijector: Bijector
    levels: int = 256
    learned: ClassVar[bool] = True

    def __post_init__(self):
        require_levels(self)

    def init(self, key: Key, x: Array) -> Mapping[str, Any]:
        """The variables of the noise's flow, initialised on integers x [B, *event]."""
        key, noise_key = jax.random.split(key)
        noise = Logistic(x.shape[1:]).sample(noise_key, x.shape[0])
        init = jax.jit(lambda key, z, context: self.bijector.init(key, z, context, method="inverse_and_log_det"))
        return init(key, noise, self._context(x))

    def dequantize(self, key: Key, x: Array, variables: Mapping[str, Any] | None = None) -> tuple[Array, Array]:
        """Integers x [B, *event] to (y = (x + u) / levels, -log q(u | x) - dims log(levels) [B]).

        Traced integers are not checked.

        Raises:
            ValueError: concrete values outside 0 ... levels - 1.
        """
        check_range("x", x, 0, self.levels - 1, whole=True)
        base = Logistic(x.shape[1:])
        z = base.sample(key, x.shape[0])
        logits, log_det = self.bijector.apply(variables, z, self._context(x), method="inverse_and_log_det")
        noise, change = Sigmoid().apply({}, logits)
        log_q = base.log_prob(z) - log_det - change
        return (x + noise) / self.levels, -log_q - math.prod(x.shape[1:]) * math.log(self.levels)

    def _context(self, x: Array) -> Array:
        return 2 * jnp.asarray(x, jnp.float32) / (self.levels - 1) - 1
