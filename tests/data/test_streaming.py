"""Batches that are read ahead are those that `batch_at` gives."""

import threading
import time

import numpy as np
import pytest

from jaxgen.data import ArraySource, DataError, RecordSource, Zipped
from jaxgen.data.streaming import Stream

ROWS, SIZE, SEED = 23, 6, 3


class Rows:
    """Records that say by whom they were read, take some time, and are damaged from one on."""

    def __init__(self, seconds=0.0, damaged=None):
        self.seconds, self.damaged, self.readers = seconds, damaged, set()

    def __len__(self):
        return ROWS

    def __getitem__(self, i):
        time.sleep(self.seconds)
        self.readers.add(threading.current_thread())
        if i == self.damaged:
            raise DataError(f"row {i} is damaged")
        return {"x": np.full(2, i, np.float32), "label": i % 3}


def recorded(**how):
    return RecordSource(Rows(**how), {"x": "x", "label": "label"}, num_classes=3)


def same(a, b):
    assert a.keys() == b.keys() and all((a[key] == b[key]).all() and a[key].dtype == b[key].dtype for key in a)


def gone(before):
    """Whether the threads that were not there before have ended, within a second."""
    for thread in set(threading.enumerate()) - before:
        thread.join(1)
    return not set(threading.enumerate()) - before


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_the_source_from_any_step_on(workers):
    source, before = recorded(), set(threading.enumerate())
    stream = Stream(source, SIZE, SEED, workers=workers)
    for step in (7, 8, 9, 3, 4, 4, 12, 13):  # in the middle, on, back, again, ahead
        same(stream(step), source.batch_at(step, SIZE, SEED))
    stream.close()
    assert gone(before)
    same(stream(14), source.batch_at(14, SIZE, SEED))
    stream.close()


def test_threads_read_and_read_ahead():
    source = recorded(seconds=0.002)
    source.records.readers.clear()
    stream = Stream(source, SIZE, SEED, workers=3)
    stream(0)
    time.sleep(0.5)
    began = time.monotonic()
    for step in (1, 2, 3):
        stream(step)
    assert time.monotonic() - began < SIZE * 0.002  # less than the time of one batch
    assert len(source.records.readers) == 3 and threading.main_thread() not in source.records.readers
    stream.close()


def test_without_workers_the_loop_itself_reads_and_nothing_ahead():
    source, before = recorded(), set(threading.enumerate())
    source.records.readers.clear()
    Stream(source, SIZE, SEED, workers=0)(0)
    assert source.records.readers == {threading.main_thread()} and not set(threading.enumerate()) - before


def test_processes_share_out_the_global_batch():
    source = recorded()
    streams = [Stream(source, SIZE, SEED, index, 2, workers=2) for index in range(2)]
    for step in range(5):
        parts = [stream(step) for stream in streams]
        rows = [part["x"][:, 0].tolist() for part in parts]
        assert len(rows[0]) == len(rows[1]) == SIZE // 2 and not set(rows[0]) & set(rows[1])
        same(
            {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}, source.batch_at(step, SIZE, SEED)
        )
    for stream in streams:
        stream.close()


def test_zipped_sources_are_read_ahead():
    zipped = Zipped({"disk": recorded(), "memory": ArraySource({"x": np.arange(9.0)})})
    stream = Stream(zipped, {"disk": 4, "memory": 2}, SEED, workers=2)
    for step in range(6):
        batch, expected = stream(step), zipped.batch_at(step, {"disk": 4, "memory": 2}, SEED)
        for key in expected:
            same(batch[key], expected[key])
    stream.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_at_its_own_step_and_ends_the_threads(workers):
    before, whole = set(threading.enumerate()), recorded()
    step = next(step for step in range(4) if step and 11 in whole.indices_at(step, 5, SEED))
    stream = Stream(recorded(damaged=11), 5, SEED, workers=workers)
    for i in range(step):
        same(stream(i), whole.batch_at(i, 5, SEED))
    with pytest.raises(DataError, match="^row 11 is damaged$"):
        stream(step)
    assert gone(before)
    same(stream(step + 1), whole.batch_at(step + 1, 5, SEED))
    stream.close()
