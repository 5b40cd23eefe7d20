"""Losses of data and classes, where the class of some rows is not known. In nats."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import arrays
from jaxgen.contracts import Array
from jaxgen.losses.auxiliary import class_loss


def marginal_bound(log_classes: Array, bounds: Array) -> Array:
    """sum_y q(y|x) bound(x, y) + H(q(y|x)): a bound on log p(x) of bounds on log p(x, y), by enumeration.

    Minus the U(x) of Kingma et al. 2014, "Semi-supervised Learning with Deep Generative Models", equation 7.

    Args:
        log_classes: [B, K], log q(y|x), normalised; -inf for excluded classes.
        bounds: [B, K], on log p(x, y), the class's own log p(y) in it.

    Returns:
        [B].
    """
    log_classes, bounds = arrays("B K", log_classes=log_classes, bounds=bounds)
    # an excluded class adds nothing: 0 times infinity is not a number, nor is its gradient
    possible = log_classes > -jnp.inf
    difference = jnp.where(possible, bounds, 0) - jnp.where(possible, log_classes, 0)
    return (jnp.exp(log_classes) * difference).sum(-1)


def k_plus_one_labelled(logits: Array, labels: Array) -> Array:
    """-E log p(y|x, y <= K), a scalar: the classes of labelled rows, among the real ones alone.

    Of K classes of data and a last one of generated rows, whose logit is zero: it takes nothing away, as adding a
    number to all K + 1 logits changes none of the probabilities. Salimans et al. 2016, "Improved Techniques for Training
    GANs", section 5.

    Args:
        logits: [B, K], of the real classes.
        labels: [B], integers 0..K-1.
    """
    return class_loss(logits, labels)


def k_plus_one_unlabelled(real_logits: Array, fake_logits: Array) -> Array:
    """-1/2 E log p(y <= K|x) - 1/2 E log p(y = K + 1|G(z)), a scalar: real or generated, whatever the class.

    With Z the log-sum-exp of the logits, p(y <= K|x) = sigmoid(Z). Salimans et al. 2016, section 5, with the weights of
    one half of their code.

    Args:
        real_logits, fake_logits: [B, K], of the real classes; the batches may differ in size.
    """
    real_logits, fake_logits = arrays("B K", "R K", real_logits=real_logits, fake_logits=fake_logits)
    real, fake = jax.nn.logsumexp(real_logits, 1), jax.nn.logsumexp(fake_logits, 1)
    return 0.5 * jax.nn.softplus(-real).mean() + 0.5 * jax.nn.softplus(fake).mean()
