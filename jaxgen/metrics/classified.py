"""Figures of what a classifier of the data says of samples: logits [N, K], or log-probabilities, which are logits too.

p(y|x) is the softmax of a row, p_g(y) and p_r(y) its means over generated and real rows. Divergences are in nats.
"""

from __future__ import annotations

import math

import chex
import jax
import jax.numpy as jnp

from jaxgen.contracts import Array


def inception_score(logits: Array, splits: int = 1) -> tuple[Array, Array]:
    """exp(E KL(p(y|x) || p_g(y))), between 1 and K; its mean and standard deviation over equal parts of the rows.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 4. p_g(y) is that of a part, so that figures
    of different `splits` do not compare: the paper's 50,000 rows have 10. A part of one class scores 1: the rows
    have to be in random order.

    Args:
        logits: [N, K], of generated rows.
        splits: parts, a divisor of N.

    Raises:
        ValueError: it is none.
    """
    chex.assert_rank(logits, 2)
    if splits < 1 or len(logits) % splits:
        raise ValueError(f"splits={splits} was given; it has to be a divisor of the {len(logits)} rows")
    log_p = jax.nn.log_softmax(logits).reshape(splits, -1, logits.shape[1])
    scores = jax.vmap(lambda part: jnp.exp(_kl(part, _mean(part)).mean()))(log_p)
    return scores.mean(), scores.std()


def mode_score(real_logits: Array, fake_logits: Array) -> Array:
    """exp(E KL(p(y|x) || p_r(y)) - KL(p_r(y) || p_g(y))) of the generated rows, a scalar.

    The score of Che et al. 2017, "Mode Regularized Generative Adversarial Networks", section 4.1. What Xu et al. 2018,
    "An empirical study on evaluation metrics of generative adversarial networks", compute under this name is another,
    exp(E KL(p(y|x) || p_g(y)) - KL(p_g || p_r)): `inception_score` times exp(-`class_histogram_divergence`). With p_r
    in the first term and KL(p_g || p_r) as the second, as is printed elsewhere, the Inception score alone is left.

    Args:
        real_logits, fake_logits: [M, K] and [N, K].
    """
    chex.assert_rank([real_logits, fake_logits], 2)
    log_p, log_real = jax.nn.log_softmax(fake_logits), _mean(jax.nn.log_softmax(real_logits))
    return jnp.exp(_kl(log_p, log_real).mean() - _kl(log_real, _mean(log_p)))


def class_histogram_divergence(real_logits: Array, fake_logits: Array) -> Array:
    """KL(p_g(y) || p_r(y)) in nats, a scalar: whether the generated rows have the real ones' shares of the classes.

    Args:
        real_logits, fake_logits: [M, K] and [N, K].
    """
    chex.assert_rank([real_logits, fake_logits], 2)
    return _kl(_mean(jax.nn.log_softmax(fake_logits)), _mean(jax.nn.log_softmax(real_logits)))


def _mean(log_p: Array) -> Array:
    """The logarithm of the mean of probabilities over rows, [N, K] to [K]."""
    return jax.nn.logsumexp(log_p, 0) - math.log(len(log_p))


def _kl(log_p: Array, log_q: Array) -> Array:
    """KL(p || q) over the last axis; a class of probability zero under p adds nothing."""
    possible = log_p > -jnp.inf
    return (jnp.exp(log_p) * jnp.where(possible, log_p - jnp.where(possible, log_q, 0), 0)).sum(-1)
