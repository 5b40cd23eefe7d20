"""Anomaly scores of images: GANomaly, an autoencoder with the same networks, a VAE, principal components, and a forest.

`python -m experiments.studies.anomaly --data mnist.npz --held-out 0 1 2 3 4 5 6 7 8 9` holds out each class in turn,
the paper's protocol; `--normal` trains on one class. Each system trains on normal examples alone, and nothing is chosen
by test examples. The table has the AUC on the test split, and with several seeds its standard error.

On MNIST, one seed of `--steps 400 --width 8 --vae-steps 1500`, 13 minutes of one shared core: GANomaly has a mean AUC
over digits of 0.764 by its latents and 0.614 by its pixels, the autoencoder 0.607, the VAE 0.716, principal components
0.736, whose number normal and anomalous validation examples choose, and the forest 0.566. A 1 has less error of pixels
than nearly all other digits, though it was held out: an AUC of 0.01, and 0.68 by latents.

On magnetic tiles (`--normal 0`, with labels 0 for tiles without defects, `--steps 1500 --width 16 --vae-steps 4000
--seeds 3`) GANomaly has 0.644 +- 0.002 by latents and 0.645 +- 0.002 by pixels, the autoencoder 0.647 +- 0.001, the VAE
0.604 +- 0.015, and principal components 0.684: GANomaly does not beat its controls. On CIFAR-10 with one normal class
(`--normal 0 1 2 3 4 5 6 7 8 9 --seeds 3`, the rest as for MNIST) none is far from the forest: GANomaly 0.595, the
autoencoder 0.597, the VAE 0.576, principal components 0.607, the forest 0.596.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.config import Experiment
from experiments.detection import DetectionConfig
from experiments.hybrids import ganomaly
from experiments.hybrids.ganomaly import GANomalyConfig
from experiments.studies import harness
from experiments.vaes import anomaly as vae_anomaly
from experiments.vaes.anomaly import METHODS, AnomalyConfig
from jaxgen.data import Splits
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.training import fit, fit_seeds
from jaxgen.training.ranges import Count, Natural


class System(NamedTuple):
    """A system: an experiment's config and `build`, fields of the config, and its scores."""

    config: type[DetectionConfig]
    build: Callable[[Any, Splits], Experiment]
    fields: Mapping[str, Any]
    scores: tuple[str, ...]


GANOMALY = {**GANomalyConfig.PRESETS["small"], "preset": "small", "baselines": False}
SYSTEMS = {
    "GANomaly": System(GANomalyConfig, ganomaly.build, GANOMALY, ("latent", "pixels")),
    "autoencoder": System(
        GANomalyConfig, ganomaly.build, {**GANOMALY, "adversarial_weight": 0.0, "latent_weight": 0.0}, ("pixels",)
    ),
    "VAE": System(
        AnomalyConfig, vae_anomaly.build, {"score_samples": 5, "importance_samples": 10}, METHODS
    ),
    "GANomaly without critic": System(
        GANomalyConfig, ganomaly.build, {**GANOMALY, "adversarial_weight": 0.0}, ("latent", "pixels")
    ),
}  # fmt: skip
BASELINES = ("PCA", "isolation forest")
"""Measured beside the VAE."""
BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class AnomalyStudy(harness.StudyConfig):
    data: str = "digits"
    """Labelled images."""
    held_out: tuple[Natural, ...] = ()
    """Classes that are the anomaly, each in a row of its own."""
    normal: tuple[Natural, ...] = ()
    """Classes that are the only normal one."""
    systems: tuple[str, ...] = tuple(SYSTEMS)
    """Names of the systems to compare."""
    width: Count = 16
    """Channels of the first layer; the VAE is dense."""
    steps: Count = 1_500
    """Batches of GANomaly and the autoencoders."""
    vae_steps: Count = 4_000
    train_examples: Count = 10_000
    """Normal examples to train on."""
    seeds: Count = 1
    """Runs of each system, side by side."""
    runs: Path = Path("runs/studies.anomaly")


def study(config: AnomalyStudy) -> str:
    """Raises:
    ValueError: no class to hold out; unknown systems or names in `only`; rows with other settings.
    """
    tasks = {f"held out {c}": {"held_out": c} for c in config.held_out}
    tasks |= {f"normal {c}": {"normal": c} for c in config.normal}
    if not tasks:
        raise ValueError("`held_out` or `normal` must name a class")
    if unknown := sorted(set(config.systems) - set(SYSTEMS)):
        raise ValueError(f"`systems` must be some of {list(SYSTEMS)}, got {unknown}")
    compute = {
        f"{system}, {task}": partial(train, system, task, fields, config)
        for system in config.systems for task, fields in tasks.items()
    }  # fmt: skip
    names = ("width", "steps", "vae_steps", "train_examples", "seeds")
    settings = {name: getattr(config, name) for name in names} | {"data": Path(config.data).name}
    results = harness.rows(compute, config.only, config.runs, settings)
    # of one task, the table has the AUC of each class of anomalies too; those of several tasks would overlap
    kinds = sorted({kind for result in results.values() for kind in kinds_of(result)}) if len(tasks) == 1 else []
    head = ("score", *tasks, *(["mean"] if len(tasks) > 1 else []), *(f"class {kind}" for kind in kinds))
    notes = f"AUC. {config.steps:,} steps (VAE: {config.vae_steps:,}) of {BATCH_SIZE} of at most "
    notes += f"{config.train_examples:,} examples, width {config.width}, seeds: {config.seeds}."
    table = harness.table(head, lines(results, list(tasks), kinds, config), notes)
    records = [record(config, *name.split(", "), result) for name, result in results.items()]
    return harness.save(config.runs, table, records)


def train(name: str, task: str, fields: Mapping[str, int], config: AnomalyStudy) -> dict[str, Any]:
    """The test metrics of each seed, and those of the baselines. Systems share a process, which compiles once."""
    began, system = time.monotonic(), SYSTEMS[name]
    is_vae = system.config is AnomalyConfig
    steps = config.vae_steps if is_vae else config.steps
    settings = {} if is_vae else {"width": config.width}
    one = system.config(**{
        **system.fields, **settings, **fields, "data": config.data, "train_examples": config.train_examples,
        "batch_size": BATCH_SIZE, "steps": steps, "eval_every": steps, "checkpoint_every": steps,
    })  # fmt: skip
    experiment = system.build(one, one.open())
    # with a folder, an interrupted row is not finished but continued by the next run of the study
    out = config.runs / harness.slug(f"{name}, {task}")
    more = {"optimizers": experiment.optimizers, "progress": False, "out": out, "resume": True}
    if config.seeds == 1:
        trained = [fit(experiment.model, experiment.data, one, **more)]
    else:
        trained = fit_seeds(experiment.model, experiment.data, one, seeds=range(config.seeds), **more)
    tests = [dict(experiment.final_metrics(each)) for each in trained]
    return {"tests": tests, "baselines": experiment.baselines, "training_seconds": time.monotonic() - began}


def kinds_of(result: Mapping[str, Any]) -> set[int]:
    """The anomalous classes with an AUC of their own."""
    names = [name for name in result["tests"][0] if name.startswith("AUC, ") and ", class " in name]
    return {int(name.rpartition(", class ")[2]) for name in names}


def lines(
    results: Mapping[str, Any], tasks: Sequence[str], kinds: Sequence[int], config: AnomalyStudy
) -> Iterator[Sequence[str]]:
    rows = [(system, score) for system in config.systems for score in SYSTEMS[system].scores]
    rows += [("VAE", baseline) for baseline in BASELINES if "VAE" in config.systems]
    for system, score in rows:
        found = [values(results.get(f"{system}, {task}"), score) for task in tasks]
        cells = [with_error(each, 3) if each else "" for each in found]
        if len(tasks) > 1:
            cells.append(f"{np.mean([np.mean(each) for each in found]):.3f}" if all(found) else "")
        by_kind = [values(results.get(f"{system}, {tasks[0]}"), f"{score}, class {kind}") for kind in kinds]
        cells += [with_error(each, 3) if each else "" for each in by_kind]
        yield (score if score in BASELINES else f"{system}, {score}"), *cells


def values(result: Mapping[str, Any] | None, score: str) -> list[float]:
    """The AUCs of a score, one for each seed, or that of a baseline."""
    tests = [] if result is None else [*result["tests"], result["baselines"]]
    return [test[f"AUC, {score}"] for test in tests if f"AUC, {score}" in test]


def record(config: AnomalyStudy, system: str, task: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The AUCs of a row, for `experiments.results`."""
    tests = [{name: value for name, value in test.items() if name.startswith("AUC")} for test in result["tests"]]
    means, errors = mean_and_error(tests) if len(tests) > 1 else (tests[0], {})
    return {
        "experiment": "studies.anomaly", "system": f"{system}, {task}", "data": Path(config.data).name,
        "seeds": config.seeds, "test": means, "standard_errors": errors, "baselines": result["baselines"],
        "steps": config.vae_steps if SYSTEMS[system].config is AnomalyConfig else config.steps,
        "headline": [f"AUC, {score}" for score in SYSTEMS[system].scores], "changed": {"width": config.width},
        "training_seconds": round(result["training_seconds"], 1), "published": [],
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(AnomalyStudy, study, __doc__, "experiments.studies.anomaly")
