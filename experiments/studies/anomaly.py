"""Anomaly scores of images: GANomaly, an autoencoder with the same networks, a VAE, principal components, and a forest.

`python -m experiments.studies.anomaly --data mnist.npz --held-out 0 1 2 3 4 5 6 7 8 9` holds out each class in turn,
the paper's protocol; `--normal` trains on one class. Each system trains on normal examples alone, and nothing is chosen
by test examples. The table has the AUC on the test split, and with several seeds its standard error.

RESULT
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.studies import harness
from jaxgen.training.ranges import Count, Natural


class System(NamedTuple):
    """A system: an experiment, its arguments, and its scores."""

    module: str
    arguments: tuple[str, ...]
    scores: tuple[str, ...]


GANOMALY = ("--preset", "small", "--no-baselines")
SYSTEMS = {
    "GANomaly": System("hybrids.ganomaly", GANOMALY, ("latent", "pixels")),
    "without the critic": System(
        "hybrids.ganomaly", (*GANOMALY, "--adversarial-weight", "0"), ("latent", "pixels")
    ),
    "autoencoder": System(
        "hybrids.ganomaly", (*GANOMALY, "--adversarial-weight", "0", "--latent-weight", "0"), ("pixels",)
    ),
    "VAE": System("vaes.anomaly", ("--score-samples", "5", "--importance-samples", "10", "--batch-size", "64"),
                  ("log_prob", "elbo", "reconstruction")),
}  # fmt: skip
BASELINES = ("PCA", "isolation forest")
"""Measured beside the VAE."""


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
    tasks = {f"held out {c}": ("--held-out", str(c)) for c in config.held_out}
    tasks |= {f"normal {c}": ("--normal", str(c)) for c in config.normal}
    if not tasks:
        raise ValueError("`held_out` or `normal` must name a class")
    if unknown := sorted(set(config.systems) - set(SYSTEMS)):
        raise ValueError(f"`systems` must be some of {list(SYSTEMS)}, got {unknown}")
    compute = {
        f"{system}, {task}": partial(train, system, task, arguments, config)
        for task, arguments in tasks.items() for system in config.systems
    }  # fmt: skip
    names = ("width", "steps", "vae_steps", "train_examples", "seeds")
    settings = {name: getattr(config, name) for name in names} | {"data": Path(config.data).name}
    results = harness.rows(compute, config.only, config.runs, settings)
    kinds = sorted({kind for result in results.values() for kind in kinds_of(result)})
    head = ("score", *tasks, *(["mean"] if len(tasks) > 1 else []), *(f"class {kind}" for kind in kinds))
    notes = f"AUC. {config.steps:,} steps (VAE: {config.vae_steps:,}) of 64 examples, at most {config.train_examples:,} "
    notes += f"different ones, width {config.width}, seeds: {config.seeds}."
    table = harness.table(head, lines(results, list(tasks), kinds, config), notes)
    records = [record(config, *name.split(", "), result) for name, result in results.items()]
    return harness.save(config.runs, table, records)


def train(system: str, task: str, arguments: Sequence[str], config: AnomalyStudy) -> dict[str, Any]:
    module, own, _ = SYSTEMS[system]
    is_vae = module == "vaes.anomaly"
    steps = str(config.vae_steps if is_vae else config.steps)
    width = () if is_vae else ("--width", str(config.width))
    result = harness.experiment(
        module, config.runs / harness.slug(f"{system}, {task}"), ("--data", config.data, "--steps", steps),
        ("--eval-every", steps, "--checkpoint-every", steps, "--train-examples", str(config.train_examples)),
        ("--seeds", str(config.seeds)), arguments, own, width,
    )  # fmt: skip
    names = ("test", "standard_errors", "baselines", "training_seconds", "wall_seconds", "command")
    return {name: result[name] for name in names if name in result}


def kinds_of(result: Mapping[str, Any]) -> set[int]:
    """The anomalous classes with an AUC of their own."""
    names = [name for name in result["test"] if name.startswith("AUC, ") and ", class " in name]
    return {int(name.rpartition(", class ")[2]) for name in names}


def lines(
    results: Mapping[str, Any], tasks: Sequence[str], kinds: Sequence[int], config: AnomalyStudy
) -> Iterator[Sequence[str]]:
    rows = [(system, score, "test") for system in config.systems for score in SYSTEMS[system].scores]
    rows += [("VAE", baseline, "baselines") for baseline in BASELINES if "VAE" in config.systems]
    for system, score, part in rows:
        found = [results.get(f"{system}, {task}") for task in tasks]
        cells = [cell(result, f"AUC, {score}", part) for result in found]
        if len(tasks) > 1:
            known = [result[part][f"AUC, {score}"] for result in found if result]
            cells.append(f"{np.mean(known):.3f}" if len(known) == len(tasks) else "")
        # the classes of several tasks would overlap
        cells += [cell(found[0], f"AUC, {score}, class {kind}", part) for kind in kinds] if len(tasks) == 1 else []
        yield (score if part == "baselines" else f"{system}, {score}"), *cells


def cell(result: Mapping[str, Any] | None, metric: str, part: str) -> str:
    if result is None or metric not in result[part]:
        return ""
    error = result.get("standard_errors", {}).get(metric) if part == "test" else None
    return f"{result[part][metric]:.3f}" + ("" if error is None else f" ± {error:.3f}")


def record(config: AnomalyStudy, system: str, task: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """The AUCs of a row, for `experiments.results`."""
    steps = config.vae_steps if SYSTEMS[system].module == "vaes.anomaly" else config.steps
    return {
        "experiment": "studies.anomaly", "system": f"{system}, {task}", "data": Path(config.data).name,
        "seeds": config.seeds, "test": {k: v for k, v in result["test"].items() if k.startswith("AUC")},
        "standard_errors": result.get("standard_errors", {}), "steps": steps,
        "headline": [f"AUC, {score}" for score in SYSTEMS[system].scores],
        "training_seconds": result["training_seconds"], "changed": {"width": config.width},
        "command": result["command"],
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(AnomalyStudy, study, __doc__, "experiments.studies.anomaly")
