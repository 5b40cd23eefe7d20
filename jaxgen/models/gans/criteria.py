"""What critic and generator want of the critic's scores, as values: pairs of the losses in `jaxgen.losses`.

A game is given another criterion by `dataclasses.replace(gan, criterion=Hinge())`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol

from jaxgen.contracts import Array
from jaxgen.losses import adversarial, energies, f_divergences


class Criterion(Protocol):
    """Both methods return a scalar to be minimised, from scores [B]: logits, or a critic's real numbers.

    Attributes:
        accumulates: whether both are means over examples (`jaxgen.contracts.Play`).
    """

    accumulates: bool

    def critic(self, real: Array, fake: Array) -> Array: ...

    def generator(self, fake: Array) -> Array: ...


@dataclasses.dataclass(frozen=True)
class NonSaturating:
    """Goodfellow et al. 2014, with the generator's loss of its section 3, -E log D(G(z)).

    Attributes:
        real_label: below one, 0.9 say, smooths the labels of real rows.
    """

    accumulates: ClassVar = True

    real_label: float = 1.0

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.non_saturating_discriminator(real, fake, self.real_label)

    def generator(self, fake: Array) -> Array:
        return adversarial.non_saturating_generator(fake)


@dataclasses.dataclass(frozen=True)
class Minimax(NonSaturating):
    """Goodfellow et al. 2014, equation 1: the generator descends what the discriminator ascends, E log(1 - D(G(z)))."""

    def generator(self, fake: Array) -> Array:
        return adversarial.minimax_generator(fake)


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted(NonSaturating):
    """Hu et al. 2018, equation 16: samples weighted by their density ratios p/q over the batch."""

    accumulates: ClassVar = False

    def generator(self, fake: Array) -> Array:
        return adversarial.importance_weighted_generator(fake)


@dataclasses.dataclass(frozen=True)
class BoundarySeeking(NonSaturating):
    """Hjelm et al. 2018, for continuous data: samples are taken to where the discriminator cannot decide."""

    def generator(self, fake: Array) -> Array:
        return adversarial.boundary_seeking_generator(fake)


@dataclasses.dataclass(frozen=True)
class LeastSquares:
    """Mao et al. 2017, LSGAN.

    Attributes:
        a, b: what the critic is to give to generated and to real rows.
        c: what the generator wants its rows to be given. (-1, 1, 0) descends Pearson's chi^2.
    """

    accumulates: ClassVar = True

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.least_squares_critic(real, fake, self.a, self.b)

    def generator(self, fake: Array) -> Array:
        return adversarial.least_squares_generator(fake, self.c)


@dataclasses.dataclass(frozen=True)
class Hinge:
    """Lim & Ye 2017; the criterion of SAGAN."""

    accumulates: ClassVar = True

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.hinge_critic(real, fake)

    def generator(self, fake: Array) -> Array:
        return adversarial.hinge_generator(fake)


@dataclasses.dataclass(frozen=True)
class Wasserstein:
    """Arjovsky et al. 2017; the critic's slope is for weight clipping or a penalty to bound."""

    accumulates: ClassVar = True

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.wasserstein_critic(real, fake)

    def generator(self, fake: Array) -> Array:
        return adversarial.wasserstein_generator(fake)


@dataclasses.dataclass(frozen=True)
class FDivergence:
    """Nowozin et al. 2016, f-GAN.

    Attributes:
        divergence: one of `jaxgen.losses.F_DIVERGENCES`.
        alternative: the generator's loss of section 3.2, which does not saturate.
    """

    accumulates: ClassVar = True

    divergence: f_divergences.Divergence
    alternative: bool = False

    def critic(self, real: Array, fake: Array) -> Array:
        return f_divergences.f_gan_critic(real, fake, self.divergence)

    def generator(self, fake: Array) -> Array:
        return f_divergences.f_gan_generator(fake, self.divergence, self.alternative)


@dataclasses.dataclass(frozen=True)
class Energy:
    """Zhao et al. 2017, of scores that are energies, low on real rows.

    Attributes:
        margin: what the critic gives generated rows at the least.
    """

    accumulates: ClassVar = True

    margin: float = 1.0

    def critic(self, real: Array, fake: Array) -> Array:
        return energies.energy_critic(real, fake, self.margin)

    def generator(self, fake: Array) -> Array:
        return energies.energy_generator(fake)
