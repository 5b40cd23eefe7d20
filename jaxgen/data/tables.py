"""Records with numeric and categorical columns, made into rows of numbers of one scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxgen.data import checks
from jaxgen.data.errors import DataError

SKEWNESS = 2.0
"""Above it, a column without negative values has a heavy tail (an exponential distribution's is 2)."""


@dataclass(frozen=True)
class Columns:
    """What each column of a table becomes, learned from some rows by `Columns.of` and applied to any.

    Numeric columns: log(1 + x) where they are heavy-tailed, then zero mean and unit variance, then clipped to
    [-limit, limit]. A column that was constant is 0 there, and any other value of it is at the limit. Categorical
    columns: one-hot over the values there were, and one column more for any other.

    Attributes:
        heavy: [D], which numeric columns go through the logarithm, their negative values as 0.
        mean, std: [D], after it; std is 0 of a constant column.
        values: of each categorical column, in ascending order.
        limit: in standard deviations.
    """

    heavy: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    values: tuple[np.ndarray, ...]
    limit: float

    @staticmethod
    def of(x: np.ndarray, categories: np.ndarray | None = None, limit: float = 5.0) -> Columns:
        """Args:
            x: [rows, D], finite numbers.
            categories: [rows, C], of any type that compares; None where there are none.

        Raises:
            DataError: arrays that are no tables of the same rows.
        """
        x, categories = _tables(x, categories)
        centred = x - x.mean(0)
        variance = (centred**2).mean(0)
        heavy = (x.min(0) >= 0) & ((centred**3).mean(0) > SKEWNESS * variance**1.5)
        x = _logarithms(x, heavy)
        # a mean of equal numbers may differ from them in the last digit
        constant = x.min(0) == x.max(0)
        mean, std = np.where(constant, x[0], x.mean(0)), np.where(constant, 0.0, x.std(0))
        return Columns(heavy, mean, std, tuple(np.unique(column) for column in categories.T), limit)

    @property
    def width(self) -> int:
        return len(self.mean) + sum(len(values) + 1 for values in self.values)

    def __call__(self, x: np.ndarray, categories: np.ndarray | None = None) -> np.ndarray:
        """float32 [rows, width].

        Raises:
            DataError: another number of columns than were learned from.
        """
        x, categories = _tables(x, categories)
        if (x.shape[1], categories.shape[1]) != (len(self.mean), len(self.values)):
            raise DataError(
                f"records have {x.shape[1]} numeric and {categories.shape[1]} categorical columns: "
                f"{len(self.mean)} and {len(self.values)} are needed"
            )
        centred = _logarithms(x, self.heavy) - self.mean
        constant = self.std == 0
        scaled = np.where(constant, self.limit * np.sign(centred), centred / np.where(constant, 1.0, self.std))
        parts = [np.clip(scaled, -self.limit, self.limit)]
        for column, values in zip(categories.T, self.values, strict=True):
            one_hot = column[:, None] == values
            parts += [one_hot, ~one_hot.any(1, keepdims=True)]
        return np.concatenate(parts, 1, dtype=np.float32)


def _tables(x: np.ndarray, categories: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both with two axes; the numbers in float64, where a sum of squares of 1e9 keeps its digits."""
    x = checks.as_array(x, "records")
    if x.dtype.kind not in "biuf":
        raise DataError(f"records have dtype {x.dtype}: real numbers are needed")
    if not np.isfinite(x).all():
        raise DataError("records have NaN or infinite values: finite numbers are needed")
    x = np.asarray(x, np.float64)
    categories = np.empty((*x.shape[:1], 0)) if categories is None else checks.as_array(categories, "categories")
    if x.ndim != 2 or categories.ndim != 2 or len(x) != len(categories) or not x.size:
        raise DataError(
            f"records have numbers of shape {x.shape} and categories of shape {categories.shape}: "
            "two tables [rows, columns] of the same rows are needed"
        )
    return x, categories


def _logarithms(x: np.ndarray, heavy: np.ndarray) -> np.ndarray:
    return np.where(heavy, np.log1p(np.where(heavy, np.maximum(x, 0), 0)), x)
