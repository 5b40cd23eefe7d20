"""Train, validation and test rows, and the one way in which they are taken from a set that comes without."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source


class Splits(NamedTuple):
    """Sources that share no row: models learn from `train`, are chosen by `valid` and reported on `test`.

    `jaxgen.data.source` gives all three; who brings data of their own may leave out the others.
    """

    train: Source
    valid: Source | None = None
    test: Source | None = None

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> Splits:
        """The same splits with `"context"`, which `make` computes from rows: `Source.with_context`."""
        return Splits(*(None if source is None else source.with_context(make) for source in self))


def split_array(source: Source, name: str, batch_size: int = 4096) -> np.ndarray:
    """One array of a whole split, [N, ...]."""
    return np.concatenate([batch[name] for batch in source.batches(batch_size)])


def carve(train: Source, valid: Source | None = None, test: Source | None = None) -> Splits:
    """Takes each missing split from `train`: a tenth of its rows, from the end of the permutation of seed 0.

    A set without splits becomes 80 / 10 / 10. What is given stays as it is: a published test set is never touched.

    Raises:
        DataError: where `train` has too few rows to give any away.
    """
    missing = (valid is None) + (test is None)
    if not missing:
        return Splits(train, valid, test)
    tenth = max(1, len(train) // 10)
    if missing * tenth >= len(train):
        raise DataError(f"{train.name} has {len(train)} rows: {missing + 1} are needed to split it")
    order = np.random.default_rng(0).permutation(len(train))
    if test is None:
        order, rows = order[:-tenth], order[-tenth:]
        test = train.subset(rows)
    if valid is None:
        order, rows = order[:-tenth], order[-tenth:]
        valid = train.subset(rows)
    return Splits(train.subset(order), valid, test)
