"""Losses of sequences of tokens: teacher forcing, and policy gradients with rewards or weights from a critic.

`log_probs` [B, T] are log g(y_t | y_<t) in nats, of tokens from the data or from the generator; losses are sums over
the positions and means over the batch, as in the papers. `mask` [B, T] is one up to and including the end token, zero
after it (`jaxgen.tokens.token_mask`); None counts all positions. Masked positions have neither a value nor a gradient,
even if their log-probabilities are infinite.

No gradient flows through rewards, baselines and weights, nor through the samples: all gradients are those of log g.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import as_arrays, check_number
from jaxgen.contracts import Array


def sequence_log_probs(log_probs: Array, mask: Array | None = None) -> Array:
    """log g(y) = sum_t mask_t log g(y_t | y_<t) of each sequence, [B] from [B, T]."""
    log_probs, mask = _masked(log_probs, mask)
    return (mask * log_probs).sum(-1)


def teacher_forcing(log_probs: Array, mask: Array | None = None) -> Array:
    """-mean_b sum_t mask log g(y_t | y_<t), the negative log-likelihood of the data's sequences, in nats."""
    return -sequence_log_probs(log_probs, mask).mean()


def policy_gradient(log_probs: Array, rewards: Array, mask: Array | None = None, baseline: Any = 0.0) -> Array:
    """-mean_b sum_t mask (rewards - baseline) log g(y_t | y_<t).

    Its expected gradient is minus that of the expected return, if the reward at t is the return after y_1..y_t.

    Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning"; with the
    expected score of the sequences that begin with y_1..y_t as the reward of y_t: Yu et al. 2017, "SeqGAN", equation 6
    (without a baseline, summed over the batch in the authors' code).

    Args:
        log_probs: [B, T], of sequences drawn from g.
        rewards: [B, T], of the token at t; the whole return of each of its actions, not the reward at one position.
        baseline: a number, one per position [T], or one per token [B, T]; it must not depend on the token at t.
    """
    return -policy_gradient_terms(log_probs, rewards, mask, baseline).sum(-1).mean()


def policy_gradient_terms(
    log_probs: Array, rewards: Array, mask: Array | None = None, baseline: Any = 0.0
) -> Array:
    """mask (rewards - baseline) log g(y_t | y_<t) of each token, [B, T]; minus their sums are the loss per example."""
    log_probs, mask = _masked(log_probs, mask)
    log_probs, rewards = as_arrays("B T", log_probs=log_probs, rewards=rewards)
    (baseline,) = as_arrays("*", baseline=baseline)
    if baseline.shape not in ((), log_probs.shape[1:], log_probs.shape):
        raise ValueError(
            f"`baseline` must be a number or have shape {log_probs.shape[1:]} or {log_probs.shape}, got "
            f"{baseline.shape}"
        )
    return mask * lax.stop_gradient(jnp.where(mask > 0, rewards, 0) - baseline) * log_probs


def normalized_weights(logits: Array, axis: int = 0) -> Array:
    """Self-normalised importance weights of samples: the softmax of a discriminator's logits over an axis.

    The density ratio p/g at a sample is D / (1 - D) = exp(logit): sum_i w_i h(y_i) estimates E_p h from samples of g.
    The axis decides what is normalised: the batch (MaliGAN; Hu et al. 2018, "On Unifying Deep Generative Models",
    equation 16) or the M samples of one z (boundary-seeking GAN). No gradient flows through the weights.

    Args:
        logits: any shape but a scalar.

    Returns:
        The shape of `logits`, with sum 1 over `axis`.
    """
    (logits,) = as_arrays("B *", logits=logits)
    if not -logits.ndim <= axis < logits.ndim:
        raise ValueError(f"`axis` must be an axis of `logits`, whose shape is {logits.shape}, got {axis}")
    return jax.nn.softmax(lax.stop_gradient(logits), axis)


def effective_sample_size(logits: Array, axis: int = 0) -> Array:
    """1 / sum_i w_i^2 of the `normalized_weights`: 1 if one sample has all the weight, their number if all are equal.

    Returns:
        The shape of `logits` without `axis`.
    """
    return 1 / (normalized_weights(logits, axis) ** 2).sum(axis)


def maligan(log_probs: Array, logits: Array, baseline: Any = 0.0) -> Array:
    """-sum_i (w_i - baseline / m) log g(y_i), with `normalized_weights` w over the m samples.

    Its expected gradient approaches that of KL(p||g) for a discriminator with exp(logit) = p/g. Che et al. 2017,
    "Maximum-Likelihood Augmented Discrete Generative Adversarial Networks". The weights sum to one, so that the loss
    has the scale of a mean over the batch; with baseline 1 the coefficients sum to zero.

    Args:
        log_probs: [m] of whole sequences (`sequence_log_probs`), or [m, T] of their tokens.
        logits: the shape of `log_probs`: of whole sequences, or at t the logarithm of the mean of exp(logit) over
            completions of y_1..y_t (the full variant): weights are normalised over the samples at each t, and the loss
            is summed over t.
        baseline: b in units of 1/m, from 0 to 1, which the paper raises in training.
    """
    check_number("baseline", baseline, 0, 1)
    log_probs, logits = as_arrays("m *", log_probs=log_probs, logits=logits)
    if log_probs.shape != logits.shape:
        raise ValueError(f"`log_probs` and `logits` must have one shape, got {log_probs.shape} and {logits.shape}")
    weights = normalized_weights(logits) - lax.stop_gradient(baseline) / log_probs.shape[0]
    return -(weights * log_probs).sum()


def boundary_seeking(log_probs: Array, logits: Array) -> Array:
    """-mean_z sum_m w_m log g(y_m|z), with `normalized_weights` w over the M samples of the same z; no baseline.

    Hjelm et al. 2018, "Boundary-Seeking Generative Adversarial Networks", equation 10. Samples of different z are not
    compared: weights over all of them (`maligan`) would favour some z over others.

    Args:
        log_probs: [M, B], log g(y_m|z) in nats, of M samples of each of B latents; or [M, B, T] of their tokens.
        logits: [M, B], the discriminator's at the samples; or [M, B, T], one logit per token, each weighing its own
            token, as in the authors' language model: the loss is summed over t.
    """
    log_probs, logits = as_arrays("M B ...", log_probs=log_probs, logits=logits)
    weighted = (normalized_weights(logits) * log_probs).sum(0)
    return -weighted.sum(tuple(range(1, weighted.ndim))).mean()


def _masked(log_probs: Array, mask: Array | None) -> tuple[Array, Array]:
    """Log-probabilities that are zero where the mask is, and the mask."""
    if mask is None:
        (log_probs,) = as_arrays("B T", log_probs=log_probs)
        return log_probs, jnp.ones_like(log_probs)
    log_probs, mask = as_arrays("B T", log_probs=log_probs, mask=mask)
    return jnp.where(mask > 0, log_probs, 0), mask
