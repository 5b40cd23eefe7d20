"""How well scores [N] tell anomalies from normal rows: anomalous [N], true for an anomaly, which should score higher.

Equal scores are told apart by nobody: a figure counts what is at least as high as a score, and never depends on the
order of the rows. A set without anomalies, or without normal rows, has no figure: it is not a number.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxgen.arguments import arrays, check_values, real
from jaxgen.contracts import Array


def roc_auc(scores: Array, anomalous: Array) -> Array:
    """The area under the curve of `roc_curve`, a scalar: P(an anomaly's score > a normal row's) + P(equal) / 2.

    Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating Characteristic (ROC) Curve".
    """
    scores, anomalous = _checked(scores, anomalous)
    normals = (~anomalous).sum()
    # of each anomaly, how many normal rows it beats, and how many it ties with by half
    beaten = normals - (_count(scores, ~anomalous, "left") + _count(scores, ~anomalous, "right")) / 2
    return _mean(beaten / normals, anomalous)


def average_precision(scores: Array, anomalous: Array) -> Array:
    """The mean over anomalies of the precision at their own scores, a scalar.

    It is sum_n (R_n - R_(n-1)) P_n over the different scores, in descending order, with R the recall and P the
    precision: no interpolation, which would flatter.
    """
    scores, anomalous = _checked(scores, anomalous)
    found, flagged = _at_least(scores, anomalous)
    return _mean(found / flagged, anomalous)


def precision_recall(scores: Array, anomalous: Array, threshold: float | Array) -> tuple[Array, Array]:
    """Precision and recall, scalars, where rows with a score of at least `threshold` are called anomalous.

    Of the rows called so, the share that is, 0 where there are none; of those that are, the share that is called so.
    """
    scores, anomalous = _checked(scores, anomalous)
    (threshold,) = arrays("", threshold=threshold)
    flagged = scores >= threshold
    found = (flagged & anomalous).sum()
    return found / jnp.maximum(flagged.sum(), 1), found / anomalous.sum()


def best_f1_threshold(scores: Array, anomalous: Array) -> Array:
    """The score at which 2 precision recall / (precision + recall) is greatest, a scalar; of equals the lowest."""
    scores, anomalous = _checked(scores, anomalous)
    found, flagged = _at_least(scores, anomalous)
    f1 = 2 * found / (flagged + anomalous.sum())
    return jnp.where(f1 == f1.max(), scores, jnp.inf).min()


def roc_curve(scores: Array, anomalous: Array) -> tuple[Array, Array]:
    """The shares of the normal rows and of the anomalies with at least a score, for all scores in descending order.

    Returns:
        False and true positive rates, each [N + 1], from 0 to 1; points of equal scores repeat.
    """
    scores, anomalous = _checked(scores, anomalous)
    found, flagged = _at_least(scores, anomalous)
    order = jnp.argsort(-scores)
    rates = (flagged - found)[order] / (~anomalous).sum(), found[order] / anomalous.sum()
    return tuple(jnp.concatenate([jnp.zeros(1, rate.dtype), rate]) for rate in rates)


def _at_least(scores: Array, anomalous: Array) -> tuple[Array, Array]:
    """For each row, how many anomalies and how many rows in all have a score of at least its own: int32 [N] each."""
    return _count(scores, anomalous, "left"), _count(scores, jnp.ones_like(anomalous), "left")


def _checked(scores: Array, anomalous: Array) -> tuple[Array, Array]:
    """Both as arrays [N], floats and booleans.

    Raises:
        ValueError: naming the argument: another shape, or NaN; infinite scores are allowed.
        TypeError: naming the argument: `anomalous` is not boolean.
    """
    anomalous = real("anomalous", anomalous)
    if anomalous.dtype != bool:
        raise TypeError(f"anomalous must be booleans, got {anomalous.dtype}: give `anomalous == 1` for labels 0 and 1")
    scores, _ = arrays("N", scores=scores, anomalous=anomalous)
    check_values(lambda value: ~np.isnan(value), "numbers, got NaN", scores=scores)
    return scores, anomalous


def _count(scores: Array, members: Array, side: str) -> Array:
    """For each row, how many members' scores are at least (side "left") or above (side "right") its own."""
    order = jnp.argsort(scores)
    below = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(members[order], dtype=jnp.int32)])
    return below[-1] - below[jnp.searchsorted(scores[order], scores, side=side)]


def _mean(values: Array, members: Array) -> Array:
    return jnp.where(members, values, 0).sum() / members.sum()
