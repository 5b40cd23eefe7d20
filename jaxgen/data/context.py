"""Several attributes of a row as one context."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError
from jaxgen.data.sources import MOST_CLASSES, Arrays, one_hot


def attributes(rows: Arrays, classes: Mapping[str, int | None]) -> np.ndarray:
    """Arrays of these names, one after another in this order: float32 `[rows, features]`.

    `source.with_context(functools.partial(attributes, classes={"label": 10, "age": None}))` conditions on both; real
    attributes are best brought to a standard deviation of about one beforehand.

    Args:
        rows: the source's arrays.
        classes: of each attribute by name; integers 0 .. classes - 1, one a row, become one-hot, with None they and real
            numbers, `[rows]` or `[rows, features]`, are taken as they are.

    Raises:
        DataError: for no attribute, a name that is no array, and values that are no such integers.
    """
    if not isinstance(classes, Mapping):
        raise DataError(f"attributes are {classes!r:.80}: a mapping of names to numbers of classes is needed")
    if not classes:
        raise DataError("attributes are none: a context needs at least one")
    return np.concatenate([_columns(rows, name, number) for name, number in classes.items()], -1)


def _columns(rows: Arrays, name: str, classes: int | None) -> np.ndarray:
    if name not in rows:
        raise DataError(f"attribute {name!r} is not among the arrays {sorted(rows)}")
    values = np.asarray(rows[name])
    if classes is not None and whole(f"classes of attribute {name!r}", classes, 1) > MOST_CLASSES:
        raise DataError(f"attribute {name!r} has {classes} classes: at most {MOST_CLASSES} are made one-hot")
    if values.ndim > 2 or (classes is not None and values.ndim != 1):
        needed = "[rows] or [rows, features]" if classes is None else "[rows], as of classes,"
        raise DataError(f"attribute {name!r} has shape {values.shape}: {needed} is needed")
    if classes is None:
        return values.reshape(len(values), -1).astype(np.float32)
    if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= classes:
        raise DataError(f"attribute {name!r} is not of integers 0..{classes - 1}, its {classes} classes")
    return one_hot(values, classes)
