"""The games side by side on images: `python -m experiments.gans.table --data mnist.npz --extractor FOLDER`.

Each row is an experiment's command on the same data and networks of the same width, for the steps that `--share` of its
own leaves. One whose folder under `--runs` holds a result is read, any other is run. All figures of samples are by the
extractor's features and classes, on the same number of test rows; in the last row the samples are training rows, which
is as good as a model can be, and where a game has a figure of its own it stands in the last columns with the paper's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments import commands
from experiments.gans.extractor import load_extractor
from jaxgen.data import source
from jaxgen.metrics import measure

FIGURES = {
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
    """A game: its experiment, its steps at share one, and the figure that only it has."""

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
    Row("SAGAN", "sagan", 4_000, (), "samples seen as their class"),
    Row("CGAN", "cgan", 10_000, (), "samples seen as their class"),
    Row("CGAN, projection", "cgan", 10_000, ("--way", "projection"), "samples seen as their class"),
    Row("ACGAN", "acgan", 10_000, (), "samples seen as their class"),
    Row("InfoGAN", "infogan", 10_000, ("--batch-size", "64"), "category error"),
    Row("EBGAN", "ebgan", 10_000),
    Row("BEGAN", "began", 10_000),
    Row("bottleneck", "bottleneck", 10_000),
    Row("semi-supervised, 100 labels", "semi_supervised", 12_000, ("--width", "500"), "accuracy"),
)


@dataclass(frozen=True, kw_only=True)
class Table:
    data: str = "digits"
    """Labelled images."""
    extractor: Path
    """The folder of a run of `experiments.gans.feature_extractor` on them."""
    width: int = 32
    """Channels of the networks at the highest resolution."""
    share: float = 0.3
    """Of each game's steps."""
    measured: int = 2_000
    """Test rows and samples."""
    seed: int = 0
    """Of the runs."""
    only: tuple[str, ...] = ()
    """Names of rows; all by default."""
    runs: Path = Path("runs/gans.table")
    """Where the runs are."""


def main(config: Table) -> str:
    """Runs what is missing; returns the table as Markdown.

    Raises:
        ValueError: a row of another name.
    """
    if unknown := set(config.only) - {row.name for row in ROWS}:
        raise ValueError(f"only={sorted(unknown)} was given; the rows are {[row.name for row in ROWS]}")
    results = {}
    for row in ROWS:
        out = config.runs / f"{row.name.replace(' ', '_').replace(',', '')}-{config.seed}"
        if not (out / "result.json").exists():
            if config.only and row.name not in config.only:
                continue
            steps = max(1, round(config.share * row.steps))
            every = str(max(1, steps // 4))
            width = () if "--width" in row.arguments else ("--width", str(config.width))
            commands.run(
                f"gans.{row.module}", out, ("--data", config.data, "--seed", str(config.seed), "--steps", str(steps)),
                ("--eval-every", every, "--checkpoint-every", every, "--extractor", str(config.extractor)),
                ("--measured", str(config.measured)), width, row.arguments,
            )  # fmt: skip
        results[row] = json.loads((out / "result.json").read_text())
    table = "\n".join(lines(results, ceiling(config)))
    (config.runs / "table.md").write_text(table + "\n")
    return table


def ceiling(config: Table) -> Mapping[str, float]:
    """The figures of training rows in the place of samples."""
    splits = source(config.data)
    real, fake = (split.head(config.measured)["x"] for split in (splits.test, splits.train))
    return measure(real, fake, load_extractor(config.extractor), jax.random.key(config.seed)).figures


def lines(results: Mapping[Row, Mapping[str, Any]], best: Mapping[str, float]) -> Iterator[str]:
    yield "| game | steps | seconds | " + " | ".join(heading for heading, _ in FIGURES.values()) + " | its own | published |"
    yield "|---" * (5 + len(FIGURES)) + "|"

    def cells(figures: Mapping[str, float]) -> str:
        return " | ".join(f"{figures[name]:.{digits}f}" for name, (_, digits) in FIGURES.items())

    for row, result in results.items():
        own = f"{row.own} {result['test'][row.own]:.3f}" if row.own else ""
        paper = result["published"]
        known = f"{paper['value']} ({paper['source']})" if paper and paper["figure"] == row.own else ""
        ends = f"{result['config']['steps']:,} | {result['training_seconds']:.0f}"
        yield f"| {row.name} | {ends} | {cells(result['test'])} | {own} | {known} |"
    yield f"| training rows | | | {cells(best)} | | |"


if __name__ == "__main__":
    import tyro

    print(main(tyro.cli(Table, description=__doc__, prog="python -m experiments.gans.table")))
