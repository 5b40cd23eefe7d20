"""Several sources side by side: two domains, pairs, or labelled examples with unlabelled ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from jaxgen.data import checks
from jaxgen.data.errors import DataError
from jaxgen.data.sources import Arrays, Source

Sizes = int | Mapping[str, int]
"""One batch size for all sources, or one for each."""


class Zipped:
    """Named sources, each with its own number of examples, batch size and permutation.

    Properties and methods of `Source` return mappings of the sources' values. Equal sources are not aligned: each is
    permuted by its own seed.

    Args:
        sources: by name; they may include other `Zipped`.

    Raises:
        DataError: not a nonempty mapping of sources.
    """

    def __init__(self, sources: Mapping[str, Source | Zipped]):
        if not isinstance(sources, Mapping):
            raise DataError(f"`sources` of Zipped must be a mapping of sources, got {type(sources).__name__}")
        if not sources:
            raise DataError("`sources` of Zipped must not be empty")
        for name, source in sources.items():
            if not isinstance(source, (Source, Zipped)):
                raise DataError(f"`sources` of Zipped must be sources, got {type(source).__name__} as {name!r}")
        self.sources = dict(sources)
        self.name = "+".join(source.name for source in self.sources.values())

    def __len__(self) -> int:
        """The number of examples of the shortest source."""
        return min(map(len, self.sources.values()))

    @property
    def resident(self) -> bool:
        return all(source.resident for source in self.sources.values())

    @property
    def arrays(self) -> dict[str, Any]:
        """Available if all sources are resident."""
        return self._each(lambda source: source.arrays)

    @property
    def event_shape(self) -> dict[str, Any]:
        return self._each(lambda source: source.event_shape)

    @property
    def levels(self) -> dict[str, Any]:
        return self._each(lambda source: source.levels)

    @property
    def num_classes(self) -> dict[str, Any]:
        return self._each(lambda source: source.num_classes)

    @property
    def nbytes(self) -> int:
        return sum(source.nbytes for source in self.sources.values())

    def subset(self, indices: Mapping[str, Any]) -> Zipped:
        """The subsets of the sources named in `indices`, and the other sources whole."""
        if not isinstance(indices, Mapping) or not set(indices) <= set(self.sources):
            raise DataError(f"`indices` must be a mapping with keys among {sorted(self.sources)}, got {indices!r:.80}")
        return type(self)({k: s.subset(indices[k]) if k in indices else s for k, s in self.sources.items()})

    def with_context(self, make: Callable[[Arrays], np.ndarray]) -> Zipped:
        """Each source with `"context"`, computed by `make` from its arrays."""
        return type(self)(self._each(lambda source: source.with_context(make)))

    def conditional(self) -> Zipped:
        """Each source with its one-hot labels as `"context"`. Raises as `Source.conditional`."""
        return type(self)(self._each(lambda source: source.conditional()))

    def indices_at(self, step: int, size: Sizes, seed: int) -> dict[str, Any]:
        """Each source's `indices_at`, with its own size and seed."""
        sizes, seeds = self._sizes(size), self._seeds(seed)
        return {key: source.indices_at(step, sizes[key], seeds[key]) for key, source in self.sources.items()}

    def take(self, indices: Mapping[str, Any]) -> dict[str, Any]:
        """The examples with these indices, by source."""
        return {key: source.take(indices[key]) for key, source in self.sources.items()}

    def batch_at(
        self, step: int, size: Sizes, seed: int, process_index: int = 0, process_count: int = 1
    ) -> dict[str, Any]:
        """Each source's `batch_at`, with its own size and seed."""
        sizes, seeds = self._sizes(size), self._seeds(seed)
        return {
            key: source.batch_at(step, sizes[key], seeds[key], process_index, process_count)
            for key, source in self.sources.items()
        }

    def head(self, n: Sizes) -> dict[str, Any]:
        """The first `n` examples of each source, or all if there are fewer."""
        sizes = self._sizes(n)
        return {key: source.head(sizes[key]) for key, source in self.sources.items()}

    def batches(self, size: int) -> Iterator[dict[str, Any]]:
        """All sources in order, up to the length of the shortest, with equally many examples of each in a batch, so
        that a mean over a batch has the same weight for each source. For evaluation.
        """
        for i in range(0, len(self), checks.whole("size", size, 1)):
            yield self.take(self._range(i, min(i + size, len(self))))

    def _range(self, start: int, stop: int) -> dict[str, Any]:
        return self._each(
            lambda source: source._range(start, stop) if isinstance(source, Zipped) else np.arange(start, stop)
        )

    def _each(self, function: Callable[[Any], Any]) -> dict[str, Any]:
        return {key: function(source) for key, source in self.sources.items()}

    def _sizes(self, size: Sizes) -> Mapping[str, int]:
        if not isinstance(size, Mapping):
            return dict.fromkeys(self.sources, size)
        if set(size) != set(self.sources):
            raise DataError(f"`size` must have an entry for each of {sorted(self.sources)}, got {sorted(size)}")
        return size

    def _seeds(self, seed: int) -> dict[str, int]:
        """A seed per source: with the same one, equal sources would be aligned."""
        words = np.random.SeedSequence(checks.seed(seed)).generate_state(len(self.sources))
        return dict(zip(self.sources, map(int, words), strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sources!r})"


class Paired(Zipped):
    """Sources of equal length whose examples belong together, such as photographs and their edges.

    A batch has the same indices of each source: example `i` of every part is one pair.

    Raises:
        DataError: as `Zipped`; sources that differ in length, or a plain `Zipped` among them.
    """

    def __init__(self, sources: Mapping[str, Source]):
        super().__init__(sources)
        lengths = {name: len(source) for name, source in self.sources.items()}
        if len(set(lengths.values())) > 1 or any(type(source) is Zipped for source in self.sources.values()):
            raise DataError(f"`sources` of pairs must be equally long, each permuted as a whole, got {lengths}")

    def subset(self, indices: Any) -> Paired:
        """The pairs with these indices."""
        return type(self)(self._each(lambda source: source.subset(indices)))

    def _sizes(self, size: Sizes) -> Mapping[str, int]:
        sizes = super()._sizes(size)
        if len(set(sizes.values())) > 1:
            raise DataError(f"`size` must be the same for each part of a pair, got {dict(sizes)}")
        return sizes

    def _seeds(self, seed: int) -> dict[str, int]:
        return dict.fromkeys(self.sources, seed)
