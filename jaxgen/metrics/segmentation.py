"""Metrics of segmentations: maps of classes, one for each pixel."""

from __future__ import annotations

import jax.numpy as jnp

from jaxgen.arguments import as_arrays, as_integers, check_counts, check_finite, check_range
from jaxgen.contracts import Array


def segmentation_scores(predicted: Array, labels: Array, num_classes: int) -> dict[str, Array]:
    """The metrics of Long et al. 2015, "Fully Convolutional Networks for Semantic Segmentation", section 5.

    With n_ij the number of pixels of class i predicted as j: `pixel_accuracy`, sum_i n_ii / sum_ij n_ij;
    `class_accuracy`, the mean over classes of n_ii / sum_j n_ij; `iou`, that of n_ii / (sum_j n_ij + sum_j n_ji -
    n_ii). Classes without pixels do not count. They are not means over examples: compute them on a whole set.

    Of translations from label maps, segmented by a network that was trained on photographs, they are the FCN score of
    Isola et al. 2017 (section 4.1), for any such network a "label-back" score.

    Args:
        predicted, labels: [B, ...], integers 0..num_classes-1.

    Raises:
        ValueError: other shapes or classes (traced ones are not checked).
    """
    check_counts(num_classes=num_classes)
    predicted = as_integers("B ...", predicted=predicted)
    labels = as_integers("B ...", {"B": predicted.shape[0], "...": predicted.shape[1:]}, labels=labels)
    for name, value in (("predicted", predicted), ("labels", labels)):
        check_range(name, value, 0, num_classes - 1, whole=True)
    pairs = labels.astype(jnp.int32) * num_classes + predicted
    counts = jnp.bincount(pairs.ravel(), length=num_classes**2).reshape(num_classes, num_classes)
    correct, of_class, of_prediction = jnp.diag(counts), counts.sum(1), counts.sum(0)

    def mean(values: Array, present: Array) -> Array:
        return jnp.where(present, values, 0).sum() / present.sum()

    union = of_class + of_prediction - correct
    return {
        "pixel_accuracy": correct.sum() / counts.sum(),
        "class_accuracy": mean(correct / jnp.maximum(of_class, 1), of_class > 0),
        "iou": mean(correct / jnp.maximum(union, 1), union > 0),
    }


def nearest_colours(x: Array, palette: Array) -> Array:
    """The index of the nearest colour for each pixel, [B, H, W, C] to integers [B, H, W]; the first of equal ones.

    Args:
        palette: [K, C], in the units of x.
    """
    x, palette = as_arrays("B H W C", "K C", x=x, palette=palette)
    check_finite(x=x, palette=palette)
    return ((x[..., None, :] - palette) ** 2).sum(-1).argmin(-1)
