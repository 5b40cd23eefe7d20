"""What a critic learns beside real or generated: classes, codes, features, a bottleneck. In nats."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

from jaxgen.arguments import arrays, check_range, integers
from jaxgen.contracts import Array
from jaxgen.distributions.diagonal_normal import DiagonalNormal


def class_loss(logits: Array, labels: Array) -> Array:
    """-E log P(c|x), the cross-entropy of classes.

    Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", equation 3: minus L_C is the sum of
    this over real and over generated rows. Critic and generator both minimise it, the critic on both kinds of rows, the
    generator on its own.

    Args:
        logits: [B, K].
        labels: [B], integers 0..K-1; of generated rows the classes that the generator was given. Others, where they are
            traced and cannot be refused, make the loss infinite.

    Raises:
        ValueError: other shapes, or concrete labels other than 0..K-1.
    """
    (logits,) = arrays("B K", logits=logits)
    labels = integers("B", {"B": logits.shape[0]}, labels=labels)
    return -_log_probability(logits, "labels", labels).mean()


def categorical_information(logits: Array, codes: Array) -> Array:
    """E log Q(c|G(z, c)) + H(c): a lower bound of the mutual information of codes and samples, to be maximised.

    Chen et al. 2016, "InfoGAN", equation 5, of codes that are uniform over K values; at most log K for each variable.

    Args:
        logits: [B, ..., K], Q's on generated rows.
        codes: [B, ...], integers 0..K-1, what the rows were generated from; several variables are independent, and
            summed. Others, where they are traced and cannot be refused, give -inf.

    Raises:
        ValueError: other shapes, or concrete codes other than 0..K-1.
    """
    (logits,) = arrays("B *", logits=logits)
    codes = integers("...", {"...": logits.shape[:-1]}, codes=codes)
    log_q = _log_probability(logits, "codes", codes)
    return (log_q + math.log(logits.shape[-1])).sum(tuple(range(1, codes.ndim))).mean()


def _log_probability(logits: Array, name: str, classes: Array) -> Array:
    """log softmax(logits)_c, logits [..., K] and classes [...] to [...]; -inf for what is not one of 0..K-1."""
    most = logits.shape[-1] - 1
    check_range(name, classes, 0, most, whole=True)
    log_p = -optax.softmax_cross_entropy_with_integer_labels(logits, jnp.clip(classes, 0, most))
    return jnp.where((classes < 0) | (classes > most), -jnp.inf, log_p)


def normal_information(mean: Array, log_variance: Array, codes: Array, entropy: float = math.log(2)) -> Array:
    """`categorical_information` of continuous codes, with Q(c|x) a diagonal normal.

    Args:
        mean, log_variance: [B, D], Q's on generated rows.
        codes: [B, D], what the rows were generated from.
        entropy: of the codes, for each dimension: log 2 where they are uniform on [-1, 1], as the paper's are.
    """
    mean, log_variance, codes = arrays("B D", mean=mean, log_variance=log_variance, codes=codes)
    return DiagonalNormal(mean, log_variance).log_prob(codes).mean() + entropy * codes.shape[1]


def feature_matching(real_features: Array, fake_features: Array) -> Array:
    """|E f(x) - E f(G(z))|^2, summed over the features: what the generator minimises in the place of a score.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.1; their code has the mean over features.

    Args:
        real_features, fake_features: [B, ...], f of one of the critic's layers; the batches may differ in size.
    """
    real_features, fake_features = arrays("B ...", "R ...", real_features=real_features, fake_features=fake_features)
    return ((real_features.mean(0) - fake_features.mean(0)) ** 2).sum()


def bottleneck(kl: Array, beta: Array, information: float) -> Array:
    """beta (E KL(E(z|x) || N(0, I)) - I_c), which the critic's loss is given beside the game's.

    Peng et al. 2019, "Variational Discriminator Bottleneck".

    Args:
        kl: [B], of real and generated rows together, as many of either: the expectation is over their mixture.
        beta: a scalar of `next_dual`; no gradient goes into it.
        information: I_c, in nats.
    """
    (kl,) = arrays("B", kl=kl)
    return jax.lax.stop_gradient(beta) * (kl.mean() - information)


def next_dual(beta: Array, kl: Array, information: float, rate: float) -> Array:
    """beta <- max(0, beta + rate (E KL - I_c)): grows while more than I_c passes (Peng et al. 2019).

    Args:
        kl: [B], as `bottleneck` has it.
    """
    (kl,) = arrays("B", kl=kl)
    return jax.lax.stop_gradient(jnp.maximum(0.0, beta + rate * (kl.mean() - information)))
