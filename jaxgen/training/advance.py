"""Some steps at a time, on data that are on the device or come from the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from jaxgen.contracts import Play
from jaxgen.data import Source
from jaxgen.training.clock import Clock
from jaxgen.training.devices import AXIS, jit_many, jit_step, pmap_step, replicated, split
from jaxgen.training.settings import Settings
from jaxgen.training.state import TrainState
from jaxgen.training.step import Metrics, TrainStep, make_train_step, many_steps

_IN_FLIGHT = 8  # more multi-device steps in flight deadlock CPU devices on JAX 0.10 and 0.11


class Advance(Protocol):
    """Takes a state through steps."""

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, Metrics]:
        """`n` steps from step number `step` on; metrics are NumPy arrays with an axis of steps."""

    def shapes(self, state: TrainState) -> Any:
        """The output's shapes and dtypes, from the state's: traces what a call will compile."""


class Resident:
    """All rows are on each device; a call takes their numbers, up to `steps_per_call` steps of them."""

    def __init__(self, step: TrainStep, data: Source, settings: Settings, mesh: Mesh, clock: Clock):
        self.data, self.settings, self.mesh, self.clock = data, settings, mesh, clock
        self.arrays: Any = None
        self.run = jit_many(many_steps(step, settings.steps_per_call), mesh)

    def _rows(self, step: int, n: int) -> Any:
        """Numbers of the rows of `n` steps, and of the last one again to fill the call."""
        settings = self.settings
        rows = [self.data.indices_at(i, settings.batch_size, settings.seed) for i in range(step, step + n)]
        rows += rows[-1:] * (settings.steps_per_call - n)
        return jax.tree.map(lambda *a: np.stack(a), *rows)

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, Metrics]:
        if self.arrays is None:
            self.arrays = jax.device_put(self.data.arrays, replicated(self.mesh))
        with self.clock.part("data"):
            rows = jax.device_put(self._rows(step, n), split(self.mesh, 1))
        state, metrics = self.run(state, self.arrays, rows, np.int32(n))
        return state, jax.tree.map(lambda a: a[:n], jax.device_get(metrics))

    def shapes(self, state: TrainState) -> Any:
        return jax.eval_shape(self.run, state, self.data.arrays, self._rows(0, 1), np.int32(1))


class Streamed:
    """Batches come from the host, one a step; each process brings its own part of them."""

    def __init__(self, step: TrainStep, data: Source, settings: Settings, mesh: Mesh, clock: Clock):
        self.data, self.settings, self.mesh, self.clock = data, settings, mesh, clock
        self.per_device = settings.parallel == "pmap"
        self.run = pmap_step(step, mesh.size) if self.per_device else jit_step(step, mesh)

    def _batch(self, step: int) -> Any:
        size, seed = self.settings.batch_size, self.settings.seed
        mine = self.data.batch_at(step, size, seed, jax.process_index(), jax.process_count())
        return mine if self.per_device else jax.make_array_from_process_local_data(split(self.mesh), mine)

    def __call__(self, state: TrainState, step: int, n: int) -> tuple[TrainState, Metrics]:
        metrics, in_flight = [], deque()
        for i in range(step, step + n):
            with self.clock.part("data"):
                batch = self._batch(i)
            state, m = self.run(state, batch)
            metrics.append(m)
            in_flight.append(m)
            if len(in_flight) > _IN_FLIGHT:
                jax.block_until_ready(in_flight.popleft())
        return state, jax.tree.map(lambda *a: np.stack(a), *jax.device_get(metrics))

    def shapes(self, state: TrainState) -> Any:
        return jax.eval_shape(self.run, state, self._batch(0))


def make_advance(
    plays: Mapping[str, Play], data: Source, settings: Settings, mesh: Mesh, clock: Clock
) -> Advance:
    """The way that suits the data and the settings: in one call where the rows are resident and the view is global."""
    per_device = settings.parallel == "pmap"
    step = make_train_step(
        plays, settings.ema, AXIS if per_device else None, settings.accumulate, settings.on_nan == "skip"
    )
    way = Resident if data.resident and not per_device else Streamed
    return way(step, data, settings, mesh, clock)
