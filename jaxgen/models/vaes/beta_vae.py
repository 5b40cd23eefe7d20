"""Objectives of the beta-VAE, whose small divergence separates the factors of variation into latents.

`ELBO(kl_weight=beta)` weights the divergence (Higgins et al. 2017, "beta-VAE"); `Capacity` holds it at a growing number
of nats (Burgess et al. 2018, "Understanding disentangling in beta-VAE").
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Clock
from jaxgen.losses.divergences import capacity
from jaxgen.losses.elbo import warm_up
from jaxgen.models.vaes.objectives import BoundTerms, Objective


@dataclasses.dataclass(frozen=True)
class Capacity(Objective):
    """-E log p(x|z) + weight |KL - C|, C growing linearly from 0 to `nats` over the first `steps` steps.

    Burgess et al. 2018, section 4; the defaults are theirs. Checkpoints are chosen by the reconstruction: the bound is
    best before the capacity has reached its final value.
    """

    nats: float = 25.0
    weight: float = 1000.0
    steps: int = 100_000
    monitor: ClassVar = ("reconstruction", "max")

    def __post_init__(self):
        check_counts(steps=self.steps)

    def __call__(self, terms: BoundTerms, clock: Clock) -> Array:
        target = warm_up(clock.phase_step, self.steps, self.nats)
        return capacity(terms.kl, target, self.weight) - terms.log_likelihood.mean()
