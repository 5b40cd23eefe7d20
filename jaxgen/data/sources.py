"""The base class of sources: the batch of a step is a pure function of the seed and the step.

A resumed run sees the same batches, there is no iterator state to save, and batches gathered on the host and on a
device have the same indices.
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
MAX_CLASSES = 1 << 16
"""The most classes of a one-hot context; labels with more are identifiers, too many for memory if one-hot."""


class Source(ABC):
    """A finite set of examples with indices 0 .. `len(source)` - 1.

    Attributes:
        name: used in messages.
        levels: integers in `"x"` are 0 .. `levels` - 1, the grey levels of an image; None for real-valued data.
        num_classes: labels are 0 .. `num_classes` - 1; None if unknown.
        resident: whether all examples are in memory, as `arrays`.
    """

    resident: bool

    def __init__(self, name: str, levels: int | None, num_classes: int | None):
        self.name = name
        self.levels = None if levels is None else whole(f"{name}: levels", levels, 2)
        self.num_classes = None if num_classes is None else whole(f"{name}: num_classes", num_classes, 1)
        self._permutation = lru_cache(maxsize=2)(_permutation)  # a cache per source: one call may span two epochs

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one example of `"x"`."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes of all examples in memory."""

    @abstractmethod
    def take(self, indices: np.ndarray) -> Arrays:
        """The examples with these indices."""

    @abstractmethod
    def subset(self, indices: np.ndarray) -> Source:
        """A source of the examples with these indices, in this order."""

    @abstractmethod
    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> Source:
        """The same source with `"context"`, computed by `make` from the arrays of a batch, each example independently.

        Raises:
            DataError: the source has a context already.
        """

    def conditional(self) -> Source:
        """The same source with the one-hot label as `"context"`: float32 `[N, num_classes]`.

        Raises:
            DataError: there is no label, no `num_classes`, or a context already.
        """
        num_classes = require_label(self, {key: array.shape[1:] for key, array in self.head(1).items()})
        return self.with_context(lambda arrays: one_hot(arrays["label"], num_classes))

    def indices_at(self, step: int, size: int, seed: int) -> np.ndarray:
        """The indices of the batch of step `step`, int32 `[size]`.

        Each epoch is a permutation drawn from (`seed`, epoch), cut into `len(self) // size` whole batches.

        Raises:
            DataError: a negative step, a seed outside of 0 .. 2^32 - 1, or a size outside of 1 .. `len(self)`.
        """
        step, size, seed = whole("step", step), whole("size", size, 1), checks.seed(seed)
        if size > len(self):
            raise DataError(f"size must be at most the {len(self)} examples of {self.name}, got {size}")
        epoch, batch = divmod(step, len(self) // size)
        return self._permutation(len(self), seed, epoch)[batch * size : (batch + 1) * size]

    def batch_at(self, step: int, size: int, seed: int, process_index: int = 0, process_count: int = 1) -> Arrays:
        """This process's part of the batch of step `step`; `size` is that of the global batch.

        Concatenated in their order, the parts of all processes equal the batch of a single process.

        Raises:
            DataError: as `indices_at`; `process_index` >= `process_count`; `size` < `process_count`.
        """
        count = whole("process_count", process_count, 1)
        index = whole("process_index", process_index)
        indices = self.indices_at(step, size, seed)
        if index >= count:
            raise DataError(f"process_index must be below process_count={count}, got {index}")
        if size < count:
            raise DataError(f"size must be at least process_count={count}, got {size}")
        return self.take(indices[index * size // count : (index + 1) * size // count])

    def head(self, n: int) -> Arrays:
        """The first `n` examples, or all if there are fewer; for data-dependent initialisation."""
        return self.take(np.arange(min(whole("n", n, 1), len(self))))

    def batches(self, size: int) -> Iterator[Arrays]:
        """All examples in order, in batches of `size`; the last batch may be smaller. For evaluation."""
        size = whole("size", size, 1)
        return (self.take(np.arange(i, min(i + size, len(self)))) for i in range(0, len(self), size))


def one_hot(label: np.ndarray, num_classes: int) -> np.ndarray:
    """Integers `[N]` to float32 `[N, num_classes]`."""
    return (label[:, None] == np.arange(num_classes)).astype(np.float32)


def require_label(source: Source, shapes: dict[str, tuple[int, ...]]) -> int:
    """`source.num_classes`; raises unless labels are one integer per example. `shapes`: of one example, by array."""
    if "label" not in shapes:
        raise DataError(f"{source.name} must have an array 'label' to be conditional, got {sorted(shapes)}")
    if shapes["label"] != ():
        raise DataError(f"{source.name}: 'label' must be one integer per example, got shape {shapes['label']}")
    if source.num_classes is None:
        raise DataError(f"{source.name}: num_classes must be known for a one-hot context, got None")
    if source.num_classes > MAX_CLASSES:
        raise DataError(f"{source.name}: num_classes must be <= {MAX_CLASSES} to be one-hot, got {source.num_classes}")
    return source.num_classes


def require_no_context(source: Source, arrays: Iterable[str]) -> None:
    """Raises if `arrays` has a context already."""
    if "context" in arrays:
        raise DataError(f"{source.name} must not have an array 'context' already")


def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch, int32 `[n]`; read-only, since the cache returns the same array again."""
    order = np.random.default_rng((seed, epoch)).permutation(n).astype(np.int32)
    order.flags.writeable = False
    return order
