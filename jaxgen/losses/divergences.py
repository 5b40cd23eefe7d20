"""KL divergences other than those of diagonal normals (`elbo.py`), and the capacity loss. All in nats."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array
from jaxgen.numerics import bounded_expm1


def kl_between_full_normals(mean: Array, factor: Array, other_mean: Array, other_factor: Array) -> Array:
    """KL(N(m, L L^T) || N(m', L' L'^T)) of normals with full covariances, given by their Cholesky factors.

    1/2 (|L'^-1 L|^2 + |L'^-1 (m - m')|^2 - D) + sum_j (log L'_jj - log L_jj), with Frobenius norms. No matrix is
    inverted and no covariance is formed.

    Args:
        mean, other_mean: [B, D].
        factor, other_factor: [B, D, D], lower triangular with positive diagonals; entries above are ignored.

    Returns:
        [B].
    """
    mean, factor, other_mean, other_factor = as_arrays(
        "B D", "B D D", "B D", "B D D", mean=mean, factor=factor, other_mean=other_mean, other_factor=other_factor
    )
    factor, other_factor = jnp.tril(factor), jnp.tril(other_factor)
    ratio = solve_triangular(other_factor, factor, lower=True)
    shift = solve_triangular(other_factor, (mean - other_mean)[..., None], lower=True)
    # the diagonal of L'^-1 L is L_jj / L'_jj
    log_volume = jnp.log(jnp.diagonal(ratio, axis1=1, axis2=2)).sum(-1)
    squares = (ratio**2).sum((1, 2)) + (shift**2).sum((1, 2))
    return 0.5 * (squares - mean.shape[1]) - log_volume


def kl_between_categoricals(logits: Array, other_logits: Array) -> Array:
    """KL(softmax(logits) || softmax(other_logits)) = sum_k p_k (log p_k - log p'_k), summed over independent variables.

    A logit of -inf excludes a class: it adds nothing if p_k = 0, infinity if only p'_k = 0.

    Args:
        logits, other_logits: [B, ..., K], classes on the last axis.

    Returns:
        [B].
    """
    logits, other_logits = as_arrays("B ...", logits=logits, other_logits=other_logits)
    log_p, other_log_p = jax.nn.log_softmax(logits), jax.nn.log_softmax(other_logits)
    p = jnp.exp(log_p)
    # masked before the product: 0 times infinity and its gradient are NaN
    difference = jnp.where(p > 0, log_p, 0) - jnp.where(p > 0, other_log_p, 0)
    terms = p * difference
    return terms.sum(tuple(range(1, terms.ndim)))


def kl_by_samples(log_q: Array, log_p: Array, nonnegative: bool = False) -> Array:
    """An unbiased estimate of KL(q || p) per example: the mean of log q - log p over samples from q.

    Args:
        log_q, log_p: [K, B], log-densities at K samples from q per example.
        nonnegative: use the mean of (p/q - 1) - log(p/q), whose terms are nonnegative (Schulman 2020, "Approximating KL
            Divergence"). p/q - 1 has expectation zero and is a control variate that reduces the variance near q = p;
            for a much wider p, p/q has heavy tails and the plain estimate is better.

    Returns:
        [B].
    """
    log_q, log_p = as_arrays("K B", log_q=log_q, log_p=log_p)
    difference = log_q - log_p
    return (bounded_expm1(-difference) + difference if nonnegative else difference).mean(0)


def capacity(kl: Array, target: float | Array, weight: float = 1000.0) -> Array:
    """weight |E_batch KL - C|, a scalar that keeps the batch's mean divergence at C nats.

    Burgess et al. 2018, "Understanding disentangling in beta-VAE", equation 8.

    Args:
        kl: [B], in nats.
        target: C, in nats; `warm_up(step, steps, C_max)` is the paper's.
    """
    check_number("weight", weight, 0)
    (kl,) = as_arrays("B", kl=kl)
    return weight * jnp.abs(kl.mean() - target)
