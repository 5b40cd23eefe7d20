"""Splits for semi-supervised learning: few examples keep their labels."""

from __future__ import annotations

import numpy as np

from jaxgen.data.errors import DataError
from jaxgen.data.sources import Source
from jaxgen.data.zipped import Zipped

__all__ = ["semi_supervised"]


def semi_supervised(train: Source, num_labels: int, seed: int) -> Zipped:
    """Sources `labelled`, with the same number of examples of each class, and `unlabelled`, the others.

    Args:
        num_labels: examples that keep their labels, a multiple of the number of classes.
        seed: chooses them.

    Raises:
        DataError: data without labels, or a number of labels that cannot be divided over the classes or is too large.
    """
    examples = train.head(len(train))
    if "label" not in examples or train.num_classes is None:
        raise DataError(f"{train.name} must have labels of a known number of classes for semi-supervised learning")
    per_class, rest = divmod(num_labels, train.num_classes)
    if rest or not per_class:
        raise DataError(f"`labels` must be a multiple of the {train.num_classes} classes, got {num_labels}")
    order = np.random.default_rng(seed).permutation(len(train))
    members = [order[examples["label"][order] == c] for c in range(train.num_classes)]
    if (smallest := min(map(len, members))) <= per_class:
        raise DataError(f"`labels` must leave unlabelled examples of each class, got {num_labels}; one has {smallest}")
    chosen = np.concatenate([of_class[:per_class] for of_class in members])
    others = np.concatenate([of_class[per_class:] for of_class in members])
    return Zipped({"labelled": train.subset(chosen), "unlabelled": train.subset(others)})
