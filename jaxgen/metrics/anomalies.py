"""Metrics of anomaly scores, and the same metrics of two standard methods."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Array
from jaxgen.metrics.detection import average_precision, best_f1_threshold, precision_recall, roc_auc

__all__ = ["anomaly_baselines", "detection_metrics"]

COMPONENTS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Numbers of principal components; the AUC on validation examples chooses one."""
DEFAULT_COMPONENTS = 64
"""Their number where no validation example is an anomaly."""


def detection_metrics(
    method: str, valid_scores: Array, test_scores: Array, valid_anomalous: Array, test_anomalous: Array
) -> dict[str, float]:
    """AUC, average precision, precision and recall of anomaly scores on test examples.

    The threshold of precision and recall has the best F1 on the validation examples. Without anomalies among these
    there is no threshold, and AUC and average precision are all.

    Args:
        method: appended to the metrics' names.
        valid_scores, test_scores: [N] and [M], greater for anomalies.
        valid_anomalous, test_anomalous: booleans, [N] and [M].
    """
    metrics = {
        "AUC": roc_auc(test_scores, test_anomalous),
        "average precision": average_precision(test_scores, test_anomalous),
    }
    if np.any(valid_anomalous):
        threshold = best_f1_threshold(valid_scores, valid_anomalous)
        metrics["precision"], metrics["recall"] = precision_recall(test_scores, test_anomalous, threshold)
    return {f"{name}, {method}": float(value) for name, value in metrics.items()}


def anomaly_baselines(
    train: Any, valid: Any, test: Any, valid_anomalous: Any, test_anomalous: Any, seed: int
) -> dict[str, float]:
    """`detection_metrics` of an isolation forest and of the reconstruction error of principal components.

    Args:
        train: normal examples, [N, ...].
        valid, test: examples of both kinds.
        seed: the forest's.
    """
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest

    train, valid, test = (np.asarray(x, np.float64).reshape(len(x), -1) for x in (train, valid, test))
    forest = IsolationForest(random_state=seed).fit(train)
    scores = (jnp.asarray(-forest.score_samples(x)) for x in (valid, test))
    metrics = detection_metrics("isolation forest", *scores, valid_anomalous, test_anomalous)
    pca = PCA(min(COMPONENTS[-1], *train.shape)).fit(train)

    def error(x: np.ndarray, components: int) -> Array:
        """The squared distance to the subspace of the first components."""
        x = x - pca.mean_
        along = x @ pca.components_[:components].T
        return jnp.asarray(((x - along @ pca.components_[:components]) ** 2).sum(1))

    # all components together leave no error
    known = [components for components in COMPONENTS if components < min(train.shape)]
    if np.any(valid_anomalous):
        best = max(known, key=lambda components: roc_auc(error(valid, components), valid_anomalous))
    else:
        best = max(components for components in known if components <= DEFAULT_COMPONENTS)
    return metrics | detection_metrics("PCA", error(valid, best), error(test, best), valid_anomalous, test_anomalous)
