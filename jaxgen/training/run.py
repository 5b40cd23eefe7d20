"""The training loop of one run: of one seed, or of several side by side."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.contracts import Model, Phase, Variables
from jaxgen.training.advance import Advance, make_advance
from jaxgen.training.devices import make_mesh, placed, replicated
from jaxgen.training.evaluation import HostMetrics, ValidationMetrics
from jaxgen.training.folder import RunFolder
from jaxgen.training.recorder import Recorder, record_steps
from jaxgen.training.seeds import AXES, over_seeds, select_seed, stack_states
from jaxgen.training.settings import Settings
from jaxgen.training.signals import Interrupted, Signals
from jaxgen.training.state import TrainState, enter_phase, init_state, signature
from jaxgen.training.timing import Timer, Trace
from jaxgen.training.trained import TrainedModel

INIT_EXAMPLES = 512
"""Examples that data-dependent initialisation sees, whatever the number of devices."""
_SECONDS_PER_CALL = 2.0  # short enough for signals and a bar that moves; each call allocates its memory anew


class Run:
    """A run of one seed, or of several, whose states are stacked along an axis of seeds (`jaxgen.training.seeds`).

    Args:
        phases: with their data.
        settings: one for each seed; they differ in `seed` alone.
        folders: one for each seed.
        start: variables to begin from (`init_state`).

    Raises:
        ValueError: batch sizes, devices, data and plays do not fit together; nothing is compiled before.
    """

    def __init__(
        self, model: Model, phases: tuple[Phase, ...], valid: Any, settings: tuple[Settings, ...],
        folders: tuple[Path | None, ...], metrics: ValidationMetrics | None = None,
        host_metrics: HostMetrics | None = None, start: Variables | None = None, progress: bool = False,
    ):  # fmt: skip
        self.model, self.phases, self.valid, self.settings, self.start = model, phases, valid, settings[0], start
        self.seeds = tuple(one.seed for one in settings)
        self.mesh = make_mesh(self.settings.devices)
        self.ends = [sum(phase.steps for phase in phases[: i + 1]) for i in range(len(phases))]
        self.recorders = [
            Recorder(
                model, valid, one, folder and RunFolder(folder), metrics=metrics, host_metrics=host_metrics,
                steps=self.ends[-1], progress=progress and i == 0,
            )  # fmt: skip
            for i, (one, folder) in enumerate(zip(settings, folders, strict=True))
        ]
        self.folder, self.reporter, self.timer = self.recorders[0].folder, self.recorders[0].reporter, Timer()
        self.head = phases[0].data.head(INIT_EXAMPLES)
        self.sizes = [self._batch_size(phase) for phase in phases]
        # it runs once: on a CPU, where LLVM optimises for seconds, quick to compile is better than quick to run
        options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
        whole = replicated(self.mesh)
        self.init = jax.jit(self._init, out_shardings=whole, compiler_options=options)
        self.select_seed = jax.jit(select_seed, out_shardings=whole)
        # tracing finds what does not fit together before anything is compiled
        self.abstract = [jax.eval_shape(self.init, self.head, start)]
        for i in range(1, len(phases)):
            self.abstract.append(jax.eval_shape(self._enter(i), self.abstract[-1], self._head(i)))
        self.advance = [
            make_advance(phase.plays, phase.data, self.settings, size, self.mesh, self.timer, self.seeds)
            for phase, size in zip(phases, self.sizes, strict=True)
        ]
        for abstract, advance in zip(self.abstract, self.advance, strict=True):
            self._check(placed(abstract, whole), advance)
        if self.settings.profile and self.folder is None:
            raise ValueError(f"`out` must be a folder for the trace of profile={self.settings.profile}, got None")

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
                times = f" times accumulate={settings.accumulate}" if settings.accumulate > 1 else ""
                raise ValueError(f"`batch_size` must be a multiple of the {self.mesh.size} devices{times}, got {n}")
            if n > len(source):
                raise ValueError(f"`batch_size` must be at most the {len(source)} examples of {source.name}, got {n}")
        return size

    def _head(self, phase: int) -> Any:
        """The first examples of a phase's data, if it has an `enter`."""
        return self.phases[phase].data.head(INIT_EXAMPLES) if self.phases[phase].enter else None

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

    def _abstract_in(self, phase: int) -> TrainState:
        """Shapes of one seed's state in a phase."""
        state = self.abstract[phase]
        state = state if len(self.seeds) == 1 else jax.eval_shape(lambda s: select_seed(s, 0), state)
        return placed(state, replicated(self.mesh))

    def _check(self, state: TrainState, advance: Advance) -> None:
        if signature(state) != signature(advance.shapes(state)[0]):
            raise ValueError("plays must keep the structure, shapes and dtypes of the model's variables")

    def _each(self, state: TrainState) -> Iterator[tuple[Recorder, TrainState]]:
        """Each recorder with its seed's state."""
        for i, recorder in enumerate(self.recorders):
            yield recorder, state if len(self.recorders) == 1 else self.select_seed(state, i)

    def go(self, *, resume: bool, overwrite: bool) -> tuple[TrainedModel, ...]:
        """Trains to the end, or from the newest checkpoints on; the trained model of each seed."""
        resuming = [recorder.open(self.head, resume=resume, overwrite=overwrite) for recorder in self.recorders]
        with contextlib.ExitStack() as stack:
            for recorder in self.recorders:
                stack.enter_context(recorder)
            signals = stack.enter_context(Signals())
            state = self._restore() if all(resuming) else None
            if state is None:
                state = self.init(self.head, self.start)
                for recorder in self.recorders:
                    recorder.start(0, None)
            elif not all(recorder.evaluated for recorder in self.recorders):
                self._evaluate(state, signals)
                if signals.received:
                    self._stop(state, signals)
            state = self._loop(state, signals)
            self._save(state)
        return tuple(recorder.trained(seed_state) for recorder, seed_state in self._each(state))

    def _restore(self) -> TrainState | None:
        """The newest state that all seeds have saved."""
        restored, at_most = [], None
        while not restored or len({int(state.step) for state, _ in restored}) > 1:
            restored = [
                r.restore(lambda step: self._abstract_in(self._phase_of(step)), at_most) for r in self.recorders
            ]
            if None in restored:
                return None
            at_most = min(int(state.step) for state, _ in restored)
        for recorder, (_, progress) in zip(self.recorders, restored, strict=True):
            recorder.start(at_most, progress)
        self.reporter.message(f"resuming from step {at_most}")
        states = [state for state, _ in restored]
        return states[0] if len(states) == 1 else jax.jit(stack_states, out_shardings=replicated(self.mesh))(states)

    def _phase_of(self, step: int) -> int:
        return next(i for i, end in enumerate(self.ends) if step <= end or end == self.ends[-1])

    def _save(self, state: TrainState) -> None:
        if self.folder is None:
            return
        for recorder, seed_state in self._each(state):
            recorder.save(seed_state)

    def _loop(self, state: TrainState, signals: Signals) -> TrainState:
        current = self._phase_of(int(state.step))
        for i in range(current, len(self.phases)):
            if i > current:
                state = jax.jit(self._enter(i), donate_argnums=0)(state, self._head(i))
            with contextlib.closing(self.advance[i]):
                state = self._phase(state, i, signals)
            if signals.received:
                break
        return state

    def _phase(self, state: TrainState, i: int, signals: Signals) -> TrainState:
        settings, advance, end = self.settings, self.advance[i], self.ends[i]
        step, call = int(state.step), 1
        size = self.sizes[i]
        examples = sum(size.values()) if isinstance(size, Mapping) else size
        self.timer.start(step)
        compiled, trace = False, Trace(self.folder, settings.profile)
        while step < end:
            n = min(call, end - step, *(e - step % e for e in (settings.eval_every, settings.checkpoint_every)))
            began = time.monotonic()
            if compiled:
                trace.begin(step)
            with contextlib.nullcontext() if compiled else self.timer.part("first_call"):
                state, metrics = advance(state, step, n)
            compiled = True
            trace.end(step + n, step + n == end)
            call = max(1, min(settings.steps_per_call, int(n * _SECONDS_PER_CALL / (time.monotonic() - began))))
            record_steps(self.recorders, metrics, self.timer, step=step, n=n, examples=examples)
            step += n
            if self.valid is not None and (step % settings.eval_every == 0 or step == self.ends[-1]):
                for recorder in self.recorders:
                    recorder.evaluated = False
                with self.timer.part("evaluation"):
                    self._evaluate(state, signals)
            if signals.received:
                return self._stop(state, signals)
            if step % settings.checkpoint_every == 0 or step == end:
                with self.timer.part("checkpoints"):
                    self._save(state)
        return state

    def _evaluate(self, state: TrainState, signals: Signals) -> None:
        """Evaluates the seeds whose evaluation at this step is still due."""
        # several processes compute each batch together
        between = signals.check if jax.process_count() == 1 else None
        for recorder, seed_state in self._each(state):
            if not recorder.evaluated:
                recorder.evaluate(seed_state, self.phases[self._phase_of(int(state.step))].monitor, between)

    def _stop(self, state: TrainState, signals: Signals) -> TrainState:
        """Saves and raises `Interrupted`; without a folder, returns the state."""
        name, step = signal.Signals(signals.received).name, int(state.step)
        if self.folder is None:
            self.reporter.message(f"{name} at step {step}: the model trained so far is returned")
            return state
        self._save(state)
        for recorder in self.recorders:
            recorder.wait()
        path = self.folder.path if len(self.recorders) == 1 else self.folder.path.parent
        raise Interrupted(f"{name}: saved at step {step} in {path}; resume with --resume", signals.received)
