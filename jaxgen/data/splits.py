"""Train, validation and test splits, and how a set without them is split."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source


class Splits(NamedTuple):
    """Disjoint sources: `train` for learning, `valid` for model selection, `test` for reported metrics.

    `jaxgen.data.source` returns all three; `valid` and `test` are optional for your own data.
    """

    train: Source
    valid: Source | None = None
    test: Source | None = None

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> Splits:
        """The same splits with `"context"`: `Source.with_context`."""
        return Splits(*(None if source is None else source.with_context(make) for source in self))


def split_array(source: Source, name: str, batch_size: int = 4096) -> np.ndarray:
    """One array of a whole split, [N, ...]."""
    return np.concatenate([batch[name] for batch in source.batches(batch_size)])


def carve(train: Source, valid: Source | None = None, test: Source | None = None) -> Splits:
    """Takes each missing split from `train`: a tenth of its examples, from the end of the permutation of seed 0.

    A set without splits becomes 80 / 10 / 10. Existing splits, such as a published test set, are not changed.

    Raises:
        DataError: `train` has too few examples.
    """
    missing = (valid is None) + (test is None)
    if not missing:
        return Splits(train, valid, test)
    tenth = max(1, len(train) // 10)
    if missing * tenth >= len(train):
        raise DataError(f"{train.name} must have at least {missing + 1} examples to be split, got {len(train)}")
    order = np.random.default_rng(0).permutation(len(train))
    if test is None:
        order, indices = order[:-tenth], order[-tenth:]
        test = train.subset(indices)
    if valid is None:
        order, indices = order[:-tenth], order[-tenth:]
        valid = train.subset(indices)
    return Splits(train.subset(order), valid, test)
