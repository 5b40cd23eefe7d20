"""Batches of data that do not fit into memory, read ahead by Grain while a step runs."""

from __future__ import annotations

import sys
from typing import Any

from jaxgen.data.sources import Source


class Stream:
    """`data.batch_at(step, size, seed, process_index, process_count)`, the next steps' read ahead by threads.

    Threads suffice: files are read, and pixels decoded, outside of Python's lock. What is left within bounds them all
    together, at some twenty thousand small images a second.

    Args:
        data: a source, or a `Zipped`; several threads ask it at a time.
        workers: threads, each of which reads a batch; as many batches are ahead. 0 reads when asked.
    """

    def __init__(
        self, data: Source, size: Any, seed: int, process_index: int = 0, process_count: int = 1, *, workers: int
    ):
        self.data, self.where = data, (size, seed, process_index, process_count)
        self.workers = workers
        self._batches: Any = None
        self._next = 0

    def __call__(self, step: int) -> Any:
        """The batch of a step; after any but the one before it, reading starts anew.

        Raises:
            DataError: what reading this batch raised, in whichever thread.
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
        """The batch of any step, read now. Raises as a call."""
        return self.data.batch_at(step, *self.where)

    def close(self) -> None:
        """Ends the threads, each when it has read its batch; a later call starts others."""
        batches, self._batches = self._batches, None
        if batches is not None:
            batches.close()

    def _from(self, step: int) -> Any:
        import grain  # a second: not before it is needed

        options = grain.ReadOptions(num_threads=self.workers, prefetch_buffer_size=self.workers)
        return iter(grain.MapDataset.range(step, sys.maxsize).map(self._read).to_iter_dataset(options))

    def _read(self, step: Any) -> Any:
        try:
            return self.peek(int(step))
        except Exception as error:  # raised where the batch is asked for: Grain would add to what it says
            return error
