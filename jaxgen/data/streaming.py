"""Prefetching by Grain of batches that do not fit into memory."""

from __future__ import annotations

import sys
from typing import Any

from jaxgen.data.sources import Source


class Stream:
    """`data.batch_at(step, size, seed, process_index, process_count)`, with the next batches prefetched by threads.

    Threads suffice, since reading files and decoding pixels release Python's lock; the remaining code limits all
    threads together to about twenty thousand small images per second.

    Args:
        data: a source or a `Zipped`, called from several threads at once.
        workers: threads, and batches prefetched; 0 reads each batch when it is called for.
    """

    def __init__(
        self, data: Source, size: Any, seed: int, process_index: int = 0, process_count: int = 1, *, workers: int
    ):
        self.data, self.batch_options = data, (size, seed, process_index, process_count)
        self.workers = workers
        self._batches: Any = None
        self._next = 0

    def __call__(self, step: int) -> Any:
        """The batch of a step; prefetching restarts unless the last call was for the step before.

        Raises:
            DataError: raised by reading this batch, in any thread.
        """
        if not self.workers:
            return self.peek(step)
        if self._batches is None or step != self._next:
            self.close()
            self._batches = self._from(step)
        self._next = step + 1
        batch = next(self._batches)
        if isinstance(batch, Exception):
            self.close()
            raise batch
        return batch

    def peek(self, step: int) -> Any:
        """The batch of any step, read now, without prefetching. Raises as `__call__`."""
        return self.data.batch_at(step, *self.batch_options)

    def close(self) -> None:
        """Ends the threads after their current batches; a later call starts new ones."""
        batches, self._batches = self._batches, None
        if batches is not None:
            batches.close()

    def _from(self, step: int) -> Any:
        import grain  # takes a second, so only when needed

        options = grain.ReadOptions(num_threads=self.workers, prefetch_buffer_size=self.workers)
        return iter(grain.MapDataset.range(step, sys.maxsize).map(self._read).to_iter_dataset(options))

    def _read(self, step: Any) -> Any:
        try:
            return self.peek(int(step))
        except Exception as error:  # raised by `__call__`; Grain would change the message
            return error
