"""All metrics of generated samples from features and classes, with their provenance."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.arguments import as_arrays, check_finite, check_length, check_shapes
from jaxgen.contracts import Array, Key
from jaxgen.metrics.classifier_scores import check_logits, class_histogram_divergence, inception_score, mode_score
from jaxgen.metrics.collapse import distance_ratio
from jaxgen.metrics.distances import (
    data_bandwidth,
    frechet_distance,
    kernel_distance,
    mmd_squared,
    sliced_wasserstein,
    wasserstein_exact,
)
from jaxgen.metrics.neighbours import (
    birthday_duplicates,
    density_coverage,
    nearest_distances,
    one_nearest_neighbour,
    precision_recall_of_manifolds,
)

MAX_EXACT = 1000
"""The number of examples that `wasserstein_exact`, whose time is cubic, and `distance_ratio` use."""
DUPLICATE_QUANTILE = 0.01
"""Samples nearer than this quantile of the real examples' nearest distances are duplicates."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleMetrics:
    """Metrics of generated samples, and the set-up that must be equal to compare them with others.

    Attributes:
        metrics: by name.
        num_real, num_fake: numbers of examples.
        extractor: name of the feature extractor.
        split: the split of the real examples.
    """

    metrics: Mapping[str, float]
    num_real: int
    num_fake: int
    extractor: str
    split: str


def measure(real: Any, fake: Any, extractor: Any, key: Key, split: str = "test") -> SampleMetrics:
    """`feature_metrics` of data and samples, with their provenance.

    Args:
        real, fake: examples in data units, [N, ...] and [M, ...], in random order.
        extractor: has `features(x)` [B, F], `logits(x)` [B, K] and a `name`.
        key: for projections and subsets.
        split: the split that `real` comes from.

    Raises:
        ValueError, TypeError: as `feature_metrics`; different event shapes.
    """
    check_shapes("N ...", "M ...", real=real, fake=fake)
    metrics = feature_metrics(
        extractor.features(real), extractor.features(fake), extractor.logits(real), extractor.logits(fake), key
    )
    return SampleMetrics(
        metrics=metrics, num_real=len(real), num_fake=len(fake), extractor=extractor.name, split=split
    )


def feature_metrics(
    real_features: Array, fake_features: Array, real_logits: Array, fake_logits: Array, key: Key
) -> dict[str, float]:
    """All metrics of this package that need only features and classes of real and generated examples.

    The Inception score has one split. The nearest-neighbour accuracy uses the size of the smaller set from each,
    `wasserstein_exact` and `distance_ratio` at most `MAX_EXACT` examples, the kernel distance subsets of half the
    examples and at most 1,000. `duplicate_pairs` is `birthday_duplicates` at the `DUPLICATE_QUANTILE`.

    Args:
        real_features, fake_features: [N, F] and [M, F].
        real_logits, fake_logits: [N, K] and [M, K].
        key: for projections and subsets.

    Raises:
        ValueError: sets that differ in F or K, features and logits that differ in length, fewer than 6 real or 4
            generated examples, NaN or infinite features.
        TypeError: not real numbers.

    Warns:
        UserWarning: there are fewer examples than features, so that covariances are singular.
    """
    real_features, fake_features, real_logits, fake_logits = as_arrays(
        "N F", "M F", "N K", "M K",
        real_features=real_features, fake_features=fake_features, real_logits=real_logits, fake_logits=fake_logits,
    )  # fmt: skip
    # more than the neighbours k of `density_coverage` and `precision_recall_of_manifolds`
    check_length(6, real_features=real_features)
    check_length(4, fake_features=fake_features)
    check_finite(real_features=real_features, fake_features=fake_features)
    check_logits(real_logits=real_logits, fake_logits=fake_logits)
    n, num_features = min(len(real_features), len(fake_features)), real_features.shape[1]
    if n < num_features:
        warnings.warn(
            f"{n} samples are too few for the covariance of {num_features} features: the Frechet distance is far too "
            "great, and other metrics are uncertain",
            UserWarning,
            stacklevel=2,
        )
    real, fake = (jnp.asarray(x, jnp.float32) for x in (real_features, fake_features))
    metrics = jax.device_get(_on_device(real, fake, real_logits, fake_logits, key))
    exact = min(n, MAX_EXACT)
    return {
        "frechet_distance": frechet_distance(real, fake),
        "wasserstein_exact": wasserstein_exact(real[:exact], fake[:exact]),
        **{name: float(value) for name, value in metrics.items()},
    }


def quick_metrics(real: Array, fake: Array, key: Key) -> dict[str, Array]:
    """`kernel_distance`, `precision`, `recall`, `density` and `coverage` of features, for compiled code.

    Args:
        real, fake: features, [N, F] and [M, F].
        key: for the subsets.
    """
    return {
        "kernel_distance": _kernel_distance(real, fake, key)[0],
        **precision_recall_of_manifolds(real, fake),
        **density_coverage(real, fake),
    }


def _kernel_distance(real: Array, fake: Array, key: Key) -> tuple[Array, Array]:
    """`kernel_distance` with subsets of half the examples, at most 1,000."""
    return kernel_distance(real, fake, key, size=max(2, min(1000, min(len(real), len(fake)) // 2)))


@jax.jit
def _on_device(real: Array, fake: Array, real_logits: Array, fake_logits: Array, key: Key) -> dict[str, Array]:
    direction_key, subset_key = jax.random.split(key)
    n, bandwidth = min(len(real), len(fake)), data_bandwidth(real)
    threshold = jnp.quantile(nearest_distances(real), DUPLICATE_QUANTILE)
    return {
        **quick_metrics(real, fake, subset_key),
        "kernel_distance_std": _kernel_distance(real, fake, subset_key)[1],
        "mmd_squared": mmd_squared(real, fake, bandwidth),
        "mmd_squared_biased": mmd_squared(real, fake, bandwidth, biased=True),
        "sliced_wasserstein": sliced_wasserstein(real, fake, direction_key),
        **one_nearest_neighbour(real[:n], fake[:n]),
        "duplicate_pairs": birthday_duplicates(fake, threshold)["pairs"],
        "distance_ratio": distance_ratio(real[:MAX_EXACT], fake[:MAX_EXACT]),
        "inception_score": inception_score(fake_logits)[0],
        "mode_score": mode_score(real_logits, fake_logits),
        "class_histogram_divergence": class_histogram_divergence(real_logits, fake_logits),
    }
