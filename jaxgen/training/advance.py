"""Compiled calls of several steps, on data that are on the device or come from the host."""

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
from jaxgen.training.devices import AXIS, jit_many, jit_step, placed, pmap_step, replicated, split
from jaxgen.training.seeds import over_seeds
from jaxgen.training.settings import Settings
from jaxgen.training.state import TrainState
from jaxgen.training.step import Metrics, TrainStep, make_train_step, many_steps
from jaxgen.training.timing import Timer

_IN_FLIGHT = 8  # more multi-device steps in flight deadlock CPU devices on JAX 0.10 and 0.11


class Advance(Protocol):
    """Runs steps on a state."""

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, list[Metrics]]:
        """Runs `n` steps from `step` on; returns each seed's metrics, NumPy arrays with a leading axis of steps."""

    def shapes(self, state: TrainState) -> Any:
        """Shapes and dtypes of the output for a state's: traces what a call compiles."""

    def close(self) -> None:
        """Stops reading ahead; a later call starts again."""


class Resident:
    """The data are on each device; a call takes the indices of up to `steps_per_call` batches."""

    def __init__(
        self, step: TrainStep, data: Source, settings: Settings, size: Any, mesh: Mesh, timer: Timer,
        seeds: tuple[int, ...],
    ):  # fmt: skip
        self.data, self.settings, self.size, self.mesh, self.timer, self.seeds = (
            data,
            settings,
            size,
            mesh,
            timer,
            seeds,
        )
        self.arrays: Any = None
        run, self.axis = many_steps(step, settings.steps_per_call), 1
        if len(seeds) > 1:
            run, self.axis = over_seeds(run, None, 0, None, out_axes=(0,)), 2
        self.run = jit_many(run, mesh, self.axis)

    def _indices(self, step: int, n: int) -> Any:
        """Indices of the examples of `n` steps, the last ones repeated to fill the call."""

        def of_seed(seed: int) -> Any:
            indices = [self.data.indices_at(i, self.size, seed) for i in range(step, step + n)]
            return _stack(indices + indices[-1:] * (self.settings.steps_per_call - n))

        return _stack_seeds([of_seed(seed) for seed in self.seeds])

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, list[Metrics]]:
        if self.arrays is None:
            self.arrays = jax.device_put(self.data.arrays, replicated(self.mesh))
        with self.timer.part("data"):
            indices = jax.device_put(self._indices(step, n), split(self.mesh, self.axis))
        state, metrics = self.run(state, self.arrays, indices, np.int32(n))
        return state, [jax.tree.map(lambda a: a[:n], m) for m in _split_seeds(jax.device_get(metrics), self.seeds)]

    def shapes(self, state: TrainState) -> Any:
        # as in a call, which then finds the traced program
        arrays = placed(self.data.arrays, replicated(self.mesh))
        indices = placed(self._indices(0, 1), split(self.mesh, self.axis))
        return jax.eval_shape(self.run, state, arrays, indices, np.int32(1))

    def close(self) -> None:
        pass


class Streamed:
    """Batches come from the host, one per step; each process reads its part of them, ahead of time if it is on disk."""

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
                step, self.axis = over_seeds(step, 0, out_axes=(0,)), 1
            self.run = jit_step(step, mesh, self.axis)
        # without workers, a stream reads when it is called
        workers = 0 if data.resident else settings.workers
        process = jax.process_index(), jax.process_count()
        self.streams = [Stream(data, size, seed, *process, workers=workers) for seed in seeds]

    def _batch(self, batches: Sequence[Any]) -> Any:
        local = _stack_seeds(batches)
        return local if self.per_device else jax.make_array_from_process_local_data(split(self.mesh, self.axis), local)

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
        by_step = [_split_seeds(m, self.seeds) for m in jax.device_get(metrics)]
        return state, [_stack(steps) for steps in zip(*by_step, strict=True)]

    def shapes(self, state: TrainState) -> Any:
        return jax.eval_shape(self.run, state, self._batch([stream.peek(0) for stream in self.streams]))

    def close(self) -> None:
        for stream in self.streams:
            stream.close()


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _stack_seeds(trees: Sequence[Any]) -> Any:
    """Stacks the seeds' trees along a leading axis; the tree of one seed stays as it is."""
    return trees[0] if len(trees) == 1 else _stack(trees)


def _split_seeds(tree: Any, seeds: tuple[int, ...]) -> list[Any]:
    """The inverse of `_stack_seeds`."""
    return [tree] if len(seeds) == 1 else [jax.tree.map(lambda a: a[i], tree) for i in range(len(seeds))]


def make_advance(
    plays: Mapping[str, Play], data: Source, settings: Settings, size: Any, mesh: Mesh, timer: Timer,
    seeds: tuple[int, ...],
) -> Advance:  # fmt: skip
    """`Resident` if the examples are in memory and the view is global, else `Streamed`.

    With several seeds the state has an axis of seeds (`jaxgen.training.seeds`), and each seed has its own batches.

    Args:
        size: the batch size, or a mapping with that of each part of the data.
    """
    per_device = settings.parallel == "pmap"
    precision = None if settings.precision == "float32" else settings.precision
    step = make_train_step(
        plays, settings.ema, AXIS if per_device else None, settings.accumulate, settings.on_nan == "skip", precision
    )
    kind = Resident if data.resident and not per_device else Streamed
    return kind(step, data, settings, size, mesh, timer, seeds)
