"""Some steps at a time, on data that are on the device or come from the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.contracts import Play
from jaxgen.data import Source
from jaxgen.data.streaming import Stream
from jaxgen.training.timing import Timer
from jaxgen.training.devices import AXIS, jit_many, jit_step, pmap_step, replicated, split
from jaxgen.training.seeds import over_seeds
from jaxgen.training.settings import Settings
from jaxgen.training.state import TrainState
from jaxgen.training.step import Metrics, TrainStep, make_train_step, many_steps

_IN_FLIGHT = 8  # more multi-device steps in flight deadlock CPU devices on JAX 0.10 and 0.11


class Advance(Protocol):
    """Takes a state through steps."""

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, list[Metrics]]:
        """`n` steps from step number `step` on; the metrics of each seed, NumPy arrays with an axis of steps."""

    def shapes(self, state: TrainState) -> Any:
        """The output's shapes and dtypes, from the state's: traces what a call will compile."""

    def close(self) -> None:
        """Ends what reads ahead; a later call begins anew."""


class Resident:
    """All rows are on each device; a call takes their numbers, up to `steps_per_call` steps of them."""

    def __init__(
        self, step: TrainStep, data: Source, settings: Settings, size: Any, mesh: Mesh, timer: Timer,
        seeds: tuple[int, ...],
    ):  # fmt: skip
        self.data, self.settings, self.size, self.mesh, self.timer, self.seeds = data, settings, size, mesh, timer, seeds
        self.arrays: Any = None
        run, self.axis = many_steps(step, settings.steps_per_call), 1
        if len(seeds) > 1:
            run, self.axis = over_seeds(run, None, 0, None, gives=(0,)), 2
        self.run = jit_many(run, mesh, self.axis)

    def _rows(self, step: int, n: int) -> Any:
        """Numbers of the rows of `n` steps, and of the last one again to fill the call."""
        settings = self.settings
        def of_seed(seed: int) -> Any:
            rows = [self.data.indices_at(i, self.size, seed) for i in range(step, step + n)]
            return _stacked(rows + rows[-1:] * (settings.steps_per_call - n))

        return _together([of_seed(seed) for seed in self.seeds])

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, list[Metrics]]:
        if self.arrays is None:
            self.arrays = jax.device_put(self.data.arrays, replicated(self.mesh))
        with self.timer.part("data"):
            rows = jax.device_put(self._rows(step, n), split(self.mesh, self.axis))
        state, metrics = self.run(state, self.arrays, rows, np.int32(n))
        return state, [jax.tree.map(lambda a: a[:n], mine) for mine in _by_seed(jax.device_get(metrics), self.seeds)]

    def shapes(self, state: TrainState) -> Any:
        return jax.eval_shape(self.run, state, self.data.arrays, self._rows(0, 1), np.int32(1))

    def close(self) -> None:
        pass


class Streamed:
    """Batches come from the host, one a step; each process brings its own part of them, ahead where it is on disk."""

    def __init__(
        self, step: TrainStep, data: Source, settings: Settings, size: Any, mesh: Mesh, timer: Timer,
        seeds: tuple[int, ...],
    ):  # fmt: skip
        self.mesh, self.timer, self.seeds = mesh, timer, seeds
        self.per_device, self.axis = settings.parallel == "pmap", 0
        if self.per_device:
            self.run = pmap_step(step, mesh.size)
        else:
            if len(seeds) > 1:
                step, self.axis = over_seeds(step, 0, gives=(0,)), 1
            self.run = jit_step(step, mesh, self.axis)
        # without workers, a stream reads when it is asked
        workers = 0 if data.resident else settings.workers
        part = jax.process_index(), jax.process_count()
        self.streams = [Stream(data, size, seed, *part, workers=workers) for seed in seeds]

    def _batch(self, batches: Sequence[Any]) -> Any:
        mine = _together(batches)
        return mine if self.per_device else jax.make_array_from_process_local_data(split(self.mesh, self.axis), mine)

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, list[Metrics]]:
        metrics, in_flight = [], deque()
        for i in range(step, step + n):
            with self.timer.part("data"):
                batch = self._batch([stream(i) for stream in self.streams])
            state, m = self.run(state, batch)
            metrics.append(m)
            in_flight.append(m)
            if len(in_flight) > _IN_FLIGHT:
                jax.block_until_ready(in_flight.popleft())
        by_step = [_by_seed(m, self.seeds) for m in jax.device_get(metrics)]
        return state, [_stacked(mine) for mine in zip(*by_step, strict=True)]

    def shapes(self, state: TrainState) -> Any:
        return jax.eval_shape(self.run, state, self._batch([stream.peek(0) for stream in self.streams]))

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _together(of_seeds: Sequence[Any]) -> Any:
    """What there is of the seed, or of each, with an axis of seeds before the others."""
    return of_seeds[0] if len(of_seeds) == 1 else _stacked(of_seeds)


def _by_seed(tree: Any, seeds: tuple[int, ...]) -> list[Any]:
    """The other way: what there is of each seed."""
    return [tree] if len(seeds) == 1 else [jax.tree.map(lambda a: a[i], tree) for i in range(len(seeds))]


def make_advance(
    plays: Mapping[str, Play], data: Source, settings: Settings, size: Any, mesh: Mesh, timer: Timer,
    seeds: tuple[int, ...],
) -> Advance:  # fmt: skip
    """`Resident` where the examples are in memory and the view is global, else `Streamed`.

    With several seeds the state has an axis of them (`jaxgen.training.seeds`), and each has its own batches.

    Args:
        size: the batch size, or one for each part of the data.
    """
    per_device = settings.parallel == "pmap"
    precision = None if settings.precision == "float32" else settings.precision
    step = make_train_step(
        plays, settings.ema, AXIS if per_device else None, settings.accumulate, settings.on_nan == "skip", precision
    )
    kind = Resident if data.resident and not per_device else Streamed
    return kind(step, data, settings, size, mesh, timer, seeds)
