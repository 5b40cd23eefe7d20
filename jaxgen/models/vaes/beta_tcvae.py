"""The beta-TCVAE: of the divergence's three parts, the total correlation of the latents alone weighs more.

Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders".
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from jaxgen.contracts import Array, Clock
from jaxgen.losses.total_correlation import (
    decompose,
    minibatch_stratified,
    minibatch_weighted,
    negative_decomposed_elbo,
    pairwise_log_density,
)
from jaxgen.models.vaes.objectives import Terms


@dataclasses.dataclass(frozen=True)
class TotalCorrelation:
    """-E log p(x|z) + alpha MI + beta TC + gamma DWKL, the parts of the divergence estimated from the batch.

    The parts add up to the exact divergence, the dimension-wise one being what the other two leave of it: with weights
    of one this is `ELBO()`, up to rounding. With others the value carries the estimator's offset, and may be negative.

    Attributes:
        dataset_size: N, rows of the training data.
        alpha, beta, gamma: weights of the mutual information, the total correlation and the dimension-wise divergence.
        stratified: estimate by minibatch-stratified instead of minibatch-weighted sampling (the paper's choice).
    """

    accumulates: ClassVar = False

    dataset_size: int
    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    stratified: bool = False

    def __call__(self, terms: Terms, clock: Clock) -> Array:
        """Raises:
        ValueError: a posterior or a prior that is a flow; a data set smaller than the batch.
        """
        if terms.kl_per_dimension is None:
            raise ValueError(
                "TotalCorrelation needs a posterior that is a diagonal normal, since it rates each row's draw by the "
                "posteriors of all others in each dimension, and a prior of independent dimensions: here one of the two "
                "is a flow, so give posterior=None and a prior that is no bijector"
            )
        log_density = pairwise_log_density(terms.z, terms.mean, terms.log_variance)
        estimate = minibatch_stratified if self.stratified else minibatch_weighted
        log_posterior = jnp.diagonal(log_density).sum(0)
        parts = decompose(log_posterior, estimate(log_density, self.dataset_size), terms.kl)
        return negative_decomposed_elbo(terms.log_likelihood, parts, self.alpha, self.beta, self.gamma)
