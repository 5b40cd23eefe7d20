"""Metrics of samples from a classifier's logits [N, K] (or log-probabilities, which are logits too).

p(y|x) is the softmax of the logits; p_g(y) and p_r(y) are its means over generated and real examples. Divergences are
in nats.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import as_arrays, check_counts, check_values
from jaxgen.contracts import Array


def inception_score(logits: Array, splits: int = 1) -> tuple[Array, Array]:
    """exp(E KL(p(y|x) || p_g(y))), between 1 and K: mean and standard deviation over equal parts of the examples.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 4. p_g(y) is computed per part, so values for
    different `splits` are not comparable; the paper splits 50,000 examples into 10 parts. Examples must be in random
    order: a part with a single class scores 1.

    Args:
        logits: [N, K], of generated examples.
        splits: number of parts, a divisor of N.

    Raises:
        ValueError: `splits` is not a divisor of N.
    """
    (logits,) = _logits(logits=logits)
    check_counts(splits=splits)
    if len(logits) % splits:
        raise ValueError(f"`splits` must divide the {len(logits)} examples, got {splits}")
    log_p = jax.nn.log_softmax(logits).reshape(splits, -1, logits.shape[1])
    scores = jax.vmap(lambda part: jnp.exp(_kl(part, _mean(part)).mean()))(log_p)
    return scores.mean(), scores.std()


def mode_score(real_logits: Array, fake_logits: Array) -> Array:
    """exp(E KL(p(y|x) || p_r(y)) - KL(p_r(y) || p_g(y))), with E over generated examples, a scalar.

    Che et al. 2017, "Mode Regularized Generative Adversarial Networks", section 4.1. Xu et al. 2018, "An empirical
    study on evaluation metrics of generative adversarial networks", use the name for exp(E KL(p(y|x) || p_g(y)) -
    KL(p_g || p_r)), which is `inception_score` times exp(-`class_histogram_divergence`). Another variant, p_r in the
    first term and KL(p_g || p_r) as the second, equals the Inception score.

    Args:
        real_logits, fake_logits: [M, K] and [N, K].
    """
    real_logits, fake_logits = _logits(real_logits=real_logits, fake_logits=fake_logits)
    log_p, log_real = jax.nn.log_softmax(fake_logits), _mean(jax.nn.log_softmax(real_logits))
    return jnp.exp(_kl(log_p, log_real).mean() - _kl(log_real, _mean(log_p)))


def class_histogram_divergence(real_logits: Array, fake_logits: Array) -> Array:
    """KL(p_g(y) || p_r(y)) in nats, a scalar: zero if classes are equally frequent in generated and real examples.

    Args:
        real_logits, fake_logits: [M, K] and [N, K].
    """
    real_logits, fake_logits = _logits(real_logits=real_logits, fake_logits=fake_logits)
    return _kl(_mean(jax.nn.log_softmax(fake_logits)), _mean(jax.nn.log_softmax(real_logits)))


def _logits(**logits: Any) -> tuple[Array, ...]:
    """Checks up to two sets of logits for the same classes; -inf for an impossible class is allowed."""
    values = as_arrays(*("N K", "M K")[: len(logits)], **logits)
    check_logits(**dict(zip(logits, values, strict=True)))
    return values


def check_logits(**logits: Array) -> None:
    """Raises ValueError unless the softmax is defined; traced logits are not checked.
    """
    check_values(
        lambda value: np.isfinite(value.max(1)),
        "numbers or -inf, with a finite one per example, got NaN, inf or only -inf",
        **logits,
    )


def _mean(log_p: Array) -> Array:
    """The logarithm of the mean probabilities over examples, [N, K] to [K]."""
    return jax.nn.logsumexp(log_p, 0) - math.log(len(log_p))


def _kl(log_p: Array, log_q: Array) -> Array:
    """KL(p || q) over the last axis; classes with p = 0 add nothing."""
    possible = log_p > -jnp.inf
    return (jnp.exp(log_p) * jnp.where(possible, log_p - jnp.where(possible, log_q, 0), 0)).sum(-1)
