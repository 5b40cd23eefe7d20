"""The Gumbel-softmax or concrete distribution: relaxed one-hot samples with gradients."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key


def gumbel_softmax(logits: Array, key: Key, temperature: float | Array, hard: bool = False) -> Array:
    """softmax((logits + g) / temperature) with standard Gumbel noise g: a point of the simplex, [..., K] to [..., K].

    The largest entry is k with probability softmax(logits)_k at any temperature. As the temperature falls, samples
    become one-hot and the variance of gradients grows. Jang et al. 2017, "Categorical Reparameterization with
    Gumbel-Softmax"; Maddison et al. 2017, "The Concrete Distribution".

    Args:
        logits: real numbers, classes on the last axis.
        temperature: positive; a number or an array that broadcasts to the logits.
        hard: straight-through: a one-hot sample with the relaxed sample's gradient, which is biased.

    Raises:
        ValueError: `temperature` is a number and not positive.
    """
    _require_positive(temperature)
    logits = jnp.asarray(logits, jnp.promote_types(logits.dtype, jnp.float32))
    relaxed = jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape, logits.dtype)) / temperature)
    if not hard:
        return relaxed
    one_hot = jax.nn.one_hot(relaxed.argmax(-1), logits.shape[-1], dtype=relaxed.dtype)
    # the difference is exactly zero, so the sample is exactly one-hot
    return one_hot + (relaxed - jax.lax.stop_gradient(relaxed))


def concrete_log_density(log_x: Array, logits: Array, temperature: float | Array) -> Array:
    """The log-density of relaxed samples x at temperature t, in nats: log x [..., K] to [...].

    log p(x) = log (K - 1)! + (K - 1) log t + sum_k (l_k - (t + 1) log x_k) - K logsumexp_k(l_k - t log x_k), with
    respect to any K - 1 coordinates (Maddison et al. 2017, definition 1). The argument is log x, since x may underflow.

    Raises:
        ValueError: `temperature` is a number and not positive.
    """
    _require_positive(temperature)
    num_classes = logits.shape[-1]
    scores = logits - temperature * log_x
    constant = math.lgamma(num_classes) + (num_classes - 1) * jnp.log(temperature)
    return constant + (scores - log_x).sum(-1) - num_classes * jax.nn.logsumexp(scores, axis=-1)


def _require_positive(temperature: float | Array) -> None:
    if isinstance(temperature, (int, float)) and not temperature > 0:
        raise ValueError(f"`temperature` must be positive, got {temperature}")
