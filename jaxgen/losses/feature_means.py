"""Matching of mean features, in all or by class, with moving averages of the means.

Bao et al. 2017, "CVAE-GAN: Fine-Grained Image Generation through Asymmetric Training". A batch has few examples of a
class, so the means are moving averages over batches. What is averaged are the sums and counts of each class: their
ratio does not depend on how often a class was in the batches, and averages over devices are right.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp
from jax import lax

from jaxgen.arguments import as_arrays, as_integers
from jaxgen.contracts import Array
from jaxgen.losses.vector_quantization import straight_through, update_averages

Averages = Mapping[str, Array]
"""Of `update_averages`: `counts` [K] and `sums` [K, F]."""


def no_averages(num_classes: int, num_features: int) -> dict[str, Array]:
    """Averages before the first batch, all zero."""
    return {"counts": jnp.zeros(num_classes), "sums": jnp.zeros((num_classes, num_features))}


def averaged_means(averages: Averages) -> Array:
    """The mean features of each class, sums over counts; zero for classes without examples: [K, F]."""
    counts = averages["counts"][:, None]
    return averages["sums"] / jnp.where(counts > 0, counts, 1)


def match_class_means(
    real: Array,
    fake: Array,
    real_labels: Array,
    fake_labels: Array,
    averages: Mapping[str, Averages],
    decay: float = 0.9,
) -> tuple[Array, dict[str, dict[str, Array]]]:
    """1/2 sum_c |E_c f(x) - E_c f(G(z, c))|^2, with moving averages for the means of both.

    Classes that either average lacks are left out. Its gradient in the features of a generated example of class c is
    (E_c f(G) - E_c f(x)) / n_c, as if the mean over the n_c examples of the batch were that average: a plain derivative
    of the average would be smaller by the factor 1 - decay. Without classes (K = 1, all labels zero) it is half of
    `feature_matching`.

    Args:
        real, fake: features [B, ...] and [R, ...] of real and generated examples; no gradient flows into `real`.
        real_labels, fake_labels: [B] and [R], integers 0..K-1.
        averages: `real` and `fake`, from `no_averages` or the previous call.
        decay: of the averages; 0: means of the batch.

    Returns:
        The loss, a scalar, and the averages after this batch.
    """
    real, fake = as_arrays("B ...", "R ...", real=real, fake=fake)
    real, fake = real.reshape(real.shape[0], -1), fake.reshape(fake.shape[0], -1)
    real_labels = as_integers("B", {"B": real.shape[0]}, real_labels=real_labels)
    fake_labels = as_integers("R", {"R": fake.shape[0]}, fake_labels=fake_labels)
    after = {}
    for kind, features, labels in (("real", real, real_labels), ("fake", fake, fake_labels)):
        counts, sums = update_averages(**averages[kind], z_e=features, codes=labels, decay=decay)
        after[kind] = {"counts": counts, "sums": sums}
    known = (after["real"]["counts"] > 0) & (after["fake"]["counts"] > 0)
    member = (fake_labels[:, None] == jnp.arange(known.shape[0])).astype(fake.dtype)
    of_batch = member.T @ fake / jnp.maximum(member.sum(0), 1)[:, None]
    generated = straight_through(of_batch, lax.stop_gradient(averaged_means(after["fake"])))
    difference = jnp.where(known[:, None], averaged_means(after["real"]) - generated, 0)
    return 0.5 * (difference**2).sum(), after
