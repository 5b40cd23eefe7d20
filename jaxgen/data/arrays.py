"""Datasets in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxgen.data import checks
from jaxgen.data.sources import Arrays, Source, require_no_context


class ArraySource(Source):
    """Named NumPy arrays that share their first axis.

    Floats become float32, 64-bit integers and labels int32, booleans uint8; other integers stay as they are, so images
    are uint8 until they are on a device.

    Args:
        arrays: `"x"`, the data `[N, *event]`, and optionally `"label"` (integers or booleans `[N]` or `[N, 1]`, or
            one-hot `[N, num_classes]`, which become integers `[N]`) and `"context"`.
        name: used in messages.
        levels: number of grey levels of integer images, whose values are 0 .. `levels` - 1; None for other data.
        num_classes: labels are 0 .. `num_classes` - 1; None infers it from boolean and one-hot labels.

    Raises:
        DataError: arrays that are not numeric, not finite, out of range, empty, or unequal in length.
    """

    resident = True

    def __init__(
        self,
        arrays: Mapping[str, Any],
        *,
        levels: int | None = None,
        name: str = "arrays",
        num_classes: int | None = None,
    ):
        super().__init__(name, levels, num_classes)
        self.arrays = checks.batch(arrays, name, self.levels, self.num_classes)
        if self.num_classes is None and "label" in arrays:
            self.num_classes = checks.num_classes_of(arrays["label"])

    def __len__(self) -> int:
        return len(self.arrays["x"])

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self.arrays["x"].shape[1:]

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())

    def take(self, indices: np.ndarray) -> Arrays:
        return {key: array[indices] for key, array in self.arrays.items()}

    def subset(self, indices: np.ndarray) -> ArraySource:
        return self._with(self.take(checks.check_indices(indices, self.name, len(self))))

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> ArraySource:
        require_no_context(self, self.arrays)
        return self._with({**self.arrays, "context": make(self.arrays)})

    def _with(self, arrays: Arrays) -> ArraySource:
        return ArraySource(arrays, levels=self.levels, name=self.name, num_classes=self.num_classes)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{key} {array.dtype}{list(array.shape)}" for key, array in self.arrays.items())
        return f"ArraySource({self.name!r}: {arrays}; levels={self.levels}, num_classes={self.num_classes})"
