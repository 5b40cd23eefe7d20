"""Auxiliary losses of critics: classes, codes, feature matching, information bottlenecks. Scalars, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from jaxgen.arguments import as_arrays, as_integers, check_range
from jaxgen.contracts import Array
from jaxgen.distributions.diagonal_normal import DiagonalNormal


def class_loss(logits: Array, labels: Array) -> Array:
    """-E log P(c|x), the cross-entropy of classes.

    Odena et al. 2017, "Conditional Image Synthesis with Auxiliary Classifier GANs", equation 3: -L_C is its sum on real
    and generated examples, which the critic minimises; the generator minimises it on generated examples.

    Args:
        logits: [B, K].
        labels: [B], integers 0..K-1, for generated examples the generator's input. Traced labels are not checked:
            others make the loss infinite.

    Raises:
        ValueError: other shapes, or concrete labels other than 0..K-1.
    """
    (logits,) = as_arrays("B K", logits=logits)
    labels = as_integers("B", {"B": logits.shape[0]}, labels=labels)
    return -_log_probability(logits, "labels", labels).mean()


def categorical_information(logits: Array, codes: Array) -> Array:
    """E log Q(c|G(z, c)) + H(c): a lower bound of the mutual information of codes and samples, to be maximised.

    Chen et al. 2016, "InfoGAN", equation 5, for codes uniform over K values; at most log K per variable.

    Args:
        logits: [B, ..., K], Q's on generated examples.
        codes: [B, ...], integers 0..K-1, the generator's input; several variables are independent and summed. Traced
            codes are not checked: others give -inf.

    Raises:
        ValueError: other shapes, or concrete codes other than 0..K-1.
    """
    (logits,) = as_arrays("B *", logits=logits)
    codes = as_integers("...", {"...": logits.shape[:-1]}, codes=codes)
    log_q = _log_probability(logits, "codes", codes)
    return (log_q + math.log(logits.shape[-1])).sum(tuple(range(1, codes.ndim))).mean()


def _log_probability(logits: Array, name: str, classes: Array) -> Array:
    """log softmax(logits)_c, logits [..., K] and classes [...] to [...]; -inf outside of 0..K-1."""
    last = logits.shape[-1] - 1
    check_range(name, classes, 0, last, whole=True)
    log_p = -optax.softmax_cross_entropy_with_integer_labels(logits, jnp.clip(classes, 0, last))
    return jnp.where((classes < 0) | (classes > last), -jnp.inf, log_p)


def normal_information(mean: Array, log_variance: Array, codes: Array, entropy: float = math.log(2)) -> Array:
    """`categorical_information` for continuous codes and a diagonal normal Q(c|x).

    Args:
        mean, log_variance: [B, D], Q's on generated examples.
        codes: [B, D], the generator's input.
        entropy: of the codes, per dimension; log 2 for the paper's uniform codes on [-1, 1].
    """
    mean, log_variance, codes = as_arrays("B D", mean=mean, log_variance=log_variance, codes=codes)
    return DiagonalNormal(mean, log_variance).log_prob(codes).mean() + entropy * codes.shape[1]


def feature_matching(real_features: Array, fake_features: Array) -> Array:
    """|E f(x) - E f(G(z))|^2, summed over the features: a generator's loss in place of a score.

    Salimans et al. 2016, "Improved Techniques for Training GANs", section 3.1; their code averages over the features.

    Args:
        real_features, fake_features: [B, ...], outputs f of a layer of the critic; the batches may differ in size.
    """
    real_features, fake_features = as_arrays("B ...", "R ...", real_features=real_features, fake_features=fake_features)
    return ((real_features.mean(0) - fake_features.mean(0)) ** 2).sum()


def moment_matching(real: Array, fake: Array) -> Array:
    """E |std f(x) - std f(G(z))| + E |E f(x) - E f(G(z))|, with moments over examples and means over features.

    Yoon et al. 2019, "Time-series Generative Adversarial Networks", in the authors' code, where the features are the
    values of each column of a series at each step, and variances have 1e-6 added before the root.

    Args:
        real, fake: [B, ...] and [R, ...].
    """
    real, fake = as_arrays("B ...", "R ...", real=real, fake=fake)
    deviations = (jnp.sqrt(x.var(0) + 1e-6) for x in (real, fake))
    return jnp.abs(jnp.subtract(*deviations)).mean() + jnp.abs(real.mean(0) - fake.mean(0)).mean()


def layerwise_feature_matching(real_features: Sequence[Array], fake_features: Sequence[Array]) -> Array:
    """`feature_matching` averaged over the features of each layer, and summed over layers.

    Kim et al. 2017 ("DiscoGAN") have it in their code, as a hinge embedding loss with target 1: the loss itself.

    Args:
        real_features, fake_features: by layer, [B, ...]; the batches may differ in size.

    Raises:
        ValueError: no layers, or not equally many.
    """
    if not real_features or len(real_features) != len(fake_features):
        raise ValueError(
            f"`real_features` and `fake_features` must have equally many layers, at least one, got "
            f"{len(real_features)} and {len(fake_features)}"
        )
    layers = zip(real_features, fake_features, strict=True)
    return sum(feature_matching(real, fake) / real[0].size for real, fake in layers)


def bottleneck(kl: Array, beta: Array, information: float) -> Array:
    """beta (E KL(E(z|x) || N(0, I)) - I_c), added to the critic's loss.

    Peng et al. 2019, "Variational Discriminator Bottleneck".

    Args:
        kl: [B], on equally many real and generated examples: the expectation is over their mixture.
        beta: a scalar from `next_dual`; no gradient flows into it.
        information: I_c, in nats.
    """
    (kl,) = as_arrays("B", kl=kl)
    return jax.lax.stop_gradient(beta) * (kl.mean() - information)


def next_dual(beta: Array, kl: Array, information: float, rate: float) -> Array:
    """beta <- max(0, beta + rate (E KL - I_c)), which grows while E KL > I_c (Peng et al. 2019).

    Args:
        kl, information: as in `bottleneck`.
    """
    (kl,) = as_arrays("B", kl=kl)
    return jax.lax.stop_gradient(jnp.maximum(0.0, beta + rate * (kl.mean() - information)))
