"""Pose synthesis against its baselines: `python -m experiments.studies.pose --data dolls.npz`.

Rows are the systems of `experiments.translation.pose` at equal steps: the five steps of Balakrishnan et al. 2018, the
same with limbs that stay where they are, and one U-Net with as many parameters; then the source image and the true
empty background in place of the output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.studies import harness
from jaxgen.training.ranges import Count, Fraction, Natural

SYSTEMS = {"five steps": "limbs", "five steps, limbs stay": "still", "one U-Net": "network"}
CONTROLS = ("source", "true empty background")
METRICS = {
    "error of the person": ("L1 of the person", 2), "error": ("L1", 2),
    "error of the background that appears": ("L1 of the background that appears", 2),
    "target mask, IoU": ("IoU of the output's mask", 3), "source mask, IoU": ("IoU of the source's masks", 3),
}  # fmt: skip
"""Columns: heading and digits."""


@dataclass(frozen=True, kw_only=True)
class PoseStudy(harness.StudyConfig):
    data: str = "figures"
    """Frames with joints, masks and backgrounds (`jaxgen.data.frames`)."""
    steps: Count = 1000
    width: Count = 16
    """Channels of the five steps' networks at full resolution."""
    adversary_fraction: Fraction = 0.0
    """Fraction of the steps in the second stage."""
    trunk: Path | None = None
    """A VGG's weights, whose features the first stage reconstructs; by default it reconstructs pixels."""
    seed: Natural = 0
    runs: Path = Path("runs/studies.pose")


def study(config: PoseStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = ("data", "steps", "width", "adversary_fraction", "trunk", "seed")
    settings = {name: getattr(config, name) for name in names}
    compute = {name: partial(run, name, config) for name in SYSTEMS}
    results = harness.rows(compute, config.only, config.runs, settings)
    head = ("system", "parameters", *(heading for heading, _ in METRICS.values()), "minutes")
    return harness.save(config.runs, harness.table(head, lines(results)))


def run(name: str, config: PoseStudy) -> dict[str, Any]:
    every = str(max(1, config.steps // 2))
    features = () if config.trunk is None else ("--trunk", str(config.trunk))
    return harness.experiment(
        "translation.pose", config.runs / harness.slug(name), ("--preset", "small", "--system", SYSTEMS[name]),
        ("--data", config.data, "--steps", str(config.steps), "--width", str(config.width), "--seed", str(config.seed)),
        ("--adversary-fraction", str(config.adversary_fraction), "--eval-every", every, "--checkpoint-every", every),
        features,
    )  # fmt: skip


def lines(results: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    def cells(values: Mapping[str, float], prefix: str = "") -> list[str]:
        return [
            f"{values[prefix + metric]:.{digits}f}" if prefix + metric in values else ""
            for metric, (_, digits) in METRICS.items()
        ]

    rows = [
        [
            name,
            f"{result['parameters']['generator']:,}",
            *cells(result["test"]),
            f"{result['training_seconds'] / 60:.0f}",
        ]
        for name, result in results.items()
    ]
    baselines = next(iter(results.values()), {"baselines": {}})["baselines"]
    return rows + [[name, "", *cells(baselines, f"{name}, "), ""] for name in CONTROLS if f"{name}, error" in baselines]


if __name__ == "__main__":
    harness.main(PoseStudy, study, __doc__, "experiments.studies.pose")
