"""Keeps one seed's results during a run: metrics, checkpoints, best variables and samples, in a folder or in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Model, Variables
from jaxgen.data import Source
from jaxgen.training.checkpoints import Checkpoints
from jaxgen.training.devices import on_first_process
from jaxgen.training.evaluation import HostMetrics, ValidationMetrics, evaluate
from jaxgen.training.folder import RunFolder
from jaxgen.training.reporting import Reporter
from jaxgen.training.settings import Settings
from jaxgen.training.signals import EvaluationCut
from jaxgen.training.state import TrainState
from jaxgen.training.step import Metrics
from jaxgen.training.step_metrics import MetricMeans, check_finite, slice_steps
from jaxgen.training.timing import Timer
from jaxgen.training.trained import TrainedModel


class Recorder:
    """Records one seed of a run. Use as a context manager, after `open`.

    Args:
        settings: with this seed.
        folder: None keeps the best variables in memory, and nothing else.
        metrics: of the validation split, beside the model's own.
        host_metrics: of the trained model, at each evaluation.
        steps: of the whole run.
        progress: show a bar.

    Attributes:
        evaluated: whether the evaluation due at the last step was finished.
    """

    def __init__(
        self, model: Model, valid: Source | None, settings: Settings, folder: RunFolder | None, *,
        metrics: ValidationMetrics | None, host_metrics: HostMetrics | None, steps: int, progress: bool,
    ):  # fmt: skip
        self.model, self.valid, self.settings, self.folder = model, valid, settings, folder
        self.metrics, self.host_metrics = metrics, host_metrics
        self.reporter = Reporter(folder, steps, progress=progress, tensorboard=settings.tensorboard)
        self.means = MetricMeans()
        self.evaluated = True
        self._best: dict[str, Any] | None = None
        self._best_variables: Variables | None = None
        self._checkpoints: Checkpoints | None = None

    def open(self, head: Any, *, resume: bool, overwrite: bool) -> bool:
        """Prepares the folder; returns whether it holds a run to resume. Raises as `RunFolder.open`."""
        if self.folder is None:
            return False
        config = dataclasses.asdict(self.settings)
        resuming = on_first_process(lambda: self.folder.open(config, resume=resume, overwrite=overwrite))
        on_first_process(lambda: self.folder.describe(self.model, head))
        return resuming

    def __enter__(self) -> Recorder:
        with contextlib.ExitStack() as stack:
            if self.folder is not None:
                self._checkpoints = stack.enter_context(Checkpoints(self.folder.checkpoints, self.settings.keep))
                self._best_checkpoint = stack.enter_context(Checkpoints(self.folder.best, 1))
            stack.enter_context(self.reporter)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def restore(
        self, like: Callable[[int], TrainState], at_most: int | None = None
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest saved state up to a step, and its progress; None if there are no checkpoints."""
        restored = self._checkpoints.restore(lambda step: checkpoint_trees(like(step)), at_most)
        if restored is None:
            return None
        _, trees, progress = restored
        return trees["train"].replace(average=trees["average"]), progress

    def start(self, step: int, progress: Mapping[str, Any] | None) -> None:
        """Begins at a step, with the progress of its checkpoint; None for a fresh run."""
        if progress is not None:
            self._best, self.means = progress["best"], MetricMeans(progress["sums"])
            self.evaluated = progress.get("evaluated", True)
        if self.folder is not None:
            on_first_process(lambda: self.folder.cut(step, self.evaluated))
        self.reporter.resume()

    def save(self, state: TrainState) -> None:
        if self._checkpoints is not None:
            progress = {"best": self._best, "sums": self.means.totals, "evaluated": self.evaluated}
            self._checkpoints.save(int(state.step), checkpoint_trees(state), progress)

    def wait(self) -> None:
        """Waits until the checkpoints are on disk."""
        if self._checkpoints is not None:
            self._checkpoints.close()

    def evaluate(
        self, state: TrainState, monitor: tuple[str, str] | None, between: Callable[[], None] | None = None
    ) -> None:
        """Evaluates the averages, and keeps them if they are the best so far.

        If `between`, called before each batch, raises `EvaluationCut`, a resumed run evaluates again.

        Args:
            monitor: the metric that chooses the best, and its direction; None: the model's. The best by another metric,
                for example that of an earlier phase, is replaced.
        """
        settings, step = self.settings, int(state.step)
        key = jax.random.fold_in(jax.random.key(settings.seed), 1)
        try:
            metrics = self._metrics(state.average, key, between)
            line = {f"valid/{name}": value for name, value in metrics.items()}
            if settings.eval_raw and settings.ema:
                raw = self._metrics(state.variables, key, between)
                line |= {f"raw/{name}": value for name, value in raw.items()}
        except EvaluationCut:
            return
        self.evaluated = True
        self.reporter.line(step, line)
        name, direction = monitor or self.model.monitor
        if name not in metrics:
            raise ValueError(f"`monitor` must be one of the metrics {sorted(metrics)}, got {name!r}")
        value, sign = metrics[name], {"min": -1, "max": 1}[direction]
        best = self._best if self._best and self._best["name"] == name else None
        if math.isfinite(value) and (best is None or sign * (value - best["value"]) > 0):
            self._best = {"step": step, "name": name, "value": value}
            if self.folder is None:
                self._best_variables = jax.tree.map(jnp.copy, state.average)
            else:
                self._best_checkpoint.save(step, {"average": state.average}, {"metrics": metrics})
        if self.folder is not None:
            self._plot_samples(state.average, key, step)

    def _metrics(self, variables: Variables, key: jax.Array, between: Callable[[], None] | None) -> dict[str, float]:
        """The model's own metrics on the validation split, and those of `fit`'s arguments."""
        options = {"batch_size": self.settings.eval_batch, "between": between}
        metrics = evaluate(self.model, variables, self.valid, key, draws=self.settings.eval_draws, **options)
        if self.metrics is not None:
            metrics |= evaluate(self.model, variables, self.valid, key, metrics=self.metrics, **options)
        if self.host_metrics is not None:
            metrics |= {k: float(v) for k, v in self.host_metrics(TrainedModel(self.model, variables)).items()}
        return metrics

    def _plot_samples(self, variables: Variables, key: jax.Array, step: int) -> None:
        from jaxgen import plotting

        real = self.valid.head(plotting.ROWS)
        if "x" not in real or not plotting.drawable(real["x"]) or not hasattr(self.model, "sample"):
            return
        samples = TrainedModel(self.model, variables).sample(key, len(real["x"]), real.get("context"))
        if jax.process_index() == 0:
            plotting.save(plotting.samples(np.asarray(samples), real["x"]), self.folder.samples / f"{step:07d}.png")

    def trained(self, state: TrainState) -> TrainedModel:
        """The model with its best variables, or with the last averages if nothing was evaluated. Call it after
        closing."""
        if self.folder is None:
            return TrainedModel(self.model, state.average if self._best_variables is None else self._best_variables)
        from jaxgen.training.load import load

        return load(self.folder.path, model=self.model)


def record_steps(
    recorders: Sequence[Recorder], metrics: Sequence[Metrics], timer: Timer, *, step: int, n: int, examples: int
) -> None:
    """Checks and records the metrics of the `n` steps from `step` on, and writes the lines that they complete.

    Args:
        metrics: of each seed, with a leading axis of steps.
        examples: per step.

    Raises:
        NonFiniteLoss: a loss or gradient is not finite.
    """
    reporter, every = recorders[0].reporter, recorders[0].settings.log_every
    losses, skipped = {}, 0
    for recorder, plays in zip(recorders, metrics, strict=True):
        check_finite(plays, step, recorder.folder)
        skipped += sum(int(values["skipped"].sum()) for values in plays.values() if "skipped" in values)
        for play, values in plays.items():
            if values["played"].any():
                losses.setdefault(play, []).append(float(values["loss"][values["played"] > 0][-1]))
    if skipped:
        reporter.message(f"skipped {skipped} moves without a finite loss and gradient by step {step + n}")
    reporter.advance(step + n, {play: sum(values) / len(values) for play, values in losses.items()})
    line_ends = range(step - step % every + every, step + n + 1, every)
    times = {}
    if line_ends:
        times = {"steps_per_second": reporter.rate()} | timer.take(step + n, examples, len(line_ends))
    for recorder, plays in zip(recorders, metrics, strict=True):
        begin = step
        for end in line_ends:
            recorder.means.add(slice_steps(plays, begin - step, end - step))
            recorder.reporter.line(end, recorder.means.take() | times)
            begin = end
        recorder.means.add(slice_steps(plays, begin - step, n))


def checkpoint_trees(state: TrainState) -> dict[str, Any]:
    """A state's pytrees in a checkpoint; the averages are apart, so that they can be restored alone."""
    return {"average": state.average, "train": state.replace(average={})}
