"""Use of the latents: metrics of the posteriors N(mean, exp(log_variance)) of a whole data set."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_finite, check_length, check_number
from jaxgen.contracts import Array, Key
from jaxgen.distributions.diagonal_normal import DiagonalNormal


def active_units(means: Array, threshold: float = 0.01) -> Array:
    """The number of latents whose posterior means have a variance over the data above `threshold`, an int32 scalar.

    Burda et al. 2016, "Importance Weighted Autoencoders", section 5.2: A_u = Cov_x(E[u|x]) > 0.01.

    Args:
        means: [N, L], of N examples.
    """
    check_number("threshold", threshold, 0)
    (means,) = as_arrays("N L", means=means)
    check_length(2, means=means)
    check_finite(means=means)
    return (means.var(0) > threshold).sum()


def mutual_information(mean: Array, log_variance: Array, key: Key) -> Array:
    """I_q(x; z) = E_x E_q(z|x) [log q(z|x) - log q(z)] in nats, q(z) the mixture of all N posteriors: a scalar.

    Estimated with one sample per example and the whole mixture: unbiased for these N examples, and at most log N.
    Hoffman and Johnson 2016, "ELBO surgery"; Dieng et al. 2019, "Avoiding Latent Variable Collapse with Generative
    Skip Models".

    Args:
        mean, log_variance: [N, L], of N examples.
    """
    posteriors = _posteriors(mean, log_variance)
    z = posteriors.sample(key)

    def gain(i: Array) -> Array:
        log_q = posteriors.log_prob(z[i])
        return log_q[i] - jax.nn.logsumexp(log_q)

    return jax.lax.map(gain, jnp.arange(len(z)), batch_size=64).mean() + math.log(len(z))


def total_correlation(mean: Array, log_variance: Array, key: Key) -> Array:
    """KL(q(z) || prod_j q(z_j)) = E_q(z) [log q(z) - sum_j log q(z_j)] in nats, q(z) as above: a scalar.

    Zero if the latents are independent over these N examples; `jaxgen.losses.total_correlation` estimates it from
    minibatches. Chen et al. 2018, "Isolating Sources of Disentanglement in Variational Autoencoders".

    Args:
        mean, log_variance: [N, L], of N examples.
    """
    posteriors = _posteriors(mean, log_variance)
    z = posteriors.sample(key)

    def dependence(z: Array) -> Array:
        log_q = posteriors.log_prob_per_dimension(z)
        return jax.nn.logsumexp(log_q.sum(-1)) - jax.nn.logsumexp(log_q, axis=0).sum()

    return jax.lax.map(dependence, z, batch_size=64).mean() + (mean.shape[1] - 1) * math.log(len(z))


def _posteriors(mean: Array, log_variance: Array) -> DiagonalNormal:
    mean, log_variance = as_arrays("N L", mean=mean, log_variance=log_variance)
    check_finite(mean=mean, log_variance=log_variance)
    return DiagonalNormal(mean, log_variance)
