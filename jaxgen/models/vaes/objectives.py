"""What a variational autoencoder minimises, as a value: a function of a pass's terms and of the clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple, Protocol

from jaxgen.contracts import Array, Clock
from jaxgen.losses.elbo import free_bits, negative_elbo


class Terms(NamedTuple):
    """What one pass of a variational autoencoder gives, with one draw z ~ q(z|x) for each row.

    Attributes:
        log_likelihood: [B], log p(x|z) in nats.
        kl: [B], KL(q(z|x) || p(z)) in nats: exact where posterior and prior are diagonal normals, else log q - log p.
        kl_per_dimension: [B, L], the exact one's terms; None where it is not exact.
        z: [B, L].
        mean, log_variance: [B, L], of the posterior, or of what a posterior flow starts from.
    """

    log_likelihood: Array
    kl: Array
    kl_per_dimension: Array | None
    z: Array
    mean: Array
    log_variance: Array


class Objective(Protocol):
    accumulates: bool
    """Whether it is a mean over examples (`jaxgen.contracts.Play`)."""

    def __call__(self, terms: Terms, clock: Clock) -> Array:
        """A scalar in nats, to be minimised; the mean over the batch."""


@dataclasses.dataclass(frozen=True)
class ELBO:
    """Minus the evidence lower bound, its divergence weighted: w = 1 for the VAE, w > 1 for the beta-VAE.

    Attributes:
        kl_weight: w, or a function of the phase's step: `functools.partial(warm_up, steps=10_000)`.
        free_bits: the nats below which a dimension's divergence, the batch's mean, costs no less (Kingma et al. 2016,
            section C.8); where the divergence is not exact by dimension, the threshold is on their sum.
    """

    kl_weight: float | Callable[[Array], Array] = 1.0
    free_bits: float = 0.0

    @property
    def accumulates(self) -> bool:
        return not self.free_bits

    def __call__(self, terms: Terms, clock: Clock) -> Array:
        weight = self.kl_weight(clock.phase_step) if callable(self.kl_weight) else self.kl_weight
        if not self.free_bits:
            return negative_elbo(terms.log_likelihood, terms.kl, weight)
        parts, threshold = terms.kl_per_dimension, self.free_bits
        if parts is None:
            parts, threshold = terms.kl[:, None], threshold * terms.z.shape[-1]
        return weight * free_bits(parts, threshold) - terms.log_likelihood.mean()
