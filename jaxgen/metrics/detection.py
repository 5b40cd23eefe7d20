"""Metrics of anomaly scores [N], higher for anomalies; `anomalous` [N] is True for an anomaly.

Ties are treated symmetrically: metrics count all scores at or above a threshold and do not depend on the order of the
examples. Without anomalies, or without normal examples, they are NaN.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import as_arrays, as_real, check_values
from jaxgen.contracts import Array


def roc_auc(scores: Array, anomalous: Array) -> Array:
    """The area under `roc_curve`, a scalar: P(an anomaly scores higher than a normal example) + P(equal) / 2.

    Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve".
    """
    scores, anomalous = _checked(scores, anomalous)
    normals = (~anomalous).sum()
    # by anomaly, the number of normal examples with lower scores, and half of those with equal ones
    lower = normals - (_count(scores, ~anomalous, "left") + _count(scores, ~anomalous, "right")) / 2
    return _mean(lower / normals, anomalous)


def average_precision(scores: Array, anomalous: Array) -> Array:
    """The mean over anomalies of the precision at their own scores, a scalar.

    This is sum_n (R_n - R_(n-1)) P_n over the distinct scores in descending order, with recall R and precision P,
    without interpolation, which would be optimistic.
    """
    scores, anomalous = _checked(scores, anomalous)
    detected, positive = _at_least(scores, anomalous)
    return _mean(detected / positive, anomalous)


def precision_recall(scores: Array, anomalous: Array, threshold: float | Array) -> tuple[Array, Array]:
    """Precision (0 without detections) and recall, scalars, when scores >= `threshold` are classified as anomalous.
    """
    scores, anomalous = _checked(scores, anomalous)
    (threshold,) = as_arrays("", threshold=threshold)
    positive = scores >= threshold
    detected = (positive & anomalous).sum()
    return detected / jnp.maximum(positive.sum(), 1), detected / anomalous.sum()


def best_f1_threshold(scores: Array, anomalous: Array) -> Array:
    """The lowest score that maximises F1 = 2 precision recall / (precision + recall), a scalar."""
    scores, anomalous = _checked(scores, anomalous)
    detected, positive = _at_least(scores, anomalous)
    f1 = 2 * detected / (positive + anomalous.sum())
    return jnp.where(f1 == f1.max(), scores, jnp.inf).min()


def roc_curve(scores: Array, anomalous: Array) -> tuple[Array, Array]:
    """False and true positive rates at all scores in descending order.

    Returns:
        Both [N + 1], from 0 to 1; points with equal scores repeat.
    """
    scores, anomalous = _checked(scores, anomalous)
    detected, positive = _at_least(scores, anomalous)
    order = jnp.argsort(-scores)
    rates = (positive - detected)[order] / (~anomalous).sum(), detected[order] / anomalous.sum()
    return tuple(jnp.concatenate([jnp.zeros(1, rate.dtype), rate]) for rate in rates)


def _at_least(scores: Array, anomalous: Array) -> tuple[Array, Array]:
    """Per example, the numbers of anomalies and of all examples with at least its score: int32 [N] each."""
    return _count(scores, anomalous, "left"), _count(scores, jnp.ones_like(anomalous), "left")


def _checked(scores: Array, anomalous: Array) -> tuple[Array, Array]:
    """Both as arrays [N], floats and booleans.

    Raises:
        ValueError: another shape, or NaN; infinite scores are allowed.
        TypeError: `anomalous` is not boolean.
    """
    anomalous = as_real("anomalous", anomalous)
    if anomalous.dtype != bool:
        raise TypeError(f"`anomalous` must be booleans, got {anomalous.dtype}; pass `labels == 1` for labels 0 and 1")
    scores, _ = as_arrays("N", scores=scores, anomalous=anomalous)
    check_values(lambda value: ~np.isnan(value), "numbers, got NaN", scores=scores)
    return scores, anomalous


def _count(scores: Array, members: Array, side: str) -> Array:
    """Per example, the number of members' scores at or above (side "left") or above (side "right") its own."""
    order = jnp.argsort(scores)
    below = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(members[order], dtype=jnp.int32)])
    return below[-1] - below[jnp.searchsorted(scores[order], scores, side=side)]


def _mean(values: Array, members: Array) -> Array:
    return jnp.where(members, values, 0).sum() / members.sum()
