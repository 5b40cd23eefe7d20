"""Evidence lower bounds and their divergences. All in nats, summed over event dimensions."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array
from jaxgen.distributions.diagonal_normal import DiagonalNormal


def elbo(log_likelihood: Array, kl: Array, kl_weight: float | Array = 1.0) -> Array:
    """The evidence lower bound per example: E_q[log p(x|z)] - w KL(q(z|x) || p(z)).

    Kingma & Welling 2014, "Auto-Encoding Variational Bayes", equation 3. Other weights than one are the beta of Higgins
    et al. 2017; the result bounds log p(x) if the weight is at least one.

    Args:
        log_likelihood: [B], log p(x|z) at a sample z from q(z|x), or its expectation.
        kl: [B], the divergence or an estimate.
        kl_weight: w.

    Returns:
        [B].
    """
    log_likelihood, kl = as_arrays("B", log_likelihood=log_likelihood, kl=kl)
    return log_likelihood - kl_weight * kl


def negative_elbo(log_likelihood: Array, kl: Array, kl_weight: float | Array = 1.0) -> Array:
    """The loss of a variational autoencoder: minus the batch's mean of `elbo`, a scalar."""
    return -elbo(log_likelihood, kl, kl_weight).mean()


def importance_weighted_bound(log_weights: Array) -> Array:
    """log 1/K sum_k w_k with w_k = p(x, z_k) / q(z_k|x): a lower bound on log p(x), tight as K grows.

    Burda et al. 2016, "Importance Weighted Autoencoders", equation 8.

    Args:
        log_weights: [K, B], log w of K samples per example.

    Returns:
        [B].
    """
    (log_weights,) = as_arrays("K B", log_weights=log_weights)
    return jax.nn.logsumexp(log_weights, axis=0) - jnp.log(log_weights.shape[0])


def mean_log_weight(log_weights: Array) -> Array:
    """1/K sum_k log w_k: the evidence lower bound, estimated by K samples (Burda et al. 2016, section 2 and table 1).

    Args:
        log_weights: [K, B], log w of K samples per example.

    Returns:
        [B].
    """
    (log_weights,) = as_arrays("K B", log_weights=log_weights)
    return log_weights.mean(0)


def doubly_reparameterized_bound(log_weights: Array, path_log_weights: Array) -> Array:
    """The importance-weighted bound, with an encoder gradient whose signal-to-noise ratio does not vanish for large K.

    Its value is `importance_weighted_bound(log_weights)`, its gradient

        sum_k u_k d log_weights_k + sum_k u_k^2 d path_log_weights_k,    u = softmax of the log-weights over samples.

    The second sum is an unbiased gradient of the expected bound in the parameters of q if the first array does not
    depend on them, and the second only through z (not through log q, which is subtracted).
    Tucker et al. 2019, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives", their IWAE-DReG.

    Args:
        log_weights: [K, B], log p(x, z_k) - log q(z_k|x), differentiated only in the parameters of p.
        path_log_weights: [K, B], the same values, differentiated only in z_k.

    Returns:
        [B].
    """
    log_weights, path_log_weights = as_arrays("K B", log_weights=log_weights, path_log_weights=path_log_weights)
    u = jax.lax.stop_gradient(jax.nn.softmax(log_weights, axis=0))
    # samples with weight zero add nothing: -inf minus -inf would be NaN
    possible = u > 0
    u, path_log_weights = jnp.where(possible, u, 0), jnp.where(possible, path_log_weights, 0)
    # the value is zero; only the gradient counts
    path = (u**2 * (path_log_weights - jax.lax.stop_gradient(path_log_weights))).sum(0)
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
        all: [B, ...]; `other_*` may be numbers.

    Returns:
        [B].
    """
    terms = kl_per_dimension(mean, log_variance, other_mean, other_log_variance)
    return terms.sum(tuple(range(1, terms.ndim)))


def kl_per_dimension(
    mean: Array, log_variance: Array, other_mean: Array | float = 0.0, other_log_variance: Array | float = 0.0
) -> Array:
    """The terms of `kl_between_normals`, [B, ...]; by default KL(. || N(0, I)).

    `bounded_exp` of log-variances keeps the terms and their gradients finite.
    """
    mean, log_variance = as_arrays("B ...", mean=mean, log_variance=log_variance)
    others = as_arrays("*", other_mean=other_mean, other_log_variance=other_log_variance)
    other_mean, other_log_variance = (other if other.ndim else jnp.full_like(mean, other) for other in others)
    mean, log_variance, other_mean, other_log_variance = as_arrays(
        "B ...", mean=mean, log_variance=log_variance, other_mean=other_mean, other_log_variance=other_log_variance
    )
    return DiagonalNormal(mean, log_variance).kl_per_dimension(DiagonalNormal(other_mean, other_log_variance))


def free_bits(kl_per_dimension: Array, threshold: float) -> Array:
    """`sum_j max(threshold, E_batch KL_j)`, a scalar: the first `threshold` nats of each dimension are free.

    Kingma et al. 2016, "Improved Variational Inference with Inverse Autoregressive Flow", equation 15 (there for groups
    of dimensions). The maximum is taken after the mean over the batch.

    Args:
        kl_per_dimension: [B, L], in nats.
    """
    (kl_per_dimension,) = as_arrays("B L", kl_per_dimension=kl_per_dimension)
    return jnp.maximum(kl_per_dimension.mean(0), threshold).sum()


def warm_up(step: Array, steps: int, weight: float = 1.0) -> Array:
    """A weight that grows linearly from 0 to `weight` over the first `steps` steps.

    Use it as `kl_weight=functools.partial(warm_up, steps=10_000)`. Bowman et al. 2016; Sonderby et al. 2016.
    """
    check_number("steps", steps, 1)
    return weight * jnp.minimum(step / steps, 1.0)


def cyclical(step: Array, steps: int, weight: float = 1.0, rising: float = 0.5) -> Array:
    """A weight that, every `steps` steps, rises linearly from 0 to `weight` in the fraction `rising` and then stays.

    Fu et al. 2019, "Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing", equation 6.
    """
    check_number("steps", steps, 1)
    check_number("rising", rising, 0, 1, above=True)
    return weight * jnp.minimum((step % steps) / (rising * steps), 1.0)
