"""Datasets on disk, read row by row when a batch asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgen.data import checks
from jaxgen.data.arrays import ArraySource
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source, require_no_context
from jaxgen.data.splits import Splits

RESIDENT_BYTES = 4 << 30
"""Sets up to this size are read into memory once; PNGs decode at some ten thousand a second."""


class RecordSource(Source):
    """Any random-access sequence of feature dicts, with the batches of an `ArraySource` of the same rows.

    Args:
        records: has `len(records)` and `records[i]`, a mapping of features; where it has `__getitems__(indices)` it is
            asked for whole batches.
        fields: which feature is which array of a batch: `{"x": "image", "label": "label"}`.
        name, levels, classes: as in `ArraySource`.
        rows: the numbers of the records to use, in this order; all by default.
        context: what makes `"context"` of the other arrays (`Source.with_context`).

    Raises:
        DataError: where the first record cannot be a row; `take` raises the same for others.
    """

    resident = False

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        fields: Mapping[str, str],
        *,
        levels: int | None = None,
        name: str = "records",
        classes: int | None = None,
        rows: np.ndarray | None = None,
        context: Callable[[Arrays], np.ndarray] | None = None,
    ):
        super().__init__(name, levels, classes)
        if not (hasattr(records, "__len__") and hasattr(records, "__getitem__")):
            raise DataError(f"{name} is {type(records).__name__}: a sequence of mappings is needed")
        self.records, self.fields, self.rows = records, dict(fields), rows
        self.context = context
        if len(self) == 0:
            raise DataError(f"{name} has no rows: at least one is needed")
        self._shapes: dict[str, tuple[int, ...]] = {}  # of each feature in a record
        first = self._stacked(_fetch(self.records, [0] if rows is None else rows[:1].tolist()))
        self._shapes = {key: array.shape[1:] for key, array in first.items()}
        if self.classes is None and "label" in first:
            self.classes = checks.classes_of(first["label"])
        self._first = self.take(np.arange(1))

    def __len__(self) -> int:
        return len(self.records if self.rows is None else self.rows)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._first["x"].shape[1:]

    @property
    def nbytes(self) -> int:
        return len(self) * sum(array.nbytes for array in self._first.values())

    def take(self, indices: np.ndarray) -> Arrays:
        keys = np.asarray(indices) if self.rows is None else self.rows[indices]
        rows = _fetch(self.records, keys.tolist())
        arrays = checks.batch(self._stacked(rows), self.name, self.levels, self.classes, keys)
        if self.context is not None:
            what = f"{self.name}: array 'context'"
            context = checks.numeric(self.context(arrays), what)
            if context.shape[:1] != (len(keys),):
                raise DataError(f"{what} has shape {context.shape}: a row for each of {len(keys)} is needed")
            checks.finite(context, what, keys)
            arrays["context"] = context
        return arrays

    def subset(self, indices: np.ndarray) -> RecordSource:
        indices = checks.numbers_of_rows(indices, self.name, len(self))
        return self._with(rows=indices if self.rows is None else self.rows[indices])

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> RecordSource:
        require_no_context(self, self._first)
        return self._with(context=make)

    def load(self) -> ArraySource:
        """All rows read into memory."""
        arrays = {key: np.empty((len(self), *row.shape[1:]), row.dtype) for key, row in self._first.items()}
        start = 0
        for batch in self.batches(1024):
            for key, rows in batch.items():
                arrays[key][start : start + len(rows)] = rows
            start += len(batch["x"])
        return ArraySource(arrays, levels=self.levels, name=self.name, classes=self.classes)

    def _with(self, **changes: Any) -> RecordSource:
        kept = {key: getattr(self, key) for key in ("levels", "name", "classes", "rows", "context")}
        return RecordSource(self.records, self.fields, **{**kept, **changes})

    def _stacked(self, rows: Sequence[Mapping[str, Any]]) -> Arrays:
        stacked = {}
        for key, feature in self.fields.items():
            for row in rows:
                if not isinstance(row, Mapping) or feature not in row:
                    there = f"features {sorted(map(str, row))}" if isinstance(row, Mapping) else f"a row {row!r:.80}"
                    raise DataError(f"{self.name} has {there}: {feature!r} is not among them")
            values = [checks.as_array(row[feature], f"{self.name}: feature {feature!r}") for row in rows]
            shape = self._shapes.get(key, values[0].shape)
            if any(value.shape != shape for value in values):
                raise DataError(f"{self.name}: feature {feature!r} differs in shape between rows: one shape is needed")
            stacked[key] = np.stack(values)
        return stacked

    def __repr__(self) -> str:
        rows = ", ".join(f"{key} {array.dtype}{list(array.shape[1:])}" for key, array in self._first.items())
        return f"RecordSource({self.name!r}: {len(self)} rows of {rows}; levels={self.levels}, classes={self.classes})"


def in_memory(splits: Splits) -> Splits:
    """The same splits, of `RecordSource`s, read into memory where they are no larger than `RESIDENT_BYTES`."""
    if sum(source.nbytes for source in splits) > RESIDENT_BYTES:
        return splits
    return Splits(*(source.load() for source in splits))


def _fetch(records: Sequence[Mapping[str, Any]], keys: list[int]) -> Sequence[Mapping[str, Any]]:
    if hasattr(records, "__getitems__"):
        return records.__getitems__(keys)
    return [records[key] for key in keys]
