"""The decomposition of the KL divergence from posteriors to the prior, estimated from a minibatch.

With the aggregate posterior q(z) = 1/N sum_n q(z|x_n) of all N examples of the data set,

    E_n KL(q(z|x_n) || p(z)) = [mutual information] E log q(z|x_n) - log q(z)
                             + [total correlation]  E log q(z) - sum_j log q(z_j)
                             + [dimension-wise KL]  E sum_j log q(z_j) - log p(z),

the last a sum of divergences if the prior factorises. A minibatch has only the posteriors of its own examples, one of
which z was sampled from; two estimators of log q(z) and log q(z_j) account for that.

Source: Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders", section 3 and appendix C.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import as_arrays
from jaxgen.contracts import Array
from jaxgen.distributions.diagonal_normal import DiagonalNormal


class Aggregate(NamedTuple):
    """log q(z), [B], and log q(z_j) per dimension, [B, L], at the samples of a minibatch, in nats."""

    joint: Array
    marginals: Array


class Decomposition(NamedTuple):
    """Three parts of the divergence, [B] each, in nats. Their means are the estimates; values may be negative."""

    mutual_information: Array
    total_correlation: Array
    dimension_wise_kl: Array


def pairwise_log_density(z: Array, mean: Array, log_variance: Array) -> Array:
    """log q(z_ij | x_k): the density of sample i under the diagonal normal of example k, per dimension j.

    Args:
        z, mean, log_variance: [B, L].

    Returns:
        [B, B, L], indexed [i, k, j]. `bounded_exp(-log_variance)` keeps it finite for tiny variances.
    """
    z, mean, log_variance = as_arrays("B L", z=z, mean=mean, log_variance=log_variance)
    return DiagonalNormal(mean, log_variance).log_prob_per_dimension(z[:, None])


def minibatch_weighted(log_density: Array, dataset_size: int) -> Aggregate:
    """Minibatch-weighted sampling: log q(z_i) ~ log 1/(N B) sum_k q(z_i|x_k), and so for each z_ij.

    This is the mean over the minibatch, example i included, divided by N: a loose lower bound on average. The division
    by N in the joint and in every marginal raises the total correlation by (L - 1) log N, a constant without gradient.

    Args:
        log_density: [B, B, L], from `pairwise_log_density`.
        dataset_size: N, the number of examples in the data set.

    Raises:
        ValueError: a data set smaller than the batch.
    """
    (log_density,) = as_arrays("B B L", log_density=log_density)
    batch = _batch(log_density, dataset_size)
    return _aggregate(log_density, np.full((batch, batch), -math.log(dataset_size * batch)))


def minibatch_stratified(log_density: Array, dataset_size: int) -> Aggregate:
    """Minibatch-stratified sampling: weights that make the estimate of q(z_i), not of its logarithm, unbiased.

    With M = B - 1, the weights are 1/N for k = i, as in q(z), (N - M)/(N M) for k = i + 1, and 1/M for the others; they
    apply to the joint density and to each marginal. The logarithms are too low on average, for narrow posteriors that
    of the joint by more than the sum of the marginals': the total correlation is too small, for small batches even
    negative.

    Args:
        log_density: [B, B, L], from `pairwise_log_density`.
        dataset_size: N, the number of examples in the data set.

    Raises:
        ValueError: a batch of one example; a data set smaller than the batch.
    """
    (log_density,) = as_arrays("B B L", log_density=log_density)
    batch = _batch(log_density, dataset_size)
    if batch < 2:
        raise ValueError("`log_density` must have at least two examples, got one")
    others, own = batch - 1, np.arange(batch)
    log_weights = np.full((batch, batch), -math.log(others))
    log_weights[own, own] = -math.log(dataset_size)
    log_weights[own, (own + 1) % batch] = math.log((dataset_size - others) / (dataset_size * others))
    return _aggregate(log_density, log_weights)


def decompose(log_posterior: Array, aggregate: Aggregate, kl: Array) -> Decomposition:
    """The three parts, whose sum is `kl` for any aggregate.

    Args:
        log_posterior: [B], log q(z_i|x_i): the diagonal of `pairwise_log_density`, summed over dimensions.
        kl: [B], KL(q(z|x_i) || p(z)), exact or as log q(z_i|x_i) - log p(z_i).
    """
    log_posterior, joint, marginals, kl = as_arrays(
        "B", "B", "B L", "B", log_posterior=log_posterior, joint=aggregate.joint, marginals=aggregate.marginals, kl=kl
    )
    product = marginals.sum(-1)
    information, correlation = log_posterior - joint, joint - product
    return Decomposition(information, correlation, kl - log_posterior + product)


def negative_decomposed_elbo(
    log_likelihood: Array, parts: Decomposition, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0
) -> Array:
    """-E log p(x|z) + alpha MI + beta TC + gamma DWKL, a scalar; with unit weights it is the negative ELBO.

    Chen et al. 2018, section 3.2; their beta is 6 on dSprites.

    Args:
        log_likelihood: [B], log p(x|z) in nats.
    """
    log_likelihood, *terms = as_arrays("B", log_likelihood=log_likelihood, **parts._asdict())
    weighted = sum(weight * part for weight, part in zip((alpha, beta, gamma), terms, strict=True))
    return (weighted - log_likelihood).mean()


def _batch(log_density: Array, dataset_size: int) -> int:
    batch = len(log_density)
    if dataset_size < batch:
        raise ValueError(f"`dataset_size` must be at least the batch size {batch}, got {dataset_size}")
    return batch


def _aggregate(log_density: Array, log_weights: np.ndarray) -> Aggregate:
    log_weights = jnp.asarray(log_weights, log_density.dtype)
    joint = jax.nn.logsumexp(log_weights + log_density.sum(-1), axis=1)
    return Aggregate(joint, jax.nn.logsumexp(log_weights[..., None] + log_density, axis=1))
