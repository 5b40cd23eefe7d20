"""Several attributes of an example as one context."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError
from jaxgen.data.sources import MAX_CLASSES, Arrays, one_hot


def attributes(arrays: Arrays, num_classes: Mapping[str, int | None]) -> np.ndarray:
    """The named arrays, concatenated in this order: float32 `[N, features]`.

    `source.with_context(functools.partial(attributes, num_classes={"label": 10, "age": None}))` conditions on both.
    Scale real attributes to a standard deviation of about one beforehand.

    Args:
        arrays: of a source.
        num_classes: by attribute, the number K of its classes: integers 0 .. K - 1 `[N]` become one-hot. None: numbers
            `[N]` or `[N, features]` are used unchanged.

    Raises:
        DataError: no attribute, a name that is not an array, or values that are not such integers.
    """
    if not isinstance(num_classes, Mapping) or not num_classes:
        raise DataError(f"attributes must be a nonempty mapping from names to num_classes, got {num_classes!r:.80}")
    return np.concatenate([_columns(arrays, name, classes) for name, classes in num_classes.items()], -1)


def _columns(arrays: Arrays, name: str, num_classes: int | None) -> np.ndarray:
    if name not in arrays:
        raise DataError(f"attribute {name!r} must be among the arrays {sorted(arrays)}")
    values = np.asarray(arrays[name])
    if num_classes is not None and whole(f"num_classes of attribute {name!r}", num_classes, 1) > MAX_CLASSES:
        raise DataError(f"attribute {name!r} must have at most {MAX_CLASSES} classes to be one-hot, got {num_classes}")
    if values.ndim > 2 or (num_classes is not None and values.ndim != 1):
        needed = "[N] or [N, features]" if num_classes is None else "[N], a class per example"
        raise DataError(f"attribute {name!r} must be {needed}, got shape {values.shape}")
    if num_classes is None:
        return values.reshape(len(values), -1).astype(np.float32)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= num_classes:
        raise DataError(f"attribute {name!r} must be integers 0..{num_classes - 1}, got {values!r:.80}")
    return one_hot(values, num_classes)
