"""All figures of generated samples by their features and classes in one go, and the record of where they come from."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.arguments import arrays, check_finite, check_rows, check_shapes
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

EXACT_ROWS = 1000
"""The most rows of a set that the best assignment, whose time is cubic, and the ratio of distances are made of."""
DUPLICATES = 0.01
"""Two samples are duplicates where they are nearer than all but this share of the real rows are to their nearest."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Figures of generated samples, and what has to be the same where they are compared with others.

    Attributes:
        figures: by name.
        real_samples, fake_samples: numbers of rows.
        extractor: the name of what made the features.
        split: which real rows.
    """

    figures: Mapping[str, float]
    real_samples: int
    fake_samples: int
    extractor: str
    split: str


def measure(real: Any, fake: Any, extractor: Any, key: Key, split: str = "test") -> Measured:
    """`feature_metrics` of data and samples, with their provenance.

    Args:
        real, fake: rows in data units, in random order.
        extractor: has `features(x)` [B, F], `logits(x)` [B, K] and a `name`.
        split: the name of the split that `real` is.

    Raises:
        ValueError, TypeError: as `feature_metrics`; rows of different shapes.
    """
    check_shapes("N ...", "M ...", real=real, fake=fake)
    figures = feature_metrics(
        extractor.features(real), extractor.features(fake), extractor.logits(real), extractor.logits(fake), key
    )
    return Measured(figures, len(real), len(fake), extractor.name, split)


def feature_metrics(
    real_features: Array, fake_features: Array, real_logits: Array, fake_logits: Array, key: Key
) -> dict[str, float]:
    """Every figure of this package that features and classes of real and generated rows have.

    The Inception score is of one split. The test of nearest neighbours takes as many rows of either set as both have,
    `wasserstein_exact` and `distance_ratio` at most `EXACT_ROWS`, the kernel distance subsets of half the rows and at
    most 1,000. `duplicate_pairs` are of generated rows that are nearer than the nearest hundredth of the real ones.

    Args:
        real_features, fake_features: [N, F] and [M, F].
        real_logits, fake_logits: [N, K] and [M, K].
        key: of the projections and subsets.

    Raises:
        ValueError: naming the argument: features or logits of different widths, numbers of rows that differ between
            features and logits, fewer than 6 real or 4 generated rows, NaN or infinite features.
        TypeError: naming the argument: not real numbers.

    Warns:
        UserWarning: where there are fewer rows than features: a covariance of less than full rank is of little worth.
    """
    real_features, fake_features, real_logits, fake_logits = arrays(
        "N F", "M F", "N K", "M K",
        real_features=real_features, fake_features=fake_features, real_logits=real_logits, fake_logits=fake_logits,
    )  # fmt: skip
    # more rows than the neighbours that `density_coverage` and `precision_recall_of_manifolds` ask for
    check_rows(6, real_features=real_features)
    check_rows(4, fake_features=fake_features)
    check_finite(real_features=real_features, fake_features=fake_features)
    check_logits(real_logits=real_logits, fake_logits=fake_logits)
    rows, features = min(len(real_features), len(fake_features)), real_features.shape[1]
    if rows < features:
        warnings.warn(
            f"{rows} samples of {features} features are too few for their covariance: the Frechet distance is far too "
            "great, and other figures are uncertain",
            UserWarning,
            stacklevel=2,
        )
    real, fake = (jnp.asarray(x, jnp.float32) for x in (real_features, fake_features))
    figures = jax.device_get(_on_device(real, fake, real_logits, fake_logits, key))
    exact = min(rows, EXACT_ROWS)
    return {
        "frechet_distance": frechet_distance(real, fake),
        "wasserstein_exact": wasserstein_exact(real[:exact], fake[:exact]),
        **{name: float(value) for name, value in figures.items()},
    }


def quick_metrics(real: Array, fake: Array, key: Key) -> dict[str, Array]:
    """`kernel_distance`, `precision`, `recall`, `density` and `coverage` of features: for compiled code, on a schedule.

    Args:
        real, fake: features, [N, F] and [M, F].
        key: of the subsets.
    """
    return {
        "kernel_distance": _kernel_distance(real, fake, key)[0],
        **precision_recall_of_manifolds(real, fake),
        **density_coverage(real, fake),
    }


def _kernel_distance(real: Array, fake: Array, key: Key) -> tuple[Array, Array]:
    """Of subsets of half the rows, at most 1,000."""
    return kernel_distance(real, fake, key, size=max(2, min(1000, min(len(real), len(fake)) // 2)))


@jax.jit
def _on_device(real: Array, fake: Array, real_logits: Array, fake_logits: Array, key: Key) -> dict[str, Array]:
    direction_key, subset_key = jax.random.split(key)
    rows, bandwidth = min(len(real), len(fake)), data_bandwidth(real)
    return {
        **quick_metrics(real, fake, subset_key),
        "kernel_distance_std": _kernel_distance(real, fake, subset_key)[1],
        "mmd_squared": mmd_squared(real, fake, bandwidth),
        "mmd_squared_biased": mmd_squared(real, fake, bandwidth, biased=True),
        "sliced_wasserstein": sliced_wasserstein(real, fake, direction_key),
        **one_nearest_neighbour(real[:rows], fake[:rows]),
        "duplicate_pairs": birthday_duplicates(fake, jnp.quantile(nearest_distances(real), DUPLICATES))["pairs"],
        "distance_ratio": distance_ratio(real[:EXACT_ROWS], fake[:EXACT_ROWS]),
        "inception_score": inception_score(fake_logits)[0],
        "mode_score": mode_score(real_logits, fake_logits),
        "class_histogram_divergence": class_histogram_divergence(real_logits, fake_logits),
    }
