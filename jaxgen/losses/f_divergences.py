"""f-divergences and their variational bounds (Nowozin et al. 2016, "f-GAN"); losses: `f_gan_critic`, `f_gan_generator`.

For data p, samples q and a convex f with conjugate f*(t) = sup_u (t u - f(u)),

    D_f(p, q) = E_q f(p / q) >= E_p T - E_q f*(T)

for every T with values in the domain of f*, with equality at T = f'(p / q). The activation g_f maps a critic's output
v, any real number, into the domain: T = g_f(v). All activations increase: high outputs mean real.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from jaxgen.contracts import Array
from jaxgen.numerics import bounded_exp, bounded_expm1, log_lambert_w_of_exp

_LOG_2 = math.log(2)


class Divergence(abc.ABC):
    """An f-divergence (Nowozin et al. 2016, tables 1 and 2, and extensions). All methods are elementwise.

    Exponentials of a critic's output are `bounded_exp`, with finite gradients.

    Attributes:
        domain: the interval where f* is finite; f* may be infinite at an end.
        threshold: f'(1), the value of T where p = q; higher values mean real.
    """

    domain: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    threshold: ClassVar[float] = 0.0

    @abc.abstractmethod
    def generator_function(self, u: Array) -> Array:
        """f(u), u >= 0."""

    def activation(self, v: Array) -> Array:
        """g_f(v), increasing, with values in the domain."""
        return v

    def conjugate_of_activation(self, v: Array) -> Array:
        """f*(g_f(v)), as one expression where the composition would overflow or lose digits."""
        return self._conjugate(self.activation(v))

    @abc.abstractmethod
    def _conjugate(self, t: Array) -> Array:
        """f*(t) inside the domain."""

    def conjugate(self, t: Array) -> Array:
        """f*(t); infinite outside the domain."""
        low, high = self.domain
        inside = (t >= low) & (t <= high)
        return jnp.where(inside, self._conjugate(jnp.where(inside, t, self.threshold)), jnp.inf)


@dataclasses.dataclass(frozen=True)
class KullbackLeibler(Divergence):
    """KL(p || q), f(u) = u log u."""

    threshold = 1.0

    def generator_function(self, u: Array) -> Array:
        return xlogy(u, u)

    def conjugate_of_activation(self, v: Array) -> Array:
        return bounded_exp(v - 1)

    def _conjugate(self, t: Array) -> Array:
        return jnp.exp(t - 1)


@dataclasses.dataclass(frozen=True)
class ReverseKullbackLeibler(Divergence):
    """KL(q || p), f(u) = -log u.

    The activation is -exp(-v); the paper's first version has -exp(v), which decreases.
    """

    domain = (-math.inf, 0.0)
    threshold = -1.0

    def generator_function(self, u: Array) -> Array:
        return -jnp.log(u)

    def activation(self, v: Array) -> Array:
        return -bounded_exp(-v)

    def conjugate_of_activation(self, v: Array) -> Array:
        return v - 1

    def _conjugate(self, t: Array) -> Array:
        return -1 - jnp.log(-t)


@dataclasses.dataclass(frozen=True)
class Pearson(Divergence):
    """Pearson's chi^2, the integral of (p - q)^2 / q, f(u) = (u - 1)^2.

    As in the paper, the conjugate is that of the parabola over all u. Over u >= 0 it would be -1 below t = -2, without
    a gradient for the critic; it is never above the former, so the bound stays valid.
    """

    def generator_function(self, u: Array) -> Array:
        return (u - 1) ** 2

    def _conjugate(self, t: Array) -> Array:
        return t**2 / 4 + t


@dataclasses.dataclass(frozen=True)
class Neyman(Divergence):
    """Neyman's chi^2, the integral of (p - q)^2 / p, f(u) = (1 - u)^2 / u."""

    domain = (-math.inf, 1.0)

    def generator_function(self, u: Array) -> Array:
        return (1 - u) ** 2 / u

    def activation(self, v: Array) -> Array:
        return 1 - bounded_exp(-v)

    def conjugate_of_activation(self, v: Array) -> Array:
        return 2 - 2 * bounded_exp(-v / 2)

    def _conjugate(self, t: Array) -> Array:
        return 2 - 2 * jnp.sqrt(1 - t)


@dataclasses.dataclass(frozen=True)
class SquaredHellinger(Divergence):
    """The integral of (sqrt p - sqrt q)^2, f(u) = (sqrt u - 1)^2."""

    domain = (-math.inf, 1.0)

    def generator_function(self, u: Array) -> Array:
        return (jnp.sqrt(u) - 1) ** 2

    def activation(self, v: Array) -> Array:
        return 1 - bounded_exp(-v)

    def conjugate_of_activation(self, v: Array) -> Array:
        return bounded_exp(v) - 1

    def _conjugate(self, t: Array) -> Array:
        return t / (1 - t)


@dataclasses.dataclass(frozen=True)
class Jeffreys(Divergence):
    """KL(p || q) + KL(q || p), f(u) = (u - 1) log u."""

    def generator_function(self, u: Array) -> Array:
        return (u - 1) * jnp.log(u)

    def _conjugate(self, t: Array) -> Array:
        # W + 1 / W + t - 2 with W = lambert_w(exp(1 - t)), by its logarithm s, for which W + s = 1 - t
        s = log_lambert_w_of_exp(1 - t)
        return bounded_expm1(-s) - s


@dataclasses.dataclass(frozen=True)
class JensenShannon(Divergence):
    """Twice the Jensen-Shannon divergence, KL(p || m) + KL(q || m) with m = (p + q) / 2; at most log 4."""

    domain = (-math.inf, _LOG_2)

    def generator_function(self, u: Array) -> Array:
        return xlogy(u, u) - (u + 1) * jnp.log((u + 1) / 2)

    def activation(self, v: Array) -> Array:
        return _LOG_2 - jax.nn.softplus(-v)

    def conjugate_of_activation(self, v: Array) -> Array:
        return jax.nn.softplus(v) - _LOG_2

    def _conjugate(self, t: Array) -> Array:
        # -log(2 - exp(t))
        return -_LOG_2 - jax.nn.log1mexp(_LOG_2 - t)


@dataclasses.dataclass(frozen=True)
class OriginalGAN(Divergence):
    """KL(p || m) + KL(q || m) - log 4 with m = (p + q) / 2, the bound of the original discriminator.

    The critic's loss is then `non_saturating_discriminator`, the generator's `minimax_generator`.
    """

    domain = (-math.inf, 0.0)
    threshold = -_LOG_2

    def generator_function(self, u: Array) -> Array:
        return xlogy(u, u) - (u + 1) * jnp.log(u + 1)

    def activation(self, v: Array) -> Array:
        return -jax.nn.softplus(-v)

    def conjugate_of_activation(self, v: Array) -> Array:
        return jax.nn.softplus(v)

    def _conjugate(self, t: Array) -> Array:
        # -log(1 - exp(t))
        return -jax.nn.log1mexp(-t)


@dataclasses.dataclass(frozen=True)
class TotalVariation(Divergence):
    """Half the integral of |p - q|, f(u) = |u - 1| / 2; at most one."""

    domain = (-0.5, 0.5)

    def generator_function(self, u: Array) -> Array:
        return jnp.abs(u - 1) / 2

    def activation(self, v: Array) -> Array:
        return jnp.tanh(v) / 2

    def _conjugate(self, t: Array) -> Array:
        return t


F_DIVERGENCES: Mapping[str, Divergence] = {
    "kl": KullbackLeibler(),
    "reverse_kl": ReverseKullbackLeibler(),
    "pearson": Pearson(),
    "neyman": Neyman(),
    "squared_hellinger": SquaredHellinger(),
    "jeffreys": Jeffreys(),
    "jensen_shannon": JensenShannon(),
    "gan": OriginalGAN(),
    "total_variation": TotalVariation(),
}
