"""Evidence lower bounds and the divergences in them. All in nats, summed over event dimensions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import arrays, number
from jaxgen.contracts import Array
from jaxgen.distributions.diagonal_normal import DiagonalNormal


def elbo(log_likelihood: Array, kl: Array, kl_weight: float | Array = 1.0) -> Array:
    """The evidence lower bound of each row: E_q[log p(x|z)] - w KL(q(z|x) || p(z)).

    Kingma & Welling 2014, "Auto-Encoding Variational Bayes", equation 3; a weight other than one is the beta of Higgins
    et al. 2017, and then it bounds log p(x) only where the weight is at least one.

    Args:
        log_likelihood: [B], log p(x|z) of a draw z from q(z|x), or its expectation.
        kl: [B], or an estimate of it.

    Returns:
        [B].
    """
    log_likelihood, kl = arrays("B", log_likelihood=log_likelihood, kl=kl)
    return log_likelihood - kl_weight * kl


def negative_elbo(log_likelihood: Array, kl: Array, kl_weight: float | Array = 1.0) -> Array:
    """What a variational autoencoder minimises: the mean over the batch of minus `elbo`, a scalar."""
    return -elbo(log_likelihood, kl, kl_weight).mean()


def importance_weighted_bound(log_weights: Array) -> Array:
    """log 1/K sum_k w_k with w_k = p(x, z_k) / q(z_k|x): a bound on log p(x), tight for many draws.

    Burda et al. 2016, "Importance Weighted Autoencoders", equation 8.

    Args:
        log_weights: [K, B], log w of K draws for each row.

    Returns:
        [B].
    """
    (log_weights,) = arrays("K B", log_weights=log_weights)
    return jax.nn.logsumexp(log_weights, axis=0) - jnp.log(log_weights.shape[0])


def mean_log_weight(log_weights: Array) -> Array:
    """1/K sum_k log w_k: the evidence lower bound by K draws, each with its own estimate of the divergence.

    Burda et al. 2016, section 2: the variational autoencoder with k samples of their table 1.

    Args:
        log_weights: [K, B], log w of K draws for each row.

    Returns:
        [B].
    """
    (log_weights,) = arrays("K B", log_weights=log_weights)
    return log_weights.mean(0)


def doubly_reparameterized_bound(log_weights: Array, path_log_weights: Array) -> Array:
    """The importance-weighted bound, with a gradient for the encoder whose signal does not drown in noise for large K.

    Its value is `importance_weighted_bound(log_weights)`, its gradient

        sum_k u_k d log_weights_k + sum_k u_k^2 d path_log_weights_k,    u = softmax of the log-weights over the draws.

    Where the parameters of q reach the first array not at all, and the second through z alone (not through the density
    q whose logarithm is subtracted), the second sum is an unbiased gradient of the expected bound in these parameters.
    Tucker et al. 2019, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives", their IWAE-DReG.

    Args:
        log_weights: [K, B], log p(x, z_k) - log q(z_k|x), differentiated in the parameters of p alone.
        path_log_weights: [K, B], the same numbers, differentiated in z_k alone.

    Returns:
        [B].
    """
    log_weights, path_log_weights = arrays("K B", log_weights=log_weights, path_log_weights=path_log_weights)
    shares = jax.lax.stop_gradient(jax.nn.softmax(log_weights, axis=0))
    # a draw of weight zero adds nothing: -inf minus -inf would not be a number
    possible = shares > 0
    shares, path_log_weights = jnp.where(possible, shares, 0), jnp.where(possible, path_log_weights, 0)
    # zero, and the path's gradient
    path = (shares**2 * (path_log_weights - jax.lax.stop_gradient(path_log_weights))).sum(0)
    return importance_weighted_bound(log_weights) + path


def kl_to_standard_normal(mean: Array, log_variance: Array) -> Array:
    """KL(N(mean, exp(log_variance)) || N(0, I)) = 1/2 sum(mean^2 + exp(log_variance) - 1 - log_variance).

    Kingma & Welling 2014, appendix B.

    Args:
        mean, log_variance: [B, ...].

    Returns:
        [B].
    """
    return kl_between_normals(mean, log_variance, 0.0, 0.0)


def kl_between_normals(
    mean: Array, log_variance: Array, other_mean: Array | float, other_log_variance: Array | float
) -> Array:
    """KL(N(mean, exp(log_variance)) || N(other_mean, exp(other_log_variance))) of diagonal normals.

    Args:
        all: [B, ...].

    Returns:
        [B].
    """
    terms = kl_per_dimension(mean, log_variance, other_mean, other_log_variance)
    return terms.sum(tuple(range(1, terms.ndim)))


def kl_per_dimension(
    mean: Array, log_variance: Array, other_mean: Array | float = 0.0, other_log_variance: Array | float = 0.0
) -> Array:
    """The terms that `kl_between_normals` is the sum of, [B, ...]; the other is by default standard normal.

    `bounded_exp` of log-variances keeps the terms and their gradients finite.
    """
    mean, log_variance = arrays("B ...", mean=mean, log_variance=log_variance)
    others = arrays("*", other_mean=other_mean, other_log_variance=other_log_variance)
    # a number counts for all
    other_mean, other_log_variance = (other if other.ndim else jnp.full_like(mean, other) for other in others)
    mean, log_variance, other_mean, other_log_variance = arrays(
        "B ...", mean=mean, log_variance=log_variance, other_mean=other_mean, other_log_variance=other_log_variance
    )
    return DiagonalNormal(mean, log_variance).kl_per_dimension(DiagonalNormal(other_mean, other_log_variance))


def free_bits(kl_per_dimension: Array, threshold: float) -> Array:
    """`sum_j max(threshold, E_batch KL_j)`: a dimension may hold `threshold` nats for nothing, a scalar.

    Kingma et al. 2016, "Improved Variational Inference with Inverse Autoregressive Flow", equation 15 (there with
    groups of dimensions). The maximum is of the batch's mean, not of each row.

    Args:
        kl_per_dimension: [B, L], in nats.
    """
    (kl_per_dimension,) = arrays("B L", kl_per_dimension=kl_per_dimension)
    return jnp.maximum(kl_per_dimension.mean(0), threshold).sum()


def warm_up(step: Array, steps: int, weight: float = 1.0) -> Array:
    """A weight that grows linearly from 0 to `weight` over the first `steps` steps.

    `functools.partial(warm_up, steps=10_000)` is a `kl_weight`. Bowman et al. 2016; Sonderby et al. 2016.
    """
    number("steps", steps, 1)
    return weight * jnp.minimum(step / steps, 1.0)


def cyclical(step: Array, steps: int, weight: float = 1.0, rising: float = 0.5) -> Array:
    """A weight that grows linearly from 0 to `weight` over the share `rising` of each `steps` steps, and stays for the rest.

    Fu et al. 2019, "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", equation 6.
    """
    number("steps", steps, 1)
    number("rising", rising, 0, 1, above=True)
    return weight * jnp.minimum((step % steps) / (rising * steps), 1.0)
