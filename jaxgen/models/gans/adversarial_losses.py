"""Adversarial losses as values: pairs of critic and generator losses from `jaxgen.losses`.

`dataclasses.replace(gan, adversarial_loss=Hinge())` changes that of a GAN.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Protocol

from jaxgen.contracts import Array
from jaxgen.losses import Divergence, adversarial, energies
from jaxgen.models.gans.terms import PLAYS


class AdversarialLoss(Protocol):
    """Both methods return a scalar to minimise, from scores [B]: logits, or the real numbers of a critic.

    Attributes:
        accumulates: the plays, `"critic"` and `"generator"`, whose loss is a mean over examples
            (`jaxgen.contracts.Play`).
    """

    accumulates: tuple[str, ...]

    def critic(self, real: Array, fake: Array) -> Array: ...

    def generator(self, fake: Array) -> Array: ...


@dataclasses.dataclass(frozen=True)
class NonSaturating:
    """Goodfellow et al. 2014, with the generator's loss of its section 3, -E log D(G(z)).

    Attributes:
        real_label: the label of real examples; below one, for example 0.9, it is smoothed.
    """

    accumulates: ClassVar = PLAYS

    real_label: float = 1.0

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.non_saturating_discriminator(real, fake, self.real_label)

    def generator(self, fake: Array) -> Array:
        return adversarial.non_saturating_generator(fake)


@dataclasses.dataclass(frozen=True)
class Minimax(NonSaturating):
    """Goodfellow et al. 2014, equation 1: the generator minimises what the critic maximises, E log(1 - D(G(z)))."""

    def generator(self, fake: Array) -> Array:
        return adversarial.minimax_generator(fake)


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted(NonSaturating):
    """Hu et al. 2018, equation 16: samples weighted by their density ratios p/q, normalised over the batch."""

    accumulates: ClassVar = ("critic",)

    def generator(self, fake: Array) -> Array:
        return adversarial.importance_weighted_generator(fake)


@dataclasses.dataclass(frozen=True)
class BoundarySeeking(NonSaturating):
    """Hjelm et al. 2018, for continuous data: samples move to the critic's decision boundary."""

    def generator(self, fake: Array) -> Array:
        return adversarial.boundary_seeking_generator(fake)


@dataclasses.dataclass(frozen=True)
class LeastSquares:
    """LSGAN, Mao et al. 2017.

    Attributes:
        a, b: the critic's targets for samples and for data.
        c: the generator's target for samples. (-1, 1, 0) minimises Pearson's chi^2.
    """

    accumulates: ClassVar = PLAYS

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.least_squares_critic(real, fake, self.a, self.b)

    def generator(self, fake: Array) -> Array:
        return adversarial.least_squares_generator(fake, self.c)


@dataclasses.dataclass(frozen=True)
class Hinge:
    """Lim and Ye 2017; the loss of SAGAN."""

    accumulates: ClassVar = PLAYS

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.hinge_critic(real, fake)

    def generator(self, fake: Array) -> Array:
        return adversarial.hinge_generator(fake)


@dataclasses.dataclass(frozen=True)
class Wasserstein:
    """Arjovsky et al. 2017; weight clipping or a penalty bounds the critic's slope."""

    accumulates: ClassVar = PLAYS

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.wasserstein_critic(real, fake)

    def generator(self, fake: Array) -> Array:
        return adversarial.wasserstein_generator(fake)


@dataclasses.dataclass(frozen=True)
class FDivergence:
    """f-GAN, Nowozin et al. 2016.

    Attributes:
        divergence: one of `jaxgen.losses.F_DIVERGENCES`.
        alternative: the generator's loss of section 3.2, which does not saturate.
    """

    accumulates: ClassVar = PLAYS

    divergence: Divergence
    alternative: bool = False

    def critic(self, real: Array, fake: Array) -> Array:
        return adversarial.f_gan_critic(real, fake, self.divergence)

    def generator(self, fake: Array) -> Array:
        return adversarial.f_gan_generator(fake, self.divergence, self.alternative)


@dataclasses.dataclass(frozen=True)
class Energy:
    """EBGAN, Zhao et al. 2017, for scores that are energies, low on data.

    Attributes:
        margin: the critic raises the energies of samples up to it.
    """

    accumulates: ClassVar = PLAYS

    margin: float = 1.0

    def critic(self, real: Array, fake: Array) -> Array:
        return energies.energy_critic(real, fake, self.margin)

    def generator(self, fake: Array) -> Array:
        return energies.energy_generator(fake)


@dataclasses.dataclass(frozen=True)
class Equilibrium:
    """BEGAN, Berthelot et al. 2017, for scores that are energies.

    Attributes:
        k: weight of the samples' energies in the critic's loss; `BEGAN` replaces it by the one that it adapts.
    """

    accumulates: ClassVar = PLAYS

    k: float | Array = 0.0

    def critic(self, real: Array, fake: Array) -> Array:
        return energies.equilibrium_critic(real, fake, self.k)

    def generator(self, fake: Array) -> Array:
        return energies.energy_generator(fake)
