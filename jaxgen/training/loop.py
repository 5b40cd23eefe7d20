"""From a model and data to a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from jaxgen.contracts import Model, Phase, Play, Variables, model_phases
from jaxgen.data import ArraySource, Splits, Zipped, checks
from jaxgen.training.evaluation import HostMetrics, ValidationMetrics
from jaxgen.training.run import Run
from jaxgen.training.settings import Settings
from jaxgen.training.trained import TrainedModel


def as_splits(data: Any) -> Splits:
    """Splits of splits, a source, an array, a mapping of arrays with an `"x"`, or a mapping of such mappings (`Zipped`)."""
    if isinstance(data, Splits):
        return data
    if isinstance(data, (np.ndarray, jax.Array, list)):
        data = {"x": data}
    if isinstance(data, Mapping):
        data = _source(data)
    if not hasattr(data, "batch_at"):
        raise ValueError(f"`data` must be an array, a mapping of arrays, a source or splits, got {type(data).__name__}")
    return Splits(data, None, None)


def _source(arrays: Mapping[str, Any]) -> Any:
    if arrays and all(isinstance(part, Mapping) for part in arrays.values()):
        return Zipped({name: _source(part) for name, part in arrays.items()})
    return ArraySource(arrays, levels=256 if getattr(arrays.get("x"), "dtype", None) == np.uint8 else None)


def fit(
    model: Model,
    data: Any,
    settings: Settings | None = None,
    *,
    steps: int | None = None,
    plays: Mapping[str, Play] | None = None,
    phases: Sequence[Phase] | None = None,
    optimizers: Mapping[str, optax.GradientTransformation] | None = None,
    start: Variables | None = None,
    metrics: ValidationMetrics | None = None,
    host_metrics: HostMetrics | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> TrainedModel:
    """Trains a model: `fit(model, x, steps=1000)`.

    Args:
        data: an array, a mapping of arrays (`"x"`, and `"label"`, `"context"`), a mapping of such mappings for
            several domains, a source, or splits, whose validation split chooses the best variables.
        settings: batch size, seed, averages, how often to evaluate and save, devices.
        steps: replaces `settings.steps`.
        plays: a game that replaces the model's own, in one phase.
        phases: replace the model's own (`jaxgen.contracts.model_phases`); their steps add up to the run's.
        optimizers: by play, in place of the plays' own: `{"critic": optax.adam(1e-4)}`.
        start: variables to begin from, by player, in place of fresh ones: fine-tuning, transfer, pretrained networks.
            A resumed run goes on from its checkpoint instead.
        metrics: of the validation split, compiled, beside the model's own; `monitor` may name one of them.
        host_metrics: of the trained model so far, computed on the host at each evaluation.
        out: the run's folder: config, metrics, checkpoints, samples. None keeps everything in memory. `~` is expanded,
            and a relative path is resolved when training begins.
        resume: continue the run in `out` if there is one; the result is the same bit for bit as without interruption.
        overwrite: replace the run in `out`.
        progress: show a bar.

    Returns:
        The model with its best variables by `monitor` on the validation split, or with the last ones if there is no
        such split; averages in both cases, unless `settings.ema` is 0.

    Raises:
        ValueError, FileExistsError: an argument does not fit, before anything is compiled.
        NonFiniteLoss: with the step, the play and its metrics.
        Interrupted: by a signal, after saving; without a folder, the variables so far are returned instead.
    """
    settings, phases, valid = _resolve(model, data, settings, steps, plays, phases, optimizers)
    folders = (None if out is None else checks.location("out", out),)
    run = Run(model, phases, valid, (settings,), folders, metrics, host_metrics, start, progress)
    return run.go(resume=resume, overwrite=overwrite)[0]


def fit_seeds(
    model: Model,
    data: Any,
    settings: Settings | None = None,
    *,
    seeds: Sequence[int],
    steps: int | None = None,
    plays: Mapping[str, Play] | None = None,
    phases: Sequence[Phase] | None = None,
    optimizers: Mapping[str, optax.GradientTransformation] | None = None,
    start: Variables | None = None,
    metrics: ValidationMetrics | None = None,
    host_metrics: HostMetrics | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[TrainedModel, ...]:
    """Trains a model once for each seed, side by side in one compiled program: `fit_seeds(model, x, seeds=range(10))`.

    Each run equals, up to round-off, the run of `fit` with its seed: the same initialisation, noise and data order.
    Arguments as in `fit`; `settings.seed` is ignored.

    Args:
        seeds: distinct integers.
        out: the folder of the runs' folders `seed-0`, `seed-1`, ..., which `load` takes; they resume together, from the
            newest step that all have saved.

    Returns:
        As `fit`, one for each seed.

    Raises:
        ValueError: no seed, one twice, or one outside of 0 .. 2^32 - 1; `parallel="pmap"`.
        FileExistsError: `out` holds a run of one seed.
    """
    settings, phases, valid = _resolve(model, data, settings, steps, plays, phases, optimizers)
    seeds = tuple(checks.seed(seed, "seeds") for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be one or more distinct integers, got {seeds}")
    if settings.parallel == "pmap":
        raise ValueError('seeds side by side need parallel="jit", got "pmap"')
    if out is not None and (checks.location("out", out) / "config.json").exists():
        raise FileExistsError(f"out={str(out)!r} holds a run of one seed; name another folder for several")
    each = tuple(dataclasses.replace(settings, seed=seed) for seed in seeds)
    folders = tuple(None if out is None else seed_folder(out, seed) for seed in seeds)
    run = Run(model, phases, valid, each, folders, metrics, host_metrics, start, progress)
    return run.go(resume=resume, overwrite=overwrite)


def seed_folder(out: str | Path, seed: int) -> Path:
    """Where `fit_seeds` keeps the run of a seed."""
    return checks.location("out", out) / f"seed-{seed}"


def _resolve(
    model: Model, data: Any, settings: Settings | None, steps: int | None, plays: Mapping[str, Play] | None,
    phases: Sequence[Phase] | None, optimizers: Mapping[str, optax.GradientTransformation] | None,
) -> tuple[Settings, tuple[Phase, ...], Any]:  # fmt: skip
    """The settings, the phases with their data and optimizers, and the validation split; checked."""
    if phases is not None and (steps is not None or plays is not None):
        raise ValueError("`phases` have their own steps and plays: `steps` and `plays` must be None")
    settings = settings or Settings()
    if phases is not None:
        settings = dataclasses.replace(settings, steps=sum(phase.steps for phase in phases))
    elif steps is not None:
        settings = dataclasses.replace(settings, steps=steps)
    settings.check()
    splits = as_splits(data)
    if phases is None:
        phases = model_phases(model, settings.steps) if plays is None else (Phase(plays, settings.steps),)
    optimizers = dict(optimizers or {})
    if unknown := set(optimizers) - {name for phase in phases for name in phase.plays}:
        known = sorted({name for phase in phases for name in phase.plays})
        raise ValueError(f"`optimizers` must be of the plays {known}, got {sorted(unknown)}")

    def resolved(phase: Phase) -> Phase:
        replaced = {n: p._replace(optimizer=optimizers.get(n, p.optimizer)) for n, p in phase.plays.items()}
        return phase._replace(plays=replaced, data=splits.train if phase.data is None else phase.data)

    return settings, tuple(map(resolved, phases)), splits.valid
