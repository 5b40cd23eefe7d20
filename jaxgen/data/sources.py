"""What every source answers: the batch of any step, as a pure function of the seed and the step.

So a run resumed at step `i` sees what it would have seen, no iterator has a state to save, and batches gathered on the
host and on a device are equal because their indices are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache

import numpy as np

from jaxgen.data import checks
from jaxgen.data.checks import whole
from jaxgen.data.errors import DataError

Arrays = dict[str, np.ndarray]
"""One batch (`jaxgen.contracts.Batch`): arrays by name that share their first axis."""
MOST_CLASSES = 1 << 16
"""Of a one-hot context: labels beyond are identifiers, and a row of as many floats would not fit into memory."""


class Source(ABC):
    """A finite set of rows, numbered 0 .. `len(source)` - 1.

    Attributes:
        name: what messages call it.
        levels: integers in `"x"` are 0 .. `levels` - 1, the grey levels of an image; None for real-valued data.
        classes: labels are 0 .. `classes` - 1; None where that is not known.
        resident: whether all rows are in memory, as `arrays`.
    """

    resident: bool

    def __init__(self, name: str, levels: int | None, classes: int | None):
        self.name = name
        self.levels = None if levels is None else whole(f"{name}: levels", levels, 2)
        self.classes = None if classes is None else whole(f"{name}: classes", classes, 1)
        self._permutation = lru_cache(maxsize=2)(_permutation)  # each source its own: two epochs meet in a call

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one row of `"x"`."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of all rows, in memory or if they were."""

    @abstractmethod
    def take(self, indices: np.ndarray) -> Arrays:
        """The rows of these numbers."""

    @abstractmethod
    def subset(self, indices: np.ndarray) -> Source:
        """A source of these rows alone, in this order."""

    @abstractmethod
    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> Source:
        """The same source with `"context"`, which `make` computes from the arrays of any rows, each from its own row.

        Raises:
            DataError: where there is a context already.
        """

    def conditional(self) -> Source:
        """The same source with `"context"`, the label one-hot: float32 `[rows, classes]`.

        Raises:
            DataError: where there is no label, no number of classes, or a context already.
        """
        classes = require_label(self, {key: array.shape[1:] for key, array in self.head(1).items()})
        return self.with_context(lambda rows: one_hot(rows["label"], classes))

    def indices_at(self, step: int, size: int, seed: int) -> np.ndarray:
        """The numbers of the rows that step `step` sees, int32 `[size]`.

        Each epoch is a permutation drawn from (`seed`, epoch) without its ragged tail: `len(self) // size` batches.

        Raises:
            DataError: for a negative step, a seed outside of 0 .. 2^32 - 1, and a size that is not in 1 .. `len(self)`.
        """
        step, size, seed = whole("step", step), whole("size", size, 1), checks.seed(seed)
        if size > len(self):
            raise DataError(f"size is {size}: {self.name} has {len(self)} rows, and a batch takes each at most once")
        epoch, batch = divmod(step, len(self) // size)
        return self._permutation(len(self), seed, epoch)[batch * size : (batch + 1) * size]

    def batch_at(self, step: int, size: int, seed: int, process_index: int = 0, process_count: int = 1) -> Arrays:
        """This process' part of the batch of step `step`; `size` is the global batch's, over all processes.

        The parts of all processes, in their order, are the batch that one process alone would see.

        Raises:
            DataError: as `indices_at`, and where a process has no index below `process_count` or no row.
        """
        count = whole("process_count", process_count, 1)
        index = whole("process_index", process_index)
        indices = self.indices_at(step, size, seed)
        if index >= count:
            raise DataError(f"process_index is {index}: one below process_count, {count}, is needed")
        if size < count:
            raise DataError(f"size is {size}: at least one row for each of {count} processes is needed")
        return self.take(indices[index * size // count : (index + 1) * size // count])

    def head(self, n: int) -> Arrays:
        """The first `n` rows, or all where there are fewer: for initialisation from data."""
        return self.take(np.arange(min(whole("n", n, 1), len(self))))

    def batches(self, size: int) -> Iterator[Arrays]:
        """Every row once and in order, `size` at a time; the last batch holds what is left. For evaluation."""
        size = whole("size", size, 1)
        return (self.take(np.arange(i, min(i + size, len(self)))) for i in range(0, len(self), size))


def one_hot(label: np.ndarray, classes: int) -> np.ndarray:
    """float32 `[rows, classes]` from integers `[rows]`."""
    return (label[:, None] == np.arange(classes)).astype(np.float32)


def require_label(source: Source, shapes: dict[str, tuple[int, ...]]) -> int:
    """The number of classes, where a one-hot context can be made of one label a row; `shapes` are those of rows."""
    if "label" not in shapes:
        raise DataError(f"{source.name} has arrays {sorted(shapes)}: a context needs an array 'label'")
    if shapes["label"] != ():
        raise DataError(f"{source.name}: a label has shape {shapes['label']}: a context needs one integer a row")
    if source.classes is None:
        raise DataError(f"{source.name} has classes=None: a context needs the number of classes")
    if source.classes > MOST_CLASSES:
        raise DataError(f"{source.name} has classes={source.classes}: at most {MOST_CLASSES} make a one-hot context")
    return source.classes


def require_no_context(source: Source, arrays: Iterable[str]) -> None:
    """Refuses a source whose arrays of these names have a context among them."""
    if "context" in arrays:
        raise DataError(f"{source.name} has an array 'context' already")


def _permutation(rows: int, seed: int, epoch: int) -> np.ndarray:
    """One epoch's order, int32 `[rows]`; read-only, because the cache hands out the same array again."""
    order = np.random.default_rng((seed, epoch)).permutation(rows).astype(np.int32)
    order.flags.writeable = False
    return order
