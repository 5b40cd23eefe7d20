"""What a seed of a run leaves: lines of figures, checkpoints, its best variables, samples; in a folder, or in memory."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.contracts import Model, Variables
from jaxgen.data import Source
from jaxgen.training.trained import TrainedModel
from jaxgen.training.checkpoints import Checkpoints
from jaxgen.training.devices import on_first_process
from jaxgen.training.evaluation import HostMetrics, ValidationMetrics, evaluate
from jaxgen.training.folder import RunFolder
from jaxgen.training.reporting import Reporter, Sums
from jaxgen.training.settings import Settings
from jaxgen.training.state import TrainState


class EvaluationCut(Exception):
    """An evaluation is cut short, between two batches."""


class Record:
    """Of one seed, from its states. Use as a context manager, after `open`.

    Args:
        settings: with this seed.
        folder: where it is kept; None keeps the best variables in memory, and nothing else.
        metrics: of the validation split, beside the model's own.
        host_metrics: of the trained model, at each evaluation.
        progress: show a bar; `steps` are the run's.

    Attributes:
        evaluated: whether what is due at the last step was.
    """

    def __init__(
        self, model: Model, valid: Source | None, settings: Settings, folder: RunFolder | None,
        metrics: ValidationMetrics | None, host_metrics: HostMetrics | None, steps: int, progress: bool,
    ):  # fmt: skip
        self.model, self.valid, self.settings, self.folder = model, valid, settings, folder
        self.metrics, self.host_metrics = metrics, host_metrics
        self.report = Reporter(folder, steps, progress=progress, tensorboard=settings.tensorboard)
        self.sums = Sums()
        self.evaluated = True
        self._best: dict[str, Any] | None = None
        self._best_variables: Variables | None = None
        self._saved: Checkpoints | None = None

    def open(self, head: Any, *, resume: bool, overwrite: bool) -> bool:
        """Makes the folder this run's own; whether there is a run in it to go on with. Raises as `RunFolder.open`."""
        if self.folder is None:
            return False
        config = dataclasses.asdict(self.settings)
        resuming = on_first_process(lambda: self.folder.open(config, resume=resume, overwrite=overwrite))
        on_first_process(lambda: self.folder.describe(self.model, head))
        return resuming

    def __enter__(self) -> Record:
        with contextlib.ExitStack() as stack:
            if self.folder is not None:
                self._saved = stack.enter_context(Checkpoints(self.folder.checkpoints, self.settings.keep))
                self._saved_best = stack.enter_context(Checkpoints(self.folder.best, 1))
            stack.enter_context(self.report)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def restore(
        self, like: Callable[[int], TrainState], at_most: int | None = None
    ) -> tuple[TrainState, dict[str, Any]] | None:
        """The newest state that was saved, up to a step, and what was known then; None where there is none."""
        restored = self._saved.restore(lambda step: _trees(like(step)), at_most)
        if restored is None:
            return None
        _, trees, known = restored
        return trees["train"].replace(average=trees["average"]), known

    def go_on(self, step: int, known: Mapping[str, Any] | None) -> None:
        """From a step, with what was known then; None for a fresh start."""
        if known is not None:
            self._best, self.sums = known["best"], Sums(known["sums"])
            self.evaluated = known.get("evaluated", True)
        if self.folder is not None:
            on_first_process(lambda: self.folder.cut(step, self.evaluated))

    def save(self, state: TrainState) -> None:
        if self._saved is not None:
            known = {"best": self._best, "sums": self.sums.totals, "evaluated": self.evaluated}
            self._saved.save(int(state.step), _trees(state), known)

    def wait(self) -> None:
        """Until what was saved is on disk."""
        if self._saved is not None:
            self._saved.close()

    def evaluate(
        self, state: TrainState, monitor: tuple[str, str] | None, between: Callable[[], None] | None = None
    ) -> None:
        """Metrics and samples of the averages, which are kept if they are the best so far.

        Where `between`, called before each batch, raises `EvaluationCut`, a resumed run evaluates again.

        Args:
            monitor: the metric that chooses the best, and its direction; None: the model's. The best by another metric,
                as of an earlier phase, is replaced.
        """
        settings, step = self.settings, int(state.step)
        key = jax.random.fold_in(jax.random.key(settings.seed), 1)
        try:
            figures = self._figures(state.average, key, between)
            line = {f"valid/{name}": value for name, value in figures.items()}
            if settings.eval_raw and settings.ema:
                raw = self._figures(state.variables, key, between)
                line |= {f"raw/{name}": value for name, value in raw.items()}
        except EvaluationCut:
            return
        self.evaluated = True
        self.report.line(step, line)
        name, direction = monitor or self.model.monitor
        if name not in figures:
            raise ValueError(f"`monitor` must be one of the metrics {sorted(figures)}, got {name!r}")
        value, sign = figures[name], {"min": -1, "max": 1}[direction]
        best = self._best if self._best and self._best["name"] == name else None
        if math.isfinite(value) and (best is None or sign * (value - best["value"]) > 0):
            self._best = {"step": step, "name": name, "value": value}
            if self.folder is None:
                self._best_variables = jax.tree.map(jnp.copy, state.average)
            else:
                self._saved_best.save(step, {"average": state.average}, {"figures": figures})
        if self.folder is not None:
            self._picture(state.average, key, step)

    def _figures(
        self, variables: Variables, key: jax.Array, between: Callable[[], None] | None
    ) -> dict[str, float]:
        """The model's own metrics of the validation split, and those of `fit`'s arguments."""
        given = {"batch_size": self.settings.eval_batch, "between": between}
        figures = evaluate(self.model, variables, self.valid, key, draws=self.settings.eval_draws, **given)
        if self.metrics is not None:
            figures |= evaluate(self.model, variables, self.valid, key, metrics=self.metrics, **given)
        if self.host_metrics is not None:
            figures |= {k: float(v) for k, v in self.host_metrics(TrainedModel(self.model, variables)).items()}
        return figures

    def _picture(self, variables: Variables, key: jax.Array, step: int) -> None:
        from jaxgen import plotting

        real = self.valid.head(plotting.ROWS)
        if "x" not in real or not plotting.drawable(real["x"]) or not hasattr(self.model, "sample"):
            return
        samples = TrainedModel(self.model, variables).sample(key, len(real["x"]), real.get("context"))
        if jax.process_index() == 0:
            plotting.save(plotting.samples(np.asarray(samples), real["x"]), self.folder.samples / f"{step:07d}.png")

    def bound(self, state: TrainState) -> TrainedModel:
        """The model with its best variables, or with the last averages where nothing was evaluated. After closing."""
        if self.folder is None:
            return TrainedModel(self.model, state.average if self._best_variables is None else self._best_variables)
        from jaxgen.training.load import load

        return load(self.folder.path, model=self.model)


def _trees(state: TrainState) -> dict[str, Any]:
    """A state as a checkpoint holds it: the averages apart, so that they can be restored alone."""
    return {"average": state.average, "train": state.replace(average={})}
