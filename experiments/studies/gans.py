"""GANs side by side on images: `python -m experiments.studies.gans --data mnist.npz --extractor FOLDER`.

Each row is an experiment's command on the same data, with networks of the same width, for a fraction `--share` of its
own steps. Metrics use the extractor's features and classes, with as many samples as test examples; in the last row
training examples replace the samples, an upper bound for models. The last columns have a game's own metric and the
paper's value. Results on MNIST after 3,000 steps: DCGAN a Frechet distance of 96.9; training examples have 8.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax

from experiments.studies import harness
from jaxgen.data import source
from jaxgen.metrics import measure
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Between, Count, Natural

METRICS = {
    "frechet_distance": ("Frechet", 1),
    "kernel_distance": ("kernel", 2),
    "mmd_squared": ("MMD²", 4),
    "wasserstein_exact": ("Wasserstein", 2),
    "nn_accuracy": ("1-NN", 3),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "density": ("density", 3),
    "coverage": ("coverage", 3),
    "inception_score": ("Inception", 2),
    "mode_score": ("mode score", 2),
    "class_histogram_divergence": ("KL of classes", 3),
}
"""Columns: heading and digits."""


class Row(NamedTuple):
    """A row: an experiment, its steps at `--share 1`, and the metric that only this game has."""

    name: str
    module: str
    steps: int
    arguments: tuple[str, ...] = ()
    own: str | None = None


ROWS = (
    Row("DCGAN", "dcgan", 10_000, ("--batch-size", "64")),
    Row("LSGAN", "lsgan", 10_000),
    Row("importance-weighted", "importance_weighted", 10_000),
    Row("f-GAN, Pearson", "f_gan", 10_000),
    Row("WGAN", "wgan", 20_000),
    Row("WGAN-GP", "wgan_gp_images", 20_000, ("--network", "dcgan")),
    Row("SAGAN", "sagan", 4_000, (), "class accuracy of samples"),
    Row("CGAN", "cgan", 10_000, (), "class accuracy of samples"),
    Row("CGAN, projection", "cgan", 10_000, ("--way", "projection"), "class accuracy of samples"),
    Row("ACGAN", "acgan", 10_000, (), "class accuracy of samples"),
    Row("InfoGAN", "infogan", 10_000, ("--batch-size", "64"), "category error"),
    Row("EBGAN", "ebgan", 10_000),
    Row("BEGAN", "began", 10_000),
    Row("bottleneck", "bottleneck", 10_000),
    Row("semi-supervised, 100 labels", "semi_supervised", 12_000, ("--width", "500"), "accuracy"),
)


@dataclass(frozen=True, kw_only=True)
class GANStudy(harness.StudyConfig):
    data: str = "digits"
    """Labelled images."""
    extractor: Path
    """Run folder of `experiments.gans.feature_extractor` on the same data."""
    width: Count = 32
    """Channels of the networks at the highest resolution."""
    share: Annotated[float, Between(0, above=True)] = 0.3
    """Steps as a fraction of each game's own."""
    measured: Count = 2_000
    """Number of test examples and of samples."""
    seed: Natural = 0
    """Seed of the runs."""
    runs: Path = Path("runs/studies.gans")


def study(config: GANStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    games = {row.name: row for row in ROWS}
    compute = {name: partial(run, row, config) for name, row in games.items()}
    compute["training examples"] = lambda: {"test": ceiling(config)}
    names = ("data", "width", "share", "measured", "seed")
    settings = {name: getattr(config, name) for name in names} | {"extractor": config.extractor.name}
    only = (*config.only, "training examples") if config.only else ()
    results = harness.rows(compute, only, config.runs, settings)
    head = ("game", "steps", "seconds", *(heading for heading, _ in METRICS.values()), "its own", "published")
    records = [record(games[name], result) for name, result in results.items() if name in games]
    return harness.save(config.runs, harness.table(head, lines(results, games)), records)


def run(row: Row, config: GANStudy) -> dict[str, Any]:
    steps = max(1, round(config.share * row.steps))
    every = str(max(1, steps // 4))
    width = () if "--width" in row.arguments else ("--width", str(config.width))
    return harness.experiment(
        f"gans.{row.module}", config.runs / harness.slug(row.name),
        ("--data", config.data, "--seed", str(config.seed), "--steps", str(steps)),
        ("--eval-every", every, "--checkpoint-every", every, "--extractor", str(config.extractor)),
        ("--measured", str(config.measured)), width, row.arguments,
    )  # fmt: skip


def ceiling(config: GANStudy) -> Mapping[str, float]:
    """The metrics of training examples in place of samples."""
    splits = source(config.data)
    real, fake = (split.head(config.measured)["x"] for split in (splits.test, splits.train))
    return dict(measure(real, fake, load_extractor(config.extractor), jax.random.key(config.seed)).metrics)


def lines(results: Mapping[str, Mapping[str, Any]], games: Mapping[str, Row]) -> Iterator[Sequence[str]]:
    for name, result in results.items():
        cells = [f"{result['test'][metric]:.{digits}f}" for metric, (_, digits) in METRICS.items()]
        if name not in games:
            yield name, "", "", *cells, "", ""
            continue
        own, paper = games[name].own, result["published"]
        measured = f"{own} {result['test'][own]:.3f}" if own else ""
        published = f"{paper['value']} ({paper['source']})" if paper and paper["metric"] == own else ""
        steps, seconds = f"{result['config']['steps']:,}", f"{result['training_seconds']:.0f}"
        yield name, steps, seconds, *cells, measured, published


def record(row: Row, result: Mapping[str, Any]) -> dict[str, Any]:
    paper = result["published"]
    return {
        "experiment": "studies.gans", "system": row.name, "data": Path(result["data"]).name, "seeds": 1,
        "changed": result["changed"], "test": result["test"], "steps": result["config"]["steps"],
        "headline": ["frechet_distance", *([row.own] if row.own else [])], "command": result["command"],
        "training_seconds": result["training_seconds"],
        "published": [paper] if paper and paper["metric"] == row.own else [],
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(GANStudy, study, __doc__, "experiments.studies.gans")
