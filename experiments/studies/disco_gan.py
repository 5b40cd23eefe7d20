"""DiscoGAN against its ablations on mixtures: `python -m experiments.studies.disco_gan`.

Kim et al. 2017 (arXiv:1703.05192), section 3.1 and figure 4, show one run of each model from five modes to ten: the GAN
maps several modes of a to one of b, reconstruction makes that rarer, and DiscoGAN covers all modes without collisions.
Here the layouts of a and b differ (`jaxgen.data.toys`), since a shift or a rotation would be learned by any of them.

A mode is covered if 1 % of the translations are within three standard deviations of it; two modes of a collide if most
of their translations are nearest to the same mode of b.

Result after 4,000 steps, ten seeds, about a minute a row on one core: from 5 to 10 modes the GAN covers 4.5 ± 0.4, with
reconstruction 4.2 ± 0.2, DiscoGAN 9.9 ± 0.1; from 10 to 10 they cover 3.0 ± 0.3, 3.3 ± 0.8 and 9.3 ± 0.2, with 5.0 ±
0.0, 5.0 ± 0.6 and 3.7 ± 0.3 collisions. So DiscoGAN does what the paper shows, but the reconstruction of a alone does
not help the GAN. DiscoGAN without one of its reconstructions shows why: what covers b is the reconstruction of b, which
needs a translation from a onto each example of b (9.1 ± 0.4 without that of a), while any injective translation
reconstructs a (4.5 ± 0.2 without that of b).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.studies import harness
from experiments.translation.disco_gan import (
    ARMS,
    DRAWN,
    LIMIT,
    MIXTURES,
    DiscoGANConfig,
    model,
    modes,
    probability,
)
from jaxgen import plotting
from jaxgen.data import domains
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.training import Settings, TrainedModel, fit_seeds
from jaxgen.training.ranges import Count

LAYOUTS = {"5 to 10": "five_gaussians,ten_gaussians", "10 to 10": "ten_paired_gaussians,ten_gaussians"}
"""The two domains, by the numbers of their modes."""
PARTS = {
    "discogan without L_const_A": {"reconstructed": ("b",)}, "discogan without L_const_B": {"reconstructed": ("a",)}
}  # fmt: skip
"""What of DiscoGAN makes the difference: both critics, but the reconstruction of one domain alone."""
METRICS = {"modes_b": 1, "collisions_b": 1, "high_quality_b": 3, "distance_a": 3}
"""The metrics with their digits."""
HEAD = ("model, domains", "modes of 10", "collisions", "high quality", "distance of G_A(G_B(x)) from x", "seconds")
PER_CALL = 1_000


@dataclass(frozen=True, kw_only=True)
class Arms(harness.StudyConfig):
    steps: Count = 4_000
    """Batches of each run; the paper has 50,000."""
    seeds: Count = 10
    """Runs of each model, side by side."""
    batch_size: Count = 100
    width: Count = 64
    """Units of a layer."""
    runs: Path = Path("runs/studies.disco_gan")


def study(config: Arms) -> str:
    """Raises:
    ValueError: unknown names in `only`, rows with other settings.
    NonFiniteLoss: a model's loss is not finite.
    Interrupted: a signal was received; the next run of the study continues.
    """
    settings = {name: getattr(config, name) for name in ("steps", "seeds", "batch_size", "width")}
    arms = (*ARMS, *PARTS)
    compute = {f"{arm}, {layout}": partial(train, arm, layout, config) for layout in LAYOUTS for arm in arms}
    results = harness.rows(compute, config.only, config.runs, settings)
    for layout, data in LAYOUTS.items():
        plot(config.runs, layout, data, [arm for arm in ARMS if f"{arm}, {layout}" in results])
    lines = [
        (name, *(cell(result, metric) for metric in METRICS), result["training_seconds"])
        for name, result in results.items()
    ]
    notes = f"{config.steps:,} steps of {config.batch_size}, {config.seeds} seeds, {config.width} units a layer."
    records = [record(config, name, result) for name, result in results.items()]
    return harness.save(config.runs, harness.table(HEAD, lines, notes), records)


def cell(result: Mapping[str, Any], metric: str) -> str:
    return with_error(result[metric], METRICS[metric]) if metric in result else "–"


def record(config: Arms, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    arm, _, layout = name.partition(", ")
    names = [metric for metric in METRICS if metric in result]
    seeds = [dict(zip(names, values, strict=True)) for values in zip(*(result[m] for m in names), strict=True)]
    means, errors = mean_and_error(seeds) if len(seeds) > 1 else (seeds[0], {})
    return {
        "experiment": "studies.disco_gan", "system": arm, "data": LAYOUTS[layout], "seeds": config.seeds, "test": means,
        "standard_errors": errors, "headline": ["modes_b", "collisions_b", "high_quality_b"], "steps": config.steps,
        "changed": {"width": config.width, "batch_size": config.batch_size},
        "training_seconds": result["training_seconds"], "published": [],
    }  # fmt: skip


def train(arm: str, layout: str, config: Arms) -> dict[str, Any]:
    """Trains the seeds of a model; returns lists over seeds, by metric. Writes the points of a plot of the first."""
    began, data = time.monotonic(), LAYOUTS[layout]
    splits = domains(data)
    built = model(DiscoGANConfig(arm=arm if arm in ARMS else "discogan", width=config.width), splits)
    built = replace(built, **PARTS.get(arm, {}))
    # without moving averages, as in the paper
    settings = Settings(
        steps=config.steps, batch_size=config.batch_size, ema=0.0, steps_per_call=PER_CALL, log_every=PER_CALL,
        eval_every=config.steps, checkpoint_every=config.steps,
    )  # fmt: skip
    # with a folder, an interrupted row is not finished but continued by the next run of the study
    seeds = fit_seeds(
        built, splits.train, settings, seeds=range(config.seeds), out=config.runs / harness.slug(f"{arm}, {layout}"),
        resume=True, progress=False,
    )  # fmt: skip
    metrics = [modes(data, splits.test, trained) for trained in seeds]
    x, label = (splits.test.sources["a"].head(DRAWN)[name] for name in ("x", "label"))
    initial = TrainedModel(built, built.init(jax.random.key(0), splits.train.head(1)))
    np.savez(
        config.runs / f"{harness.slug(f'{arm}, {layout}')}.npz", label=label, initial=initial.translate(x),
        translated=seeds[0].translate(x), surface=probability(seeds[0], plotting.mesh(LIMIT), "b"),
    )  # fmt: skip
    result = {name: [one[name] for one in metrics] for name in METRICS if name in metrics[0]}
    return {**result, "training_seconds": round(time.monotonic() - began)}


def plot(folder: Path, layout: str, data: str, arms: list[str]) -> None:
    """The paper's figure 4 of the first seed: translations before training, and by each finished model."""
    panels, surfaces = {}, {}
    for arm in arms:
        with np.load(folder / f"{harness.slug(f'{arm}, {layout}')}.npz") as file:
            panels["initial"] = file["initial"], file["label"]
            panels[arm], surfaces[arm] = (file["translated"], file["label"]), file["surface"]
    if panels:
        figure = plotting.mapped_points(panels, MIXTURES[data.split(",")[1]][0], surfaces, LIMIT)
        plotting.save(figure, folder / f"{harness.slug(layout)}.png")


if __name__ == "__main__":
    harness.main(Arms, study, __doc__, "experiments.studies.disco_gan")
