"""Tables with numeric and categorical columns, converted to numbers on a common scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jaxgen.data import checks
from jaxgen.data.errors import DataError

SKEWNESS = 2.0
"""Nonnegative columns above it are heavy-tailed (the exponential distribution's is 2)."""


@dataclass(frozen=True)
class Columns:
    """Transforms of the columns of a table, fitted to some examples by `Columns.of` and applied to any.

    Numeric columns: log(1 + x) if heavy-tailed, then standardised, then clipped to [-limit, limit]; the value of a
    constant column becomes 0 and any other +-limit. Categorical columns: one-hot over the fitted values, and one
    more column for unknown values.

    Attributes:
        heavy: [D], the numeric columns that are transformed by log(1 + max(x, 0)).
        mean, std: [D], after the logarithm; std is 0 for constant columns.
        values: by categorical column, in ascending order.
        limit: in standard deviations.
    """

    heavy: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    values: tuple[np.ndarray, ...]
    limit: float

    @staticmethod
    def of(x: np.ndarray, categories: np.ndarray | None = None, limit: float = 5.0) -> Columns:
        """Fits the transforms.

        Args:
            x: [N, D], finite numbers.
            categories: [N, C], any sortable dtype; None: no categorical columns.

        Raises:
            DataError: the arrays are not tables of equal length.
        """
        x, categories = _tables(x, categories)
        centred = x - x.mean(0)
        variance = (centred**2).mean(0)
        heavy = (x.min(0) >= 0) & ((centred**3).mean(0) > SKEWNESS * variance**1.5)
        x = _logarithms(x, heavy)
        # the mean of equal numbers may differ from them in the last digit
        constant = x.min(0) == x.max(0)
        mean, std = np.where(constant, x[0], x.mean(0)), np.where(constant, 0.0, x.std(0))
        return Columns(heavy, mean, std, tuple(np.unique(column) for column in categories.T), limit)

    @property
    def width(self) -> int:
        return len(self.mean) + sum(len(values) + 1 for values in self.values)

    def __call__(self, x: np.ndarray, categories: np.ndarray | None = None) -> np.ndarray:
        """[N, D] and [N, C] to float32 [N, width].

        Raises:
            DataError: the number of columns differs from the fitted table's.
        """
        x, categories = _tables(x, categories)
        if (x.shape[1], categories.shape[1]) != (len(self.mean), len(self.values)):
            raise DataError(
                f"records must have {len(self.mean)} numeric and {len(self.values)} categorical columns, got "
                f"{x.shape[1]} and {categories.shape[1]}"
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
    """Both with two axes; the numbers as float64, so that sums of squares near 1e18 keep their digits."""
    x = checks.as_array(x, "records")
    if x.dtype.kind not in "biuf":
        raise DataError(f"records must be real numbers, got {x.dtype}")
    if not np.isfinite(x).all():
        raise DataError("records must be finite, got NaN or infinite values")
    x = np.asarray(x, np.float64)
    categories = np.empty((*x.shape[:1], 0)) if categories is None else checks.as_array(categories, "categories")
    if x.ndim != 2 or categories.ndim != 2 or len(x) != len(categories) or not x.size:
        raise DataError(
            f"records must be numbers [N, D] and categories [N, C], got shapes {x.shape} and {categories.shape}"
        )
    return x, categories


def _logarithms(x: np.ndarray, heavy: np.ndarray) -> np.ndarray:
    return np.where(heavy, np.log1p(np.where(heavy, np.maximum(x, 0), 0)), x)
