"""The beta-VAE: a variational autoencoder whose divergence is held down, so that latents separate what varies.

As Higgins et al. 2017, "beta-VAE", weight it, `ELBO(kl_weight=beta)` is the objective. Burgess et al. 2018,
"Understanding disentangling in beta-VAE", hold it at a capacity that grows, here `Capacity`.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from jaxgen.contracts import Array, Clock
from jaxgen.losses.divergences import capacity
from jaxgen.losses.elbo import warm_up
from jaxgen.models.vaes.objectives import Terms


@dataclasses.dataclass(frozen=True)
class Capacity:
    """-E log p(x|z) + weight |KL - C|, C growing linearly from 0 to `nats` over the first `steps` steps.

    Burgess et al. 2018, section 4; the defaults are theirs. The bound is best before the capacity is as large as it will
    be; what is asked for is the best reconstruction at the capacity, which is what checkpoints are chosen by.
    """

    nats: float = 25.0
    weight: float = 1000.0
    steps: int = 100_000
    monitor: ClassVar = ("reconstruction", "max")
    accumulates: ClassVar = False

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"Capacity grows over at least one step, not over {self.steps}")

    def __call__(self, terms: Terms, clock: Clock) -> Array:
        target = warm_up(clock.phase_step, self.steps, self.nats)
        return capacity(terms.kl, target, self.weight) - terms.log_likelihood.mean()
