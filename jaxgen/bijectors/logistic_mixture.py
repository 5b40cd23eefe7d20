"""The transformer of Flow++: the logit of the distribution function of a mixture of logistics."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import freeze_fields
from jaxgen.bijectors.bijector import Array
from jaxgen.bijectors.transformers import split_parameters


@dataclasses.dataclass(frozen=True)
class LogisticMixtureCDF:
    """`z = logit(F(x)) exp(s) + b` with `F(x) = sum_i pi_i sigmoid((x - mu_i) / sigma_i)`.

    The parameters are `components` logits of the weights pi, as many means mu, as many raw log-scales of sigma (each
    bounded by a tanh), then the raw log-scale s (likewise) and b. The initial components have equal weights and scale
    1, and means spread over [-2, 2]: equal ones would get equal gradients and stay equal.

    `forward` has a closed form. `inverse` bisects to float precision; its gradients, of any order, are those of the
    implicit function.

    Source: Ho et al. 2019, "Flow++", arXiv:1902.00275, section 3.2.

    Attributes:
        components: number of logistics.
        min_scale: lower bound of sigma; its reciprocal is the upper bound.
        bound: of |s|.

    Raises:
        ValueError: `components` below 1, `min_scale` outside (0, 1), or `bound` not positive.
    """

    components: int = 4
    min_scale: float = 1e-3
    bound: float = 2.0

    def __post_init__(self):
        freeze_fields(self)
        if self.components < 1:
            raise ValueError(f"`components` must be at least 1, got {self.components}")
        if not 0 < self.min_scale < 1:
            raise ValueError(f"`min_scale` must be in (0, 1), got {self.min_scale}")
        if self.bound <= 0:
            raise ValueError(f"`bound` must be positive, got {self.bound}")

    @property
    def num_params(self) -> int:
        return 3 * self.components + 2

    def initial_params(self) -> tuple[float, ...]:
        k = self.components
        means = tuple(4 * (i + 0.5) / k - 2 for i in range(k))
        return (0.0,) * k + means + (0.0,) * (k + 2)

    def _mixture(self, parameters: Array) -> tuple[tuple[Array, Array, Array], Array, Array, int]:
        """Log-weights, means and log-scales, [..., components, C] each; s and b, [..., C]; the components' axis."""
        k, limit = self.components, -math.log(self.min_scale)
        (logits, means, raw, s, b), axis = split_parameters(parameters, (k, k, k, 1, 1))
        mixture = jax.nn.log_softmax(logits, axis), means, limit * jnp.tanh(raw / limit)
        return mixture, self.bound * jnp.tanh(s.squeeze(axis) / self.bound), b.squeeze(axis), axis

    def forward(self, x: Array, parameters: Array) -> tuple[Array, Array]:
        mixture, s, b, axis = self._mixture(parameters.astype(x.dtype))
        y, log_derivative = _logit_of_mixture(x, *mixture, axis)
        return y * jnp.exp(s) + b, log_derivative + s

    def inverse(self, z: Array, parameters: Array) -> tuple[Array, Array]:
        mixture, s, b, axis = self._mixture(parameters.astype(z.dtype))
        x = _solve((z - b) * jnp.exp(-s), mixture, axis)
        return x, -_logit_of_mixture(x, *mixture, axis)[1] - s


def _logit_of_mixture(
    x: Array, log_weights: Array, means: Array, log_scales: Array, axis: int
) -> tuple[Array, Array]:
    """logit(F(x)) = log F(x) - log(1 - F(x)) and the logarithm of its derivative f / (F (1 - F)), on the log scale."""
    u = (jnp.expand_dims(x, axis) - means) * jnp.exp(-log_scales)
    below, above = jax.nn.log_sigmoid(u), jax.nn.log_sigmoid(-u)
    log_cdf = jax.nn.logsumexp(log_weights + below, axis)
    log_rest = jax.nn.logsumexp(log_weights + above, axis)
    log_density = jax.nn.logsumexp(log_weights + below + above - log_scales, axis)
    return log_cdf - log_rest, log_density - log_cdf - log_rest


def _solve(y: Array, mixture: tuple[Array, Array, Array], axis: int) -> Array:
    """The x at which logit(F(x)) is y."""
    _, means, log_scales = mixture
    # F lies between the smallest and the largest of its components, which reach y here
    reach = means + jnp.exp(log_scales) * jnp.expand_dims(y, axis)

    def logit(x):
        return _logit_of_mixture(x, *mixture, axis)[0]

    def bisect(f, _):
        def halve(_, bracket):
            low, high = bracket
            middle = low + (high - low) / 2
            is_low = f(middle) < 0
            return jnp.where(is_low, middle, low), jnp.where(is_low, high, middle)

        # 16 halvings for brackets much wider than the root, the others for its digits
        times = jnp.finfo(y.dtype).nmant + 16
        low, high = lax.fori_loop(0, times, halve, (reach.min(axis), reach.max(axis)))
        return low + (high - low) / 2

    def divide(slope, cotangent):
        # far from narrow components F is flat: the lower bound keeps gradients finite
        return cotangent / jnp.maximum(slope(jnp.ones_like(y)), jnp.finfo(y.dtype).eps)

    return lax.custom_root(lambda x: logit(x) - y, y, bisect, divide)
