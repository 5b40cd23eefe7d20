"""Losses for partly labelled data. In nats."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays
from jaxgen.contracts import Array
from jaxgen.losses.auxiliary import class_loss


def marginal_bound(log_classes: Array, bounds: Array) -> Array:
    """sum_y q(y|x) bound(x, y) + H(q(y|x)): a bound on log p(x) from bounds on log p(x, y), by enumerating classes.

    This is -U(x) of Kingma et al. 2014, "Semi-supervised Learning with Deep Generative Models", equation 7.

    Args:
        log_classes: [B, K], log q(y|x), normalised; -inf for excluded classes.
        bounds: [B, K], on log p(x, y), log p(y) included.

    Returns:
        [B].
    """
    log_classes, bounds = as_arrays("B K", log_classes=log_classes, bounds=bounds)
    # masked before the product: 0 times infinity and its gradient are NaN
    possible = log_classes > -jnp.inf
    difference = jnp.where(possible, bounds, 0) - jnp.where(possible, log_classes, 0)
    return (jnp.exp(log_classes) * difference).sum(-1)


def k_plus_one_labelled(logits: Array, labels: Array) -> Array:
    """-E log p(y|x, y <= K), a scalar: the cross-entropy of labelled examples among the K classes of data.

    The logit of class K + 1, the generated examples, is fixed at zero without loss of generality, since only
    differences of logits matter. Salimans et al. 2016, "Improved Techniques for Training GANs", section 5.

    Args:
        logits: [B, K], of the classes of data.
        labels: [B], integers 0..K-1.
    """
    return class_loss(logits, labels)


def k_plus_one_unlabelled(real_logits: Array, fake_logits: Array) -> Array:
    """-1/2 E log p(y <= K|x) - 1/2 E log p(y = K + 1|G(z)), a scalar: real or generated, for any class.

    With Z the log-sum-exp of the logits, p(y <= K|x) = sigmoid(Z). Salimans et al. 2016, section 5, with the factors
    1/2 of their code.

    Args:
        real_logits, fake_logits: [B, K], of the classes of data; the batches may differ in size.
    """
    real_logits, fake_logits = as_arrays("B K", "R K", real_logits=real_logits, fake_logits=fake_logits)
    real, fake = jax.nn.logsumexp(real_logits, 1), jax.nn.logsumexp(fake_logits, 1)
    return 0.5 * jax.nn.softplus(-real).mean() + 0.5 * jax.nn.softplus(fake).mean()
