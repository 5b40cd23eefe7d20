"""The objective of the beta-TCVAE: the total correlation of the latents, one of three parts of the KL, has a weight.

Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders".
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxgen.contracts import Array, Clock
from jaxgen.losses.total_correlation import (
    decompose,
    minibatch_stratified,
    minibatch_weighted,
    negative_decomposed_elbo,
    pairwise_log_density,
)
from jaxgen.models.vaes.objectives import BoundTerms, Objective


@dataclasses.dataclass(frozen=True)
class TotalCorrelation(Objective):
    """-E log p(x|z) + alpha MI + beta TC + gamma DWKL, the parts of the divergence estimated from the batch.

    The dimension-wise part is the exact divergence minus the other two: with weights of one this is `ELBO()`, up to
    rounding. With other weights the value contains the estimator's offset and may be negative.

    Attributes:
        dataset_size: N, the number of training examples.
        alpha, beta, gamma: weights of the mutual information, the total correlation and the dimension-wise divergence.
        stratified: use minibatch-stratified sampling instead of minibatch-weighted sampling, the paper's choice.
    """

    dataset_size: int
    alpha: float = 1.0
    beta: float = 6.0
    gamma: float = 1.0
    stratified: bool = False

    def __call__(self, terms: BoundTerms, clock: Clock) -> Array:
        """Raises:
        ValueError: posterior or prior is not a diagonal normal; a data set smaller than the batch.
        """
        if terms.kl_per_dimension is None:
            raise ValueError(
                "`posterior` and `prior` must be diagonal normals with TotalCorrelation, which needs the density of "
                "each sample under the posteriors of all examples, dimension by dimension"
            )
        log_density = pairwise_log_density(terms.z[0], *terms.q)
        estimate = minibatch_stratified if self.stratified else minibatch_weighted
        log_posterior = jnp.diagonal(log_density).sum(0)
        parts = decompose(log_posterior, estimate(log_density, self.dataset_size), terms.kl)
        return negative_decomposed_elbo(terms.reconstruction, parts, self.alpha, self.beta, self.gamma)
