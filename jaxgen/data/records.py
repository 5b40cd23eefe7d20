"""Datasets on disk, whose examples are read when a batch needs them."""

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
"""Sets up to this size are read into memory; about ten thousand PNGs are decoded per second."""


class RecordSource(Source):
    """A random-access sequence of feature dicts; its batches equal those of an `ArraySource` of the same examples.

    Args:
        records: has `len(records)` and `records[i]`, a mapping of features; its `__getitems__(indices)`, if any, reads
            whole batches.
        fields: the feature that each array of a batch is read from: `{"x": "image", "label": "label"}`.
        name, levels, num_classes: as in `ArraySource`.
        indices: the records to use, in this order; None: all.
        context: computes `"context"` from the other arrays (`Source.with_context`).

    Raises:
        DataError: the first record is not a valid example; `take` checks the others.
    """

    resident = False

    def __init__(
        self,
        records: Sequence[Mapping[str, Any]],
        fields: Mapping[str, str],
        *,
        levels: int | None = None,
        name: str = "records",
        num_classes: int | None = None,
        indices: np.ndarray | None = None,
        context: Callable[[Arrays], np.ndarray] | None = None,
    ):
        super().__init__(name, levels, num_classes)
        if not (hasattr(records, "__len__") and hasattr(records, "__getitem__")):
            raise DataError(f"{name} must be a sequence of mappings, got {type(records).__name__}")
        self.records, self.fields, self.indices = records, dict(fields), indices
        self.context = context
        if len(self) == 0:
            raise DataError(f"{name} must have at least one example, got none")
        self._shapes: dict[str, tuple[int, ...]] = {}  # by array, the shape in a record
        first = self._stacked(_fetch(self.records, [0] if indices is None else indices[:1].tolist()))
        self._shapes = {key: array.shape[1:] for key, array in first.items()}
        if self.num_classes is None and "label" in first:
            self.num_classes = checks.num_classes_of(first["label"])
        self._first = self.take(np.arange(1))

    def __len__(self) -> int:
        return len(self.records if self.indices is None else self.indices)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return self._first["x"].shape[1:]

    @property
    def nbytes(self) -> int:
        return len(self) * sum(array.nbytes for array in self._first.values())

    def take(self, indices: np.ndarray) -> Arrays:
        keys = np.asarray(indices) if self.indices is None else self.indices[indices]
        records = self._stacked(_fetch(self.records, keys.tolist()))
        arrays = checks.batch(records, self.name, self.levels, self.num_classes, keys)
        if self.context is not None:
            name = f"{self.name}: array 'context'"
            context = checks.numeric(self.context(arrays), name)
            if context.shape[:1] != (len(keys),):
                raise DataError(f"{name} must have {len(keys)} rows, one per example, got shape {context.shape}")
            checks.finite(context, name, keys)
            arrays["context"] = context
        return arrays

    def subset(self, indices: np.ndarray) -> RecordSource:
        indices = checks.check_indices(indices, self.name, len(self))
        return self._with(indices=indices if self.indices is None else self.indices[indices])

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> RecordSource:
        require_no_context(self, self._first)
        return self._with(context=make)

    def load(self) -> ArraySource:
        """The examples, read into memory."""
        arrays = {key: np.empty((len(self), *first.shape[1:]), first.dtype) for key, first in self._first.items()}
        start = 0
        for batch in self.batches(1024):
            for key, part in batch.items():
                arrays[key][start : start + len(part)] = part
            start += len(batch["x"])
        return ArraySource(arrays, levels=self.levels, name=self.name, num_classes=self.num_classes)

    def _with(self, **changes: Any) -> RecordSource:
        kept = {key: getattr(self, key) for key in ("levels", "name", "num_classes", "indices", "context")}
        return RecordSource(self.records, self.fields, **{**kept, **changes})

    def _stacked(self, records: Sequence[Mapping[str, Any]]) -> Arrays:
        stacked = {}
        for key, feature in self.fields.items():
            for record in records:
                if not isinstance(record, Mapping) or feature not in record:
                    got = f"features {sorted(map(str, record))}" if isinstance(record, Mapping) else f"{record!r:.80}"
                    raise DataError(f"{self.name}: records must have a feature {feature!r}, got {got}")
            values = [checks.as_array(record[feature], f"{self.name}: feature {feature!r}") for record in records]
            shape = self._shapes.get(key, values[0].shape)
            if any(value.shape != shape for value in values):
                raise DataError(f"{self.name}: feature {feature!r} must have the same shape in all records")
            stacked[key] = np.stack(values)
        return stacked

    def __repr__(self) -> str:
        arrays = ", ".join(f"{key} {array.dtype}{list(array.shape[1:])}" for key, array in self._first.items())
        options = f"levels={self.levels}, num_classes={self.num_classes}"
        return f"RecordSource({self.name!r}: {len(self)} examples with {arrays}; {options})"


def in_memory(splits: Splits) -> Splits:
    """Splits of `RecordSource`s, read into memory if they have at most `RESIDENT_BYTES`."""
    if sum(source.nbytes for source in splits) > RESIDENT_BYTES:
        return splits
    return Splits(*(source.load() for source in splits))


def _fetch(records: Sequence[Mapping[str, Any]], keys: list[int]) -> Sequence[Mapping[str, Any]]:
    if hasattr(records, "__getitems__"):
        return records.__getitems__(keys)
    return [records[key] for key in keys]
