"""What a variational autoencoder minimises, as a value: a function of the terms of one pass and of the clock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Clock
from jaxgen.losses.elbo import (
    doubly_reparameterized_bound,
    free_bits,
    importance_weighted_bound,
    mean_log_weight,
    negative_elbo,
)


class BoundTerms(NamedTuple):
    """The terms of the bound for K samples z ~ q(z|x) per example, in nats.

    Attributes:
        log_likelihood, log_prior, log_posterior: [K, B], log p(x|z), log p(z) and log q(z|x).
        kl_per_dimension: [B, L], KL(q(z|x) || p(z)) where both are diagonal normals; otherwise None.
        z: [K, B, L].
        q: what the posterior returns for the batch, a `DiagonalNormal` for the default one.
        path_log_weights: [K, B], with `Objective.doubly` the log-weights as differentiated through z alone; then
            the other terms are differentiated in the parameters of p alone.
    """

    log_likelihood: Array
    log_prior: Array
    log_posterior: Array
    kl_per_dimension: Array | None
    z: Array
    q: Any
    path_log_weights: Array | None = None

    @property
    def kl(self) -> Array:
        """[B], exact where `kl_per_dimension` is, otherwise the mean of log q - log p over the samples."""
        if self.kl_per_dimension is not None:
            return self.kl_per_dimension.sum(-1)
        return (self.log_posterior - self.log_prior).mean(0)

    @property
    def reconstruction(self) -> Array:
        """[B], log p(x|z), the mean over the samples."""
        return self.log_likelihood.mean(0)

    @property
    def log_weights(self) -> Array:
        """[K, B], log p(x, z) - log q(z|x)."""
        return self.log_likelihood + self.log_prior - self.log_posterior


class Objective:
    """A base class with the defaults.

    Attributes:
        draws: K, samples of z per example.
        chunk: samples computed at once; None: all. With fewer than `draws`, gradients compute each chunk twice and
            memory does not grow with K. (Batch statistics are then those of a chunk.)
        doubly: `BoundTerms` for the doubly reparameterized gradient.
        accumulates: whether the value is a mean over examples (`jaxgen.contracts.Play`).
        monitor: the metric that chooses the best checkpoint, and its direction.
    """

    draws: int = 1
    chunk: int | None = None
    doubly: bool = False
    accumulates: bool = False
    monitor: tuple[str, str] = ("elbo", "max")

    def __call__(self, terms: BoundTerms, clock: Clock) -> Array:
        """A scalar in nats, the mean over the batch."""
        raise NotImplementedError

    def metrics(self, terms: BoundTerms) -> Mapping[str, Array]:
        """Scalars to report beside the evidence lower bound."""
        return {}


@dataclasses.dataclass(frozen=True)
class ELBO(Objective):
    """Minus the evidence lower bound with a weighted divergence: w = 1 for the VAE, w > 1 for the beta-VAE.

    Attributes:
        kl_weight: w, or a function of the phase's step: `functools.partial(warm_up, steps=10_000)`.
        free_bits: the first nats of each dimension's divergence, as the mean over the batch, are free (Kingma et al.
            2016, section C.8); if the divergence is not exact by dimension, the threshold applies to the sum.
    """

    kl_weight: float | Callable[[Array], Array] = 1.0
    free_bits: float = 0.0

    def __post_init__(self):
        check_number("free_bits", self.free_bits, 0)

    @property
    def accumulates(self) -> bool:
        return not self.free_bits

    def __call__(self, terms: BoundTerms, clock: Clock) -> Array:
        weight = self.kl_weight(clock.phase_step) if callable(self.kl_weight) else self.kl_weight
        if not self.free_bits:
            return negative_elbo(terms.reconstruction, terms.kl, weight)
        parts, threshold = terms.kl_per_dimension, self.free_bits
        if parts is None:
            parts, threshold = terms.kl[:, None], threshold * terms.z.shape[-1]
        return weight * free_bits(parts, threshold) - terms.log_likelihood.mean()


@dataclasses.dataclass(frozen=True)
class ImportanceWeighted(Objective):
    """Minus the importance-weighted bound: a VAE with this objective is the importance-weighted autoencoder (IWAE).

        L_K = E log 1/K sum_k w_k,    w_k = p(x, z_k) / q(z_k|x),    z_k ~ q(z|x),    L_1 <= L_K <= log p(x)

    Burda et al. 2016, arXiv:1509.00519. The signal-to-noise ratio of the encoder's gradient falls with K (Rainforth et
    al. 2018); the doubly reparameterized gradient (Tucker et al. 2019, arXiv:1810.04152) has the same mean without it.

    Attributes:
        draws: K.
        doubly: take the encoder's gradient by Tucker et al.; the value of the bound is the same.
        chunk: a divisor of `draws`, or None (`Objective`).
        aggregate: log-weights [K, B] to the bound of each example, [B]; `mean_log_weight` for the evidence lower bound
            by K samples.

    Raises:
        ValueError: a chunk that does not divide `draws`; `doubly` with another aggregate.
    """

    draws: int = 50
    doubly: bool = False
    chunk: int | None = None
    aggregate: Callable[[Array], Array] = importance_weighted_bound
    monitor: ClassVar = ("bound", "max")

    def __post_init__(self):
        check_counts(draws=self.draws)
        if self.chunk is not None:
            check_counts(chunk=self.chunk)
            if self.draws % self.chunk:
                raise ValueError(f"`chunk` must divide draws={self.draws}, got {self.chunk}")
        if self.doubly and self.aggregate is not importance_weighted_bound:
            raise ValueError(f"`aggregate` must be importance_weighted_bound with doubly=True, got {self.aggregate}")

    @property
    def accumulates(self) -> bool:
        return self.aggregate in (importance_weighted_bound, mean_log_weight)

    def __call__(self, terms: BoundTerms, clock: Clock) -> Array:
        if self.doubly:
            return -doubly_reparameterized_bound(terms.log_weights, terms.path_log_weights).mean()
        return -self.aggregate(terms.log_weights).mean()

    def metrics(self, terms: BoundTerms) -> Mapping[str, Array]:
        """`bound`."""
        return {"bound": self.aggregate(terms.log_weights).mean()}
