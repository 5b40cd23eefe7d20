"""Several sources side by side: two domains, or labelled rows with unlabelled ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from jaxgen.data import checks
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source

Sizes = int | Mapping[str, int]
"""One batch size for all sources, or one for each."""


class Zipped:
    """A mapping of sources, each with its own number of rows, its own batch size and its own permutation.

    Everything a source answers, this answers with a mapping of the sources' answers. Two equal sources are not aligned:
    each draws from a seed of its own.

    Args:
        sources: by name; other `Zipped` may be among them.

    Raises:
        DataError: where there is no source, or something else.
    """

    def __init__(self, sources: Mapping[str, Source | Zipped]):
        if not isinstance(sources, Mapping) or not all(isinstance(s, (Source, Zipped)) for s in sources.values()):
            raise DataError(f"Zipped got {type(sources).__name__} of other things: a mapping of sources is needed")
        if not sources:
            raise DataError("Zipped got no sources: at least one is needed")
        self.sources = dict(sources)
        self.name = "+".join(source.name for source in self.sources.values())

    def __len__(self) -> int:
        """The rows of the shortest source."""
        return min(map(len, self.sources.values()))

    @property
    def resident(self) -> bool:
        return all(source.resident for source in self.sources.values())

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays of each source; only where all are resident."""
        return {key: source.arrays for key, source in self.sources.items()}

    @property
    def event_shape(self) -> dict[str, Any]:
        return {key: source.event_shape for key, source in self.sources.items()}

    @property
    def nbytes(self) -> int:
        return sum(source.nbytes for source in self.sources.values())

    def indices_at(self, step: int, size: Sizes, seed: int) -> dict[str, Any]:
        """What each source's `indices_at` gives, with its own size and seed."""
        sizes, seeds = self._sizes(size), self._seeds(seed)
        return {key: source.indices_at(step, sizes[key], seeds[key]) for key, source in self.sources.items()}

    def take(self, indices: Mapping[str, Any]) -> dict[str, Any]:
        """The rows of these numbers, by source."""
        return {key: source.take(indices[key]) for key, source in self.sources.items()}

    def batch_at(
        self, step: int, size: Sizes, seed: int, process_index: int = 0, process_count: int = 1
    ) -> dict[str, Any]:
        """What each source's `batch_at` gives, with its own size and seed."""
        sizes, seeds = self._sizes(size), self._seeds(seed)
        return {
            key: source.batch_at(step, sizes[key], seeds[key], process_index, process_count)
            for key, source in self.sources.items()
        }

    def head(self, n: Sizes) -> dict[str, Any]:
        """The first `n` rows of each source, or all where there are fewer."""
        sizes = self._sizes(n)
        return {key: source.head(sizes[key]) for key, source in self.sources.items()}

    def batches(self, size: Sizes) -> Iterator[dict[str, Arrays]]:
        """Each source in order, until the shortest is through."""
        sizes = self._sizes(size)
        parts = [source.batches(sizes[key]) for key, source in self.sources.items()]
        return (dict(zip(self.sources, batches, strict=True)) for batches in zip(*parts, strict=False))

    def _sizes(self, size: Sizes) -> Mapping[str, int]:
        if not isinstance(size, Mapping):
            return dict.fromkeys(self.sources, size)
        if set(size) != set(self.sources):
            raise DataError(f"size has entries {sorted(size)}: one for each of {sorted(self.sources)} is needed")
        return size

    def _seeds(self, seed: int) -> dict[str, int]:
        """A seed for each position: with one for all, equal sources would show the same rows together."""
        words = np.random.SeedSequence(checks.seed(seed)).generate_state(len(self.sources))
        return dict(zip(self.sources, map(int, words), strict=True))

    def __repr__(self) -> str:
        return f"Zipped({self.sources!r})"
