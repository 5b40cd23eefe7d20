"""`fit`: trains a model on data."""

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
    """Splits from an array, a mapping of arrays with an `"x"`, a mapping of such mappings (`Zipped`), a source or
    splits."""
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
        settings: batch size, seed, averages, intervals of evaluations and checkpoints, devices.
        steps: replaces `settings.steps`.
        plays: replace the model's own, in one phase.
        phases: replace the model's own (`jaxgen.contracts.model_phases`); their steps add up to the run's.
        optimizers: by play; replace the plays' own: `{"critic": optax.adam(1e-4)}`.
        start: variables by player that replace the initial ones: fine-tuning, transfer, pretrained networks. A resumed
            run starts from its checkpoint instead.
        metrics: compiled metrics of the validation split, beside the model's own; `monitor` may name one of them.
        host_metrics: metrics of the `TrainedModel` so far, computed on the host at each evaluation.
        out: the run's folder: config, metrics, checkpoints, samples. None keeps everything in memory. `~` is expanded,
            and a relative path is resolved when training begins.
        resume: continue the run in `out` if there is one, bit for bit as without the interruption.
        overwrite: replace the run in `out`.
        progress: show a bar.

    Returns:
        The model with its best variables by `monitor` on the validation split, or the last ones without such a split.
        Both are averages unless `settings.ema` is 0.

    Raises:
        ValueError, FileExistsError: arguments do not fit together; raised before anything is compiled.
        NonFiniteLoss: names the step, the play and its metrics.
        Interrupted: a signal was received, and the run is saved; without `out`, the model so far is returned instead.
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
        out: holds the runs' folders `seed-0`, `seed-1`, ... for `load`; they resume together, from the newest step that
            all have saved.

    Returns:
        One result of `fit` for each seed.

    Raises:
        ValueError: `seeds` are empty, repeated or outside 0 .. 2^32 - 1; `parallel="pmap"`.
        FileExistsError: `out` holds a run of `fit`.
    """
    settings, phases, valid = _resolve(model, data, settings, steps, plays, phases, optimizers)
    seeds = tuple(checks.seed(seed, "seeds") for seed in seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` must be one or more distinct integers, got {seeds}")
    if settings.parallel == "pmap":
        raise ValueError("`parallel` must be 'jit' for several seeds, got 'pmap'")
    if out is not None and (checks.location("out", out) / "config.json").exists():
        raise FileExistsError(f"`out` must not hold a run of one seed, got {str(out)!r}")
    seed_settings = tuple(dataclasses.replace(settings, seed=seed) for seed in seeds)
    folders = tuple(None if out is None else seed_folder(out, seed) for seed in seeds)
    run = Run(model, phases, valid, seed_settings, folders, metrics, host_metrics, start, progress)
    return run.go(resume=resume, overwrite=overwrite)


def seed_folder(out: str | Path, seed: int) -> Path:
    """The folder of a seed's run in `out` of `fit_seeds`."""
    return checks.location("out", out) / f"seed-{seed}"


def _resolve(
    model: Model, data: Any, settings: Settings | None, steps: int | None, plays: Mapping[str, Play] | None,
    phases: Sequence[Phase] | None, optimizers: Mapping[str, optax.GradientTransformation] | None,
) -> tuple[Settings, tuple[Phase, ...], Any]:  # fmt: skip
    """The settings, the phases with their data and optimizers, and the validation split; checked."""
    if phases is not None and (steps is not None or plays is not None):
        raise ValueError("`steps` and `plays` must be None if there are `phases`, which have their own")
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
    names = {name for phase in phases for name in phase.plays}
    if unknown := set(optimizers) - names:
        raise ValueError(f"`optimizers` must be keyed by the plays {sorted(names)}, got {sorted(unknown)}")

    def resolved(phase: Phase) -> Phase:
        replaced = {n: p._replace(optimizer=optimizers.get(n, p.optimizer)) for n, p in phase.plays.items()}
        return phase._replace(plays=replaced, data=splits.train if phase.data is None else phase.data)

    return settings, tuple(map(resolved, phases)), splits.valid
