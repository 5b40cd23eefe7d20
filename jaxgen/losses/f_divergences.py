"""f-divergences, and the bounds on them that a critic is trained by (Nowozin et al. 2016, "f-GAN").

Between data p and samples q, and for a convex f with conjugate f*(t) = sup_u (t u - f(u)),

    D_f(p, q) = E_q f(p / q) >= E_p T - E_q f*(T)

for every T with values in the domain of f*, with equality at T = f'(p / q). A critic's output v, any real number, is
brought into the domain by the activation g_f: T = g_f(v). All activations increase: a high output says real.
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

from jaxgen.arguments import arrays
from jaxgen.contracts import Array
from jaxgen.exponential import bounded_exp, bounded_expm1

_LOG_2 = math.log(2)


class Divergence(abc.ABC):
    """An f-divergence, as in tables 1 and 2 of Nowozin et al. 2016 and their extensions. Everything is elementwise.

    Exponentials of a critic's output are `bounded_exp`: beyond 66 in float32 their tangents, with finite gradients.

    Attributes:
        domain: the least and the greatest t at which f* is finite; where f* has no limit there, it is infinite at the
            end itself.
        threshold: f'(1), the value of T where p and q are equal: above it a critic says real.
    """

    domain: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    threshold: ClassVar[float] = 0.0

    @abc.abstractmethod
    def generator_function(self, u: Array) -> Array:
        """f(u), u >= 0."""

    @abc.abstractmethod
    def activation(self, v: Array) -> Array:
        """g_f(v), increasing, into the domain."""

    @abc.abstractmethod
    def conjugate_of_activation(self, v: Array) -> Array:
        """f*(g_f(v)) as one expression, which neither overflows nor loses digits where the two in turn would."""

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

    def activation(self, v: Array) -> Array:
        return v

    def conjugate_of_activation(self, v: Array) -> Array:
        return bounded_exp(v - 1)

    def _conjugate(self, t: Array) -> Array:
        return jnp.exp(t - 1)


@dataclasses.dataclass(frozen=True)
class ReverseKullbackLeibler(Divergence):
    """KL(q || p), f(u) = -log u.

    The activation is -exp(-v); the paper's first version prints -exp(v), which decreases.
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

    The conjugate is that of the parabola over all u, as the paper has it: the one over u >= 0 is -1 below t = -2,
    where a critic would get no gradient. It is never below that one, so that the bound stays a bound.
    """

    def generator_function(self, u: Array) -> Array:
        return (u - 1) ** 2

    def activation(self, v: Array) -> Array:
        return v

    def conjugate_of_activation(self, v: Array) -> Array:
        return self._conjugate(v)

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

    def activation(self, v: Array) -> Array:
        return v

    def conjugate_of_activation(self, v: Array) -> Array:
        return self._conjugate(v)

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
    """What the original discriminator bounds, KL(p || m) + KL(q || m) - log 4 with m = (p + q) / 2.

    Of p = q it is -log 4. The critic's loss is then `non_saturating_discriminator`, the generator's
    `minimax_generator`.
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
    """Half of the integral of |p - q|, f(u) = |u - 1| / 2; at most one."""

    domain = (-0.5, 0.5)

    def generator_function(self, u: Array) -> Array:
        return jnp.abs(u - 1) / 2

    def activation(self, v: Array) -> Array:
        return jnp.tanh(v) / 2

    def conjugate_of_activation(self, v: Array) -> Array:
        return self.activation(v)

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


def f_gan_critic(real_v: Array, fake_v: Array, divergence: Divergence) -> Array:
    """-(E_p g_f(v) - E_q f*(g_f(v))): minus a lower bound of the divergence D_f(p, q).

    Nowozin et al. 2016, equation 6.

    Args:
        real_v, fake_v: the critic's outputs on real and generated rows, any real numbers.
    """
    real_v, fake_v = arrays("*", real_v=real_v, fake_v=fake_v)
    return divergence.conjugate_of_activation(fake_v).mean() - divergence.activation(real_v).mean()


def f_gan_generator(fake_v: Array, divergence: Divergence, alternative: bool = False) -> Array:
    """-E_q f*(g_f(v)), of equation 6 what the generator sees: descended, the bound falls.

    Args:
        alternative: -E_q g_f(v) instead, which does not saturate while the critic wins; of the divergence of the
            original GAN it is `non_saturating_generator` (Nowozin et al. 2016, section 3.2).
    """
    (fake_v,) = arrays("*", fake_v=fake_v)
    if alternative:
        return -divergence.activation(fake_v).mean()
    return -divergence.conjugate_of_activation(fake_v).mean()


@jax.custom_jvp
def log_lambert_w_of_exp(y: Array) -> Array:
    """log W(exp(y)) of Lambert's W: the s with s + exp(s) = y, elementwise, for every real y. exp(y) is not formed."""
    # from the larger side's asymptote; the root of a convex, increasing function, to the last bits in five steps
    s = jnp.where(y > 1, jnp.log(jnp.maximum(y, 1)), y)
    for _ in range(5):
        e = jnp.exp(s)
        s = s - (s + e - y) / (1 + e)
    return s


@log_lambert_w_of_exp.defjvp
def _log_lambert_w_of_exp_jvp(primals, tangents):
    (y,), (tangent,) = primals, tangents
    s = log_lambert_w_of_exp(y)
    return s, jax.nn.sigmoid(-s) * tangent
