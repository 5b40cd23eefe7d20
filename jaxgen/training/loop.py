"""From a model and data to a trained model: the one loop that every system of this package runs through."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Model, Play, Variables
from jaxgen.data import ArraySource, Splits
from jaxgen.training.advance import Advance, make_advance
from jaxgen.training.bound import Bound
from jaxgen.training.checkpoints import Checkpoints
from jaxgen.training.clock import Clock, Trace
from jaxgen.training.devices import make_mesh, on_first_process, replicated
from jaxgen.training.evaluation import Figures, evaluate
from jaxgen.training.folder import RunFolder
from jaxgen.training.reporting import Reporter, Sums
from jaxgen.training.settings import Settings
from jaxgen.training.state import TrainState, enter_phase, init_state

INIT_ROWS = 512
"""Rows that data-dependent initialisation sees, whatever the number of devices."""
_SECONDS_PER_CALL = 0.5  # short enough for a bar that moves and for signals, long enough to hide dispatch


class Phase(NamedTuple):
    """A part of a run: its game, its data and its length. A run is a sequence of phases on one state.

    Entering a phase starts its plays' optimizers and counters; variables and averages go on.
    """

    plays: Mapping[str, Play]
    data: Any
    steps: int


class NonFiniteLoss(FloatingPointError):
    """A loss was not a finite number: the run stopped, its last checkpoint is from before."""


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM: the run saved a checkpoint and stopped.

    Attributes:
        signum: the signal.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


def as_splits(data: Any) -> Splits:
    """Splits of whatever was given: splits, a source, an array, or a mapping of arrays with an `"x"`."""
    if isinstance(data, Splits):
        return data
    if isinstance(data, (np.ndarray, jax.Array, list)):
        data = {"x": data}
    if isinstance(data, Mapping):
        data = ArraySource(data, levels=256 if getattr(data.get("x"), "dtype", None) == np.uint8 else None)
    if not hasattr(data, "batch_at"):
        raise ValueError(f"data is {type(data).__name__}: an array, a mapping of arrays, a source or splits are needed")
    return Splits(data, None, None)


def fit(
    model: Model,
    data: Any,
    settings: Settings | None = None,
    *,
    steps: int | None = None,
    plays: Mapping[str, Play] | None = None,
    phases: tuple[Phase, ...] | None = None,
    figures: Figures | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Bound:
    """Trains a model: `fit(model, x, steps=1000)`.

    Args:
        data: an array, a mapping of arrays (`"x"`, and `"label"`, `"context"`), a source, or splits of which the
            validation split chooses the best variables.
        settings: batch size, seed, averages, how often to evaluate and save, devices.
        steps: in place of `settings.steps`.
        plays: another game than the model's own.
        phases: several games one after another, in place of `plays`; their data may differ. Validation is on `data`.
        figures: others of the validation split beside the model's own; the model may monitor one of them.
        out: the run's folder: config, metrics, checkpoints, samples. None keeps everything in memory.
        resume: go on with the run in `out` where there is one, bit for bit as if it had not stopped.
        overwrite: replace the run in `out`.
        progress: show a bar.

    Returns:
        The model bound to its best variables by the model's `monitor` on the validation split, or to its last ones
        where there is no such split; averages in both cases, unless `settings.ema` is 0.

    Raises:
        ValueError, FileExistsError: something given does not fit, before anything is compiled.
        NonFiniteLoss: with the step, the play and its metrics.
        Interrupted: by a signal, after saving; without a folder, what was trained so far is returned instead.
    """
    settings = settings or Settings()
    if phases is not None:
        settings = dataclasses.replace(settings, steps=sum(phase.steps for phase in phases))
    elif steps is not None:
        settings = dataclasses.replace(settings, steps=steps)
    settings.check()
    splits = as_splits(data)
    if phases is None:
        phases = (Phase(model.plays() if plays is None else plays, splits.train, settings.steps),)
    run = _Run(model, phases, splits.valid, settings, RunFolder(out) if out is not None else None, figures)
    return run.go(resume=resume, overwrite=overwrite, progress=progress)


class _Run:
    """What the loop holds between steps."""

    def __init__(
        self, model: Model, phases: tuple[Phase, ...], valid: Any, settings: Settings, folder: RunFolder | None,
        figures: Figures | None = None,
    ):  # fmt: skip
        self.model, self.phases, self.valid, self.settings, self.folder = model, phases, valid, settings, folder
        self.figures = figures
        self.mesh = make_mesh(settings.devices)
        self.ends = [sum(phase.steps for phase in phases[: i + 1]) for i in range(len(phases))]
        self.best: dict[str, Any] | None = None
        self.best_variables: Variables | None = None
        self.sums, self.clock = Sums(), Clock()
        self.head = phases[0].data.head(INIT_ROWS)
        devices = self.mesh.size
        if settings.batch_size % (devices * settings.accumulate):
            parts = f", in accumulate={settings.accumulate} parts" if settings.accumulate > 1 else ""
            raise ValueError(f"batch_size={settings.batch_size} cannot be divided over {devices} devices{parts}")
        if settings.profile and folder is None:
            raise ValueError(f"profile={settings.profile}: a trace is written into the run's folder, give out=")
        for phase in phases:
            if settings.batch_size > len(phase.data):
                raise ValueError(
                    f"batch_size={settings.batch_size} is more than the {len(phase.data)} rows of {phase.data.name}"
                )
        # it runs once: on a CPU, where LLVM optimises for seconds, quick to compile is better than quick to run
        options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        self.init = jax.jit(self._init, out_shardings=replicated(self.mesh), compiler_options=options)
        # traces without computing: what does not fit together is said before anything is compiled
        self.abstract = jax.eval_shape(self.init, self.head)
        self.advance = [make_advance(phase.plays, phase.data, settings, self.mesh, self.clock) for phase in phases]
        for i, advance in enumerate(self.advance):
            self._check(self._abstract_in(i), advance)

    def _init(self, head: Any) -> TrainState:
        return init_state(self.model, self.phases[0].plays, jax.random.key(self.settings.seed), head)

    def _abstract_in(self, phase: int) -> TrainState:
        state = jax.eval_shape(lambda s: enter_phase(s, self.phases[phase].plays), self.abstract)
        whole = replicated(self.mesh)
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), state)

    def _check(self, state: TrainState, advance: Advance) -> None:
        before, after = (jax.tree.map(lambda a: (a.shape, a.dtype), s) for s in (state, advance.shapes(state)[0]))
        if before != after:
            raise ValueError("a play changes the structure, shapes or dtypes of the model's variables; it must not")

    def go(self, *, resume: bool, overwrite: bool, progress: bool) -> Bound:
        settings, folder = self.settings, self.folder
        if folder is None:
            with _Signals() as signals, Reporter(None, self.ends[-1], progress=progress) as self.report:
                state = self._loop(self.init(self.head), None, signals)
            best = self.best_variables
            return Bound(self.model, state.average if best is None else best)
        resuming = on_first_process(lambda: folder.open(dataclasses.asdict(settings), resume=resume, overwrite=overwrite))
        on_first_process(lambda: folder.describe(self.model, self.head))
        with (
            Checkpoints(folder.checkpoints, settings.keep) as saved,
            Checkpoints(folder.best, 1) as self.saved_best,
            _Signals() as signals,
            Reporter(folder, self.ends[-1], progress=progress, tensorboard=settings.tensorboard) as self.report,
        ):
            restored = saved.restore(lambda step: _trees(self._abstract_in(self._phase_of(step)))) if resuming else None
            if restored is None:
                state = self.init(self.head)
                on_first_process(lambda: folder.cut(0))
            else:
                step, trees, known = restored
                state = trees["train"].replace(average=trees["average"])
                self.best, self.sums = known["best"], Sums(known["sums"])
                on_first_process(lambda: folder.cut(step))
                self.report.say(f"going on from step {step}")
            state = self._loop(state, saved, signals)
            saved.save(int(state.step), _trees(state), self._known())
        from jaxgen.training.load import load

        return load(folder.path, model=self.model)

    def _phase_of(self, step: int) -> int:
        return next(i for i, end in enumerate(self.ends) if step <= end or end == self.ends[-1])

    def _known(self) -> dict[str, Any]:
        return {"best": self.best, "sums": self.sums.totals}

    def _loop(self, state: TrainState, saved: Checkpoints | None, signals: _Signals) -> TrainState:
        step = int(state.step)
        now = self._phase_of(step)
        for i in range(now, len(self.phases)):
            if i > now:
                state = jax.jit(lambda s, i=i: enter_phase(s, self.phases[i].plays), donate_argnums=0)(state)
            state = self._phase(state, i, saved, signals)
            if signals.received:
                break
        return state

    def _phase(self, state: TrainState, i: int, saved: Checkpoints | None, signals: _Signals) -> TrainState:
        settings, advance, end = self.settings, self.advance[i], self.ends[i]
        every = (settings.log_every, settings.eval_every, settings.checkpoint_every)
        step, call = int(state.step), 1
        self.clock.start(step)
        compiled, trace = False, Trace(self.folder, settings.profile)
        while step < end:
            n = min(call, end - step, *(e - step % e for e in every))
            began = time.monotonic()
            if compiled:
                trace.begin(step)
            with contextlib.nullcontext() if compiled else self.clock.part("first_call"):
                state, metrics = advance(state, step, n)
            compiled = True
            trace.end(step + n, step + n == end)
            call = max(1, min(settings.steps_per_call, int(n * _SECONDS_PER_CALL / (time.monotonic() - began))))
            _refuse_non_finite(metrics, step, self.folder)
            self.sums.add(metrics)
            if skipped := sum(int(m["skipped"].sum()) for m in metrics.values() if "skipped" in m):
                self.report.say(f"skipped {skipped} moves without a finite loss and gradient by step {step + n}")
            step += n
            losses = {play: float(m["loss"][m["played"] > 0][-1]) for play, m in metrics.items() if m["played"].any()}
            self.report.advance(step, losses)
            if step % settings.log_every == 0:
                figures = {"steps_per_second": self.report.rate(), **self.clock.take(step, settings.batch_size)}
                self.report.line(step, self.sums.take() | figures)
            if self.valid is not None and (step % settings.eval_every == 0 or step == self.ends[-1]):
                with self.clock.part("evaluation"):
                    self._evaluate(state, step)
            if signals.received:
                return self._stop(state, step, saved, signals)
            if saved is not None and (step % settings.checkpoint_every == 0 or step == end):
                with self.clock.part("checkpoints"):
                    saved.save(step, _trees(state), self._known())
        return state

    def _stop(self, state: TrainState, step: int, saved: Checkpoints | None, signals: _Signals) -> TrainState:
        name = signal.Signals(signals.received).name
        if saved is None:
            self.report.say(f"{name} at step {step}: what was trained so far is returned")
            return state
        saved.save(step, _trees(state), self._known())
        saved.close()
        raise Interrupted(f"{name}: saved at step {step} in {self.folder.path}; go on with --resume", signals.received)

    def _evaluate(self, state: TrainState, step: int) -> None:
        """Figures and samples of the averages; keeps them where they are the best so far."""
        settings = self.settings
        key = jax.random.fold_in(jax.random.key(settings.seed), 1)
        figures = self._figures(state.average, key)
        line = {f"valid/{name}": value for name, value in figures.items()}
        if settings.eval_raw and settings.ema:
            line |= {f"raw/{name}": value for name, value in self._figures(state.variables, key).items()}
        self.report.line(step, line)
        name, direction = self.model.monitor
        if name not in figures:
            raise ValueError(f"the model monitors {name!r}, but the figures are {sorted(figures)}")
        value, sign = figures[name], {"min": -1, "max": 1}[direction]
        if math.isfinite(value) and (self.best is None or sign * (value - self.best["value"]) > 0):
            self.best = {"step": step, "name": name, "value": value}
            if self.folder is None:
                self.best_variables = jax.tree.map(jnp.copy, state.average)
            else:
                self.saved_best.save(step, {"average": state.average}, {"figures": figures})
        if self.folder is not None:
            self._picture(state.average, key, step)

    def _figures(self, variables: Variables, key: jax.Array) -> dict[str, float]:
        """Of the validation split: the model's own, and those that were asked for beside them."""
        size, draws = self.settings.eval_batch, self.settings.eval_draws
        figures = evaluate(self.model, variables, self.valid, key, batch_size=size, draws=draws)
        if self.figures is not None:
            figures |= evaluate(self.model, variables, self.valid, key, batch_size=size, figures=self.figures)
        return figures

    def _picture(self, variables: Variables, key: jax.Array, step: int) -> None:
        from jaxgen import plotting

        real = self.valid.head(plotting.ROWS)
        if "x" not in real or not plotting.drawable(real["x"]) or not hasattr(self.model, "sample"):
            return
        samples = Bound(self.model, variables).sample(key, len(real["x"]), real.get("context"))
        if jax.process_index() == 0:
            plotting.save(plotting.samples(np.asarray(samples), real["x"]), self.folder.samples / f"{step:07d}.png")


def _trees(state: TrainState) -> dict[str, Any]:
    """A state as a checkpoint holds it: the averages apart, so that they can be restored alone."""
    return {"average": state.average, "train": state.replace(average={})}


def _refuse_non_finite(metrics: Mapping[str, Mapping[str, np.ndarray]], step: int, folder: RunFolder | None) -> None:
    first = None
    for play, values in metrics.items():
        bad = np.flatnonzero((values["played"] > 0) & ~np.isfinite(values["loss"]))
        if bad.size and (first is None or bad[0] < first[0]):
            first = bad[0], play
    if first is not None:
        i, play = first
        there = {name: float(value[i]) for name, value in metrics[play].items()}
        kept = f"; the last checkpoint in {folder.checkpoints} is from before" if folder is not None else ""
        raise NonFiniteLoss(f"the loss of play {play!r} is not finite at step {step + int(i)}: {there}{kept}")


class _Signals:
    """Notes SIGINT and SIGTERM instead of dying of them; a second SIGINT interrupts at once."""

    received: int | None = None

    def __enter__(self) -> _Signals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *_: Any) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: Any) -> None:
        if self.received is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signum
