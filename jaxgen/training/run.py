"""The one loop that every system of this package runs through, of one seed or of several side by side."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Model, Phase, Variables
from jaxgen.training.advance import Advance, make_advance
from jaxgen.training.trained import TrainedModel
from jaxgen.training.timing import Timer, Trace
from jaxgen.training.devices import make_mesh, replicated
from jaxgen.training.evaluation import HostMetrics, ValidationMetrics
from jaxgen.training.folder import RunFolder
from jaxgen.training.record import EvaluationCut, Record
from jaxgen.training.seeds import AXES, one, over_seeds, stack
from jaxgen.training.settings import Settings
from jaxgen.training.state import TrainState, enter_phase, init_state
from jaxgen.training.step import Metrics

INIT_ROWS = 512
"""Rows that data-dependent initialisation sees, whatever the number of devices."""
_SECONDS_PER_CALL = 2.0  # short enough for signals and a bar that moves; each call takes its memory anew


class NonFiniteLoss(FloatingPointError):
    """A loss, or a gradient's norm, was not a finite number: the run stopped, its last checkpoint is from before."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM: the run saved a checkpoint and stopped.

    Attributes:
        signum: the signal.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


class Run:
    """What the loop holds between steps: of one seed, or of several with a state that has an axis of them.

    Args:
        phases: with their data.
        each: the settings, which differ in their seeds.
        folders: of each seed.
        start: variables to begin from (`init_state`).
    """

    def __init__(
        self, model: Model, phases: tuple[Phase, ...], valid: Any, each: tuple[Settings, ...],
        folders: tuple[Path | None, ...], metrics: ValidationMetrics | None = None,
        host_metrics: HostMetrics | None = None, start: Variables | None = None, progress: bool = False,
    ):  # fmt: skip
        self.model, self.phases, self.valid, self.settings, self.start = model, phases, valid, each[0], start
        self.seeds = tuple(settings.seed for settings in each)
        self.mesh = make_mesh(self.settings.devices)
        self.ends = [sum(phase.steps for phase in phases[: i + 1]) for i in range(len(phases))]
        self.records = [
            Record(
                model, valid, settings, folder and RunFolder(folder), metrics, host_metrics, self.ends[-1],
                progress and i == 0,
            )  # fmt: skip
            for i, (settings, folder) in enumerate(zip(each, folders, strict=True))
        ]
        self.folder, self.report, self.timer = self.records[0].folder, self.records[0].report, Timer()
        self.head = phases[0].data.head(INIT_ROWS)
        self.sizes = [self._batch_size(phase) for phase in phases]
        # it runs once: on a CPU, where LLVM optimises for seconds, quick to compile is better than quick to run
        options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        whole = replicated(self.mesh)
        self.init = jax.jit(self._init, out_shardings=whole, compiler_options=options)
        self.one = jax.jit(one, out_shardings=whole)
        # traces without computing: what does not fit together is said before anything is compiled
        self.abstract = [jax.eval_shape(self.init, self.head, start)]
        for i in range(1, len(phases)):
            self.abstract.append(jax.eval_shape(self._enter(i), self.abstract[-1], self._head(i)))
        self.advance = [
            make_advance(phase.plays, phase.data, self.settings, size, self.mesh, self.timer, self.seeds)
            for phase, size in zip(phases, self.sizes, strict=True)
        ]
        for abstract, advance in zip(self.abstract, self.advance, strict=True):
            self._check(self._placed(abstract), advance)
        if self.settings.profile and self.folder is None:
            raise ValueError(f"profile={self.settings.profile}: a trace is written into the run's folder, give out=")

    def _batch_size(self, phase: Phase) -> Any:
        """The batch size of a phase, or one for each part of its data."""
        settings, data = self.settings, phase.data
        size = settings.batch_size if phase.batch_size is None else phase.batch_size
        parts = getattr(data, "sources", {})
        if settings.batch_sizes and phase.batch_size is None:
            if unknown := set(settings.batch_sizes) - set(parts):
                raise ValueError(f"`batch_sizes` must name parts of the data, {sorted(parts)}, got {sorted(unknown)}")
            size = {name: settings.batch_sizes.get(name, settings.batch_size) for name in parts}
        divisor = self.mesh.size * settings.accumulate
        for name, n in size.items() if isinstance(size, Mapping) else ((None, size),):
            source = data if name is None else parts[name]
            if n % divisor:
                split = f", in accumulate={settings.accumulate} parts" if settings.accumulate > 1 else ""
                raise ValueError(f"batch_size={n} cannot be divided over {self.mesh.size} devices{split}")
            if n > len(source):
                raise ValueError(f"batch_size={n} is more than the {len(source)} examples of {source.name}")
        return size

    def _head(self, phase: int) -> Any:
        """The first examples of a phase's data, where its `enter` looks at them."""
        return self.phases[phase].data.head(INIT_ROWS) if self.phases[phase].enter else None

    def _init(self, head: Any, start: Variables | None) -> TrainState:
        def fresh(key):
            return enter_phase(init_state(self.model, {}, key, head, start), self.phases[0], head)

        if len(self.seeds) == 1:
            return fresh(jax.random.key(self.seeds[0]))
        return jax.vmap(fresh, out_axes=AXES)(jnp.stack([jax.random.key(seed) for seed in self.seeds]))

    def _enter(self, phase: int) -> Callable[[TrainState, Any], TrainState]:
        def enter(state: TrainState, head: Any) -> TrainState:
            return enter_phase(state, self.phases[phase], head, phase)

        return enter if len(self.seeds) == 1 else over_seeds(enter, None)

    def _placed(self, state: TrainState) -> TrainState:
        whole = replicated(self.mesh)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), state)

    def _abstract_in(self, phase: int) -> TrainState:
        """The shapes of one seed's state."""
        state = self.abstract[phase]
        return self._placed(state if len(self.seeds) == 1 else jax.eval_shape(lambda s: one(s, 0), state))

    def _check(self, state: TrainState, advance: Advance) -> None:
        before, after = (jax.tree.map(lambda a: (a.shape, a.dtype), s) for s in (state, advance.shapes(state)[0]))
        if before != after:
            raise ValueError("a play changes the structure, shapes or dtypes of the model's variables; it must not")

    def _of_each(self, state: TrainState) -> Iterator[tuple[Record, TrainState]]:
        """Each record with its seed's state."""
        for i, record in enumerate(self.records):
            yield record, state if len(self.records) == 1 else self.one(state, i)

    def go(self, *, resume: bool, overwrite: bool) -> tuple[TrainedModel, ...]:
        resuming = [record.open(self.head, resume=resume, overwrite=overwrite) for record in self.records]
        with contextlib.ExitStack() as stack:
            for record in self.records:
                stack.enter_context(record)
            signals = stack.enter_context(Signals())
            state = self._restored() if all(resuming) else None
            if state is None:
                state = self.init(self.head, self.start)
                for record in self.records:
                    record.go_on(0, None)
            elif not all(record.evaluated for record in self.records):
                self._evaluate(state, signals)
                if signals.received:
                    self._stop(state, signals)
            state = self._loop(state, signals)
            self._save(state)
        return tuple(record.bound(mine) for record, mine in self._of_each(state))

    def _restored(self) -> TrainState | None:
        """The newest state that all seeds have saved."""
        restored, at_most = [], None
        while not restored or len({int(state.step) for state, _ in restored}) > 1:
            restored = [r.restore(lambda step: self._abstract_in(self._phase_of(step)), at_most) for r in self.records]
            if None in restored:
                return None
            at_most = min(int(state.step) for state, _ in restored)
        states, known = zip(*restored, strict=True)
        for record, knew in zip(self.records, known, strict=True):
            record.go_on(at_most, knew)
        self.report.say(f"going on from step {at_most}")
        return states[0] if len(states) == 1 else jax.jit(stack, out_shardings=replicated(self.mesh))(states)

    def _phase_of(self, step: int) -> int:
        return next(i for i, end in enumerate(self.ends) if step <= end or end == self.ends[-1])

    def _save(self, state: TrainState) -> None:
        if self.folder is None:
            return
        for record, mine in self._of_each(state):
            record.save(mine)

    def _loop(self, state: TrainState, signals: Signals) -> TrainState:
        now = self._phase_of(int(state.step))
        for i in range(now, len(self.phases)):
            if i > now:
                state = jax.jit(self._enter(i), donate_argnums=0)(state, self._head(i))
            with contextlib.closing(self.advance[i]):
                state = self._phase(state, i, signals)
            if signals.received:
                break
        return state

    def _phase(self, state: TrainState, i: int, signals: Signals) -> TrainState:
        settings, advance, end = self.settings, self.advance[i], self.ends[i]
        every = (settings.eval_every, settings.checkpoint_every)
        step, call = int(state.step), 1
        size = self.sizes[i]
        examples = sum(size.values()) if isinstance(size, Mapping) else size
        self.timer.start(step)
        compiled, trace = False, Trace(self.folder, settings.profile)
        while step < end:
            n = min(call, end - step, *(e - step % e for e in every))
            began = time.monotonic()
            if compiled:
                trace.begin(step)
            with contextlib.nullcontext() if compiled else self.timer.part("first_call"):
                state, metrics = advance(state, step, n)
            compiled = True
            trace.end(step + n, step + n == end)
            call = max(1, min(settings.steps_per_call, int(n * _SECONDS_PER_CALL / (time.monotonic() - began))))
            self._take_in(metrics, step, n, examples)
            step += n
            if self.valid is not None and (step % settings.eval_every == 0 or step == self.ends[-1]):
                for record in self.records:
                    record.evaluated = False
                with self.timer.part("evaluation"):
                    self._evaluate(state, signals)
            if signals.received:
                return self._stop(state, signals)
            if step % settings.checkpoint_every == 0 or step == end:
                with self.timer.part("checkpoints"):
                    self._save(state)
        return state

    def _evaluate(self, state: TrainState, signals: Signals) -> None:
        """The records whose evaluation at this step is to come."""
        # several processes compute each batch together
        between = signals.check if jax.process_count() == 1 else None
        for record, mine in self._of_each(state):
            if not record.evaluated:
                record.evaluate(mine, self.phases[self._phase_of(int(state.step))].monitor, between)

    def _take_in(self, metrics: Sequence[Metrics], step: int, n: int, examples: int) -> None:
        """What `n` steps from this one have reported, of each seed, and the lines that they complete."""
        losses, skipped, every = {}, 0, self.settings.log_every
        for record, mine in zip(self.records, metrics, strict=True):
            _refuse_non_finite(mine, step, record)
            skipped += sum(int(m["skipped"].sum()) for m in mine.values() if "skipped" in m)
            for play, m in mine.items():
                if m["played"].any():
                    losses.setdefault(play, []).append(float(m["loss"][m["played"] > 0][-1]))
        if skipped:
            self.report.say(f"skipped {skipped} moves without a finite loss and gradient by step {step + n}")
        self.report.advance(step + n, {play: sum(of_seeds) / len(of_seeds) for play, of_seeds in losses.items()})
        complete = range(step - step % every + every, step + n + 1, every)
        times = {}
        if complete:
            spent = self.timer.take(step + n, examples, len(complete))
            times = {"steps_per_second": self.report.rate(), **spent}
        for record, mine in zip(self.records, metrics, strict=True):
            done = step
            for end in complete:
                record.sums.add(_between(mine, done - step, end - step))
                record.report.line(end, record.sums.take() | times)
                done = end
            record.sums.add(_between(mine, done - step, n))

    def _stop(self, state: TrainState, signals: Signals) -> TrainState:
        name, step = signal.Signals(signals.received).name, int(state.step)
        if self.folder is None:
            self.report.say(f"{name} at step {step}: what was trained so far is returned")
            return state
        self._save(state)
        for record in self.records:
            record.wait()
        path = self.folder.path if len(self.records) == 1 else self.folder.path.parent
        raise Interrupted(f"{name}: saved at step {step} in {path}; go on with --resume", signals.received)


def _between(metrics: Metrics, first: int, end: int) -> Metrics:
    """Of some of the steps."""
    return jax.tree.map(lambda a: a[first:end], metrics)


def _refuse_non_finite(metrics: Mapping[str, Mapping[str, np.ndarray]], step: int, record: Record) -> None:
    first = None
    for play, values in metrics.items():
        # a gradient that is not finite spoils the state while the loss is finite still
        finite = np.isfinite(values["loss"]) & np.isfinite(values["grad_norm"])
        bad = np.flatnonzero((values["played"] > 0) & ~finite)
        if bad.size and (first is None or bad[0] < first[0]):
            first = bad[0], play
    if first is not None:
        i, play = first
        there = {name: float(value[i]) for name, value in metrics[play].items()}
        folder = record.folder
        kept = f"; the last checkpoint in {folder.checkpoints} is from before" if folder is not None else ""
        raise NonFiniteLoss(f"the loss or gradient of play {play!r} is not finite at step {step + int(i)}: {there}{kept}")


class Signals:
    """Notes SIGINT and SIGTERM instead of dying of them; a second SIGINT interrupts at once."""

    received: int | None = None

    def __enter__(self) -> Signals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def check(self) -> None:
        """Raises `EvaluationCut` where a signal was received."""
        if self.received is not None:
            raise EvaluationCut

    def _note(self, signum: int, frame: Any) -> None:
        if self.received is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signum
