"""From a model and data to a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgen.contracts import Model, Play
from jaxgen.data import ArraySource, Splits, checks
from jaxgen.training.bound import Bound
from jaxgen.training.evaluation import Figures
from jaxgen.training.run import Phase, Run
from jaxgen.training.settings import Settings


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
        out: the run's folder: config, metrics, checkpoints, samples. None keeps everything in memory. `~` is expanded, and
            a relative path starts at the folder that is current when training begins.
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
    settings, phases, valid = _understood(model, data, settings, steps, plays, phases)
    run = Run(model, phases, valid, (settings,), (None if out is None else checks.location("out", out),), figures, progress)
    return run.go(resume=resume, overwrite=overwrite)[0]


def fit_seeds(
    model: Model,
    data: Any,
    settings: Settings | None = None,
    *,
    seeds: Sequence[int],
    steps: int | None = None,
    plays: Mapping[str, Play] | None = None,
    phases: tuple[Phase, ...] | None = None,
    figures: Figures | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Bound, ...]:
    """Trains a model once for each seed, side by side in one compiled program: `fit_seeds(model, x, seeds=range(10))`.

    Each run equals, up to round-off, the one that `fit` makes with its seed: the same start, noise and order of the
    rows. Arguments as of `fit`; `settings.seed` does not count.

    Args:
        seeds: their numbers.
        out: each run has a folder of its own in this one, `seed-0`, `seed-1`, ..., which `load` takes; they resume
            together, from the newest step that all have saved.

    Returns:
        As `fit`, one for each seed.

    Raises:
        ValueError: no seed, or one twice; `parallel="pmap"`.
        FileExistsError: `out` holds a run of one seed.
    """
    settings, phases, valid = _understood(model, data, settings, steps, plays, phases)
    seeds = tuple(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds={seeds} were given; one or more are needed, each once")
    if settings.parallel == "pmap":
        raise ValueError('seeds side by side need parallel="jit", got "pmap"')
    if out is not None and (checks.location("out", out) / "config.json").exists():
        raise FileExistsError(f"out={str(out)!r} holds a run of one seed; name another folder for several")
    each = tuple(dataclasses.replace(settings, seed=seed) for seed in seeds)
    folders = tuple(None if out is None else seed_folder(out, seed) for seed in seeds)
    run = Run(model, phases, valid, each, folders, figures, progress)
    return run.go(resume=resume, overwrite=overwrite)


def seed_folder(out: str | Path, seed: int) -> Path:
    """Where `fit_seeds` keeps the run of a seed."""
    return checks.location("out", out) / f"seed-{seed}"


def _understood(
    model: Model, data: Any, settings: Settings | None, steps: int | None,
    plays: Mapping[str, Play] | None, phases: tuple[Phase, ...] | None,
) -> tuple[Settings, tuple[Phase, ...], Any]:  # fmt: skip
    """What was given, checked: settings, phases, and the validation split."""
    settings = settings or Settings()
    if phases is not None:
        settings = dataclasses.replace(settings, steps=sum(phase.steps for phase in phases))
    elif steps is not None:
        settings = dataclasses.replace(settings, steps=steps)
    settings.check()
    splits = as_splits(data)
    if phases is None:
        phases = (Phase(model.plays() if plays is None else plays, splits.train, settings.steps),)
    return settings, phases, splits.valid
