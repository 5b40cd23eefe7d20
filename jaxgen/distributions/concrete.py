"""Draws of classes through which gradients flow: the Gumbel-softmax or concrete distribution of relaxed one-hot vectors."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array, Key


def gumbel_softmax(logits: Array, key: Key, temperature: float | Array, hard: bool = False) -> Array:
    """softmax((logits + g) / temperature), g standard Gumbel noise: a point of the simplex, [..., K] to [..., K].

    Its largest entry is at class k with probability softmax(logits)_k at any temperature, and as the temperature falls it
    comes to be one-hot, while gradients grow in variance. (Jang et al. 2017, "Categorical Reparameterization with
    Gumbel-Softmax"; Maddison et al. 2017, "The Concrete Distribution".)

    Args:
        logits: any real numbers, classes on the last axis.
        temperature: positive; a number, or an array that broadcasts to the logits.
        hard: straight-through: one-hot, a draw of the classes themselves, with the relaxed draw's gradient (biased).

    Raises:
        ValueError: a temperature that is a number and not positive.
    """
    _require_positive(temperature)
    logits = jnp.asarray(logits, jnp.promote_types(logits.dtype, jnp.float32))
    relaxed = jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape, logits.dtype)) / temperature)
    if not hard:
        return relaxed
    one_hot = jax.nn.one_hot(relaxed.argmax(-1), logits.shape[-1], dtype=relaxed.dtype)
    # the difference is zero to the last bit, so that the draw is exactly one-hot
    return one_hot + (relaxed - jax.lax.stop_gradient(relaxed))


def concrete_log_density(log_x: Array, logits: Array, temperature: float | Array) -> Array:
    """The log-density of relaxed draws x at temperature t, in nats: log x [..., K] to [...].

    log p(x) = log (K - 1)! + (K - 1) log t + sum_k (l_k - (t + 1) log x_k) - K logsumexp_k(l_k - t log x_k), with respect to
    any K - 1 of the coordinates. It takes logarithms, since small entries of x underflow. (Maddison et al. 2017,
    definition 1.)

    Raises:
        ValueError: a temperature that is a number and not positive.
    """
    _require_positive(temperature)
    classes = logits.shape[-1]
    scores = logits - temperature * log_x
    constant = math.lgamma(classes) + (classes - 1) * jnp.log(temperature)
    return constant + (scores - log_x).sum(-1) - classes * jax.nn.logsumexp(scores, axis=-1)


def _require_positive(temperature: float | Array) -> None:
    if isinstance(temperature, (int, float)) and not temperature > 0:
        raise ValueError(f"a temperature must be positive, this one is {temperature}")
