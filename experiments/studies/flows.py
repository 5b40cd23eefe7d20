"""Flows side by side, measured and published: `python -m experiments.studies.flows --section digits --budget 5`.

Each row is an experiment's command, with the steps that the budget allows (measured by a short run) or `--steps`.
Writes the table and validation metrics against training time.

- `digits`: every flow with about 240,000 parameters and the same number of steps, three seeds.
- `mnist`: the three architectures of `experiments.flows.dequantized`; needs `--mnist`, an .npz file.
- `bsds300`: vectors of 63 numbers; needs `--bsds300`, an .npz file of x_train, x_valid and x_test.

Results: RealNVP 2.000 bits/dim on digits; MAF 153.6 nats on BSDS300 after 29,500 steps, where its paper has 155.7.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np

from experiments.studies import harness
from jaxgen import plotting
from jaxgen.training.folder import RunFolder
from jaxgen.training.ranges import Between, Count

CALIBRATION = 60
"""Steps of the run that measures the speed."""


class Row(NamedTuple):
    """A row: an experiment with its arguments, the metric to report, and the published value and budget."""

    name: str
    module: str
    arguments: tuple[str, ...]
    metric: str
    published: float | None = None
    source: str = ""
    budget: int | None = None


def _digits(name: str, module: str, *arguments: str) -> Row:
    return Row(name, module, ("--batch-size", "128", *arguments), "bits_per_dim")


def _real_nvp(permutation: str) -> Row:
    masks = ("--no-checkerboard", "--width", "31")
    return _digits(f"RealNVP, channel masks, {permutation}", "real_nvp", *masks, "--permutation", permutation)


def _glow(permutation: str) -> Row:
    return _digits(f"Glow, {permutation}", "glow", "--depth", "8", "--width", "88", "--permutation", permutation)


def _mnist(architecture: str, published: float) -> Row:
    arguments = ("--architecture", architecture, "--batch-size", "32", "--eval-draws", "1", "--eval-batch", "128")
    metric, source = "bits_per_dim by 8 samples", "UvA tutorial 11"
    return Row(architecture, "dequantized", arguments, metric, published, source, 78_000)


_BSDS = ("--batch-size", "512", "--ema", "0.999", "--eval-draws", "1", "--clip", "5", "--eval-batch", "10000")
_MAF_PAPER = "MAF paper, table 1"

SECTIONS: dict[str, tuple[Row, ...]] = {
    "digits": (
        # the learned scales need a high learning rate in a short run
        _digits("NICE", "nice", "--width", "114", "--learning-rate", "1e-2"),
        _digits("RealNVP", "real_nvp"),
        _digits("RealNVP, channel masks", "real_nvp", "--no-checkerboard", "--width", "31"),
        _real_nvp("reverse"),
        _real_nvp("shuffle"),
        _glow("reverse"),
        _glow("shuffle"),
        _glow("conv1x1"),
        _digits("MAF", "maf", "--width", "248"),
        _digits("neural spline", "neural_spline", "--depth", "6", "--width", "52", "--bins", "4"),
        _digits("Flow++", "flow_plus_plus"),
    ),
    "mnist": (_mnist("simple", 1.078), _mnist("variational", 1.041), _mnist("multiscale", 1.021)),
    "bsds300": (
        Row("RealNVP", "real_nvp", (*_BSDS, "--depth", "5", "--width", "256"), "log_prob", 153.28, _MAF_PAPER),
        Row("MAF", "maf", (*_BSDS, "--width", "256", "--hidden-layers", "2"), "log_prob", 155.69, _MAF_PAPER),
        Row(
            "RQ-NSF (C)", "neural_spline", (*_BSDS, "--depth", "10", "--width", "128", "--blocks", "1"), "log_prob",
            157.54, "NSF paper, table 1", 400_000,
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class FlowStudy(harness.StudyConfig):
    section: Literal["digits", "mnist", "bsds300"] = "digits"
    """The rows to compute."""
    budget: Annotated[float, Between(0, above=True)] = 5.0
    """Minutes of training for each run."""
    steps: Count | None = None
    """Steps of each run, instead of a budget."""
    seeds: Count = 3
    """Runs of each row of `digits`; the other sections have one."""
    mnist: Path | None = None
    """An .npz file with x_train and x_test of 28x28 grey values."""
    bsds300: Path | None = None
    """An .npz file with x_train, x_valid and x_test; an example has 63 numbers."""
    runs: Path = Path("runs/studies.flows")


def study(config: FlowStudy) -> str:
    """Raises:
    ValueError: the section's file is missing; unknown names in `only`; rows with other settings.
    """
    data = "digits" if config.section == "digits" else getattr(config, config.section)
    if data is None:
        raise ValueError(f"`{config.section}` must be the path of an .npz file for this section, got None")
    seeds, folder = config.seeds if config.section == "digits" else 1, config.runs / config.section
    section = {row.name: row for row in SECTIONS[config.section]}
    compute = {name: partial(run, row, str(data), seeds, folder, config) for name, row in section.items()}
    settings = {"data": Path(data).name, "seeds": seeds, "steps": config.steps, "budget": config.budget}
    results = harness.rows(compute, config.only, folder, settings)
    measured = {section[name]: result for name, result in results.items()}
    plotting.save(curves(measured, folder), folder / "curves.png")
    records = [record(row, result) for row, result in measured.items()]
    head = ("flow", "metric", "measured", "published", "parameters", "steps", "training")
    return harness.save(folder, harness.table(head, lines(measured)), records)


def run(row: Row, data: str, seeds: int, folder: Path, config: FlowStudy) -> dict[str, Any]:
    """The result of a row's experiment."""
    steps = config.steps or affordable_steps(row, data, seeds, folder, config.budget)
    # about twenty evaluations, whatever the number of steps
    every = str(max(1, steps // 20))
    intervals = ("--log-every", every, "--eval-every", every, "--checkpoint-every", every)
    return start(row, data, seeds, folder / harness.slug(row.name), steps, intervals)


def start(row: Row, data: str, seeds: int, out: Path, steps: int, more: Sequence[str]) -> dict[str, Any]:
    arguments = ("--data", data, "--seeds", str(seeds), "--steps", str(steps))
    return harness.experiment(f"flows.{row.module}", out, arguments, more, row.arguments)


def affordable_steps(row: Row, data: str, seeds: int, folder: Path, minutes: float) -> int:
    """The number of steps in `minutes` minutes for each seed, from the speed of a short run."""
    out, half = folder / "calibration" / harness.slug(row.name), str(CALIBRATION // 2)
    every = ("--log-every", half, "--eval-every", str(CALIBRATION), "--checkpoint-every", str(CALIBRATION))
    start(row, data, seeds, out, CALIBRATION, every)
    return max(CALIBRATION, int(60 * minutes * seeds * [rate for *_, rate in speeds(out, seeds)][-1]))


def first_folder(out: Path, seeds: int) -> RunFolder:
    return RunFolder(out if seeds == 1 else out / "seed-0")


def speeds(out: Path, seeds: int) -> Iterator[tuple[int, int, float]]:
    """First and last step of each logged interval, and its steps per second."""
    before = 0
    for line in first_folder(out, seeds).lines():
        if "steps_per_second" in line:
            yield before, line["step"], line["steps_per_second"]
            before = line["step"]


def lines(results: Mapping[Row, Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for name, value in next(iter(results.values()))["baselines"].items():
        kind, _, metric = name.rpartition(", ")
        yield kind, metric, f"{value:.3f}", "", "", "", ""
    for row, result in results.items():
        measured = harness.measured(result, row.metric, 3)
        published = "" if row.published is None else f"{row.published} ({row.source})"
        seconds = result["training_seconds"] / result["config"]["seeds"]
        parameters, steps = sum(result["parameters"].values()), result["config"]["steps"]
        yield row.name, row.metric, measured, published, f"{parameters:,}", f"{steps:,}", f"{seconds:.0f} s"


def record(row: Row, result: Mapping[str, Any]) -> dict[str, Any]:
    paper = {"metric": row.metric, "value": row.published, "source": row.source, "budget": row.budget}
    return {
        "experiment": "studies.flows", "system": row.name, "data": Path(result["data"]).name,
        "seeds": result["config"]["seeds"], "test": result["test"], "headline": [row.metric],
        "standard_errors": result.get("standard_errors", {}), "steps": result["config"]["steps"],
        "training_seconds": result["training_seconds"], "command": result["command"],
        "published": [] if row.published is None else [paper],
    }  # fmt: skip


def curves(results: Mapping[Row, Mapping[str, Any]], folder: Path) -> Any:
    """Validation metrics of each row's first run against minutes of training."""
    curves = {}
    for row, result in results.items():
        out, seeds = folder / harness.slug(row.name), result["config"]["seeds"]
        ends = np.asarray([(0, 0.0), *((end, (end - start) / rate / 60) for start, end, rate in speeds(out, seeds))])
        metric = f"valid/{row.metric.partition(' ')[0]}"
        points = [(line["step"], line[metric]) for line in first_folder(out, seeds).lines() if metric in line]
        steps, values = np.asarray(points).T
        curves[row.name] = (np.interp(steps, ends[:, 0], ends[:, 1].cumsum()), values)
    return plotting.lines(curves, "minutes of training", f"valid/{next(iter(results)).metric}")


if __name__ == "__main__":
    harness.main(FlowStudy, study, __doc__, "experiments.studies.flows")
