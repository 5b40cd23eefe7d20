"""Flows side by side, measured beside published: `python -m experiments.flows.table --section digits --budget 5`.

Each row is an experiment's command. One whose folder under `--runs` holds a result is read, any other is run, for as
many steps as the budget holds (their speed is measured first), or for `--steps`. Prints the table, and writes it with the
curves of validation against training time.

- `digits`: every flow at about 240,000 parameters and the same number of steps, three seeds.
- `mnist`: the three architectures of `experiments.flows.dequantized`; give `--mnist`, an .npz file.
- `bsds300`: rows of 63 pixels; give `--bsds300`, an .npz file of x_train, x_valid and x_test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from experiments import commands
from jaxgen import plotting
from jaxgen.training.folder import RunFolder

CALIBRATION = 60
"""Steps of the run that measures the speed."""


class Row(NamedTuple):
    """A line of the table: an experiment with its arguments, the figure asked for, and what a paper reports."""

    name: str
    module: str
    arguments: tuple[str, ...]
    figure: str
    published: float | None = None
    source: str = ""


def _digits(name: str, module: str, *arguments: str) -> Row:
    return Row(name, module, ("--batch-size", "128", *arguments), "bits_per_dim")


def _real_nvp(permutation: str) -> Row:
    masks = ("--no-checkerboard", "--width", "31")
    return _digits(f"RealNVP, channel masks, {permutation}", "real_nvp", *masks, "--permutation", permutation)


def _glow(permutation: str) -> Row:
    return _digits(f"Glow, {permutation}", "glow", "--depth", "8", "--width", "88", "--permutation", permutation)


def _mnist(architecture: str, published: float) -> Row:
    arguments = ("--architecture", architecture, "--batch-size", "32", "--eval-draws", "1", "--eval-batch", "128")
    return Row(architecture, "dequantized", arguments, "bits_per_dim by 8 samples", published, "UvA tutorial 11")


_BSDS = ("--batch-size", "512", "--ema", "0.999", "--eval-draws", "1", "--clip", "5", "--eval-batch", "10000")

SECTIONS: dict[str, tuple[Row, ...]] = {
    "digits": (
        # its scales move by no more than the sum of the steps' rates
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
        Row("RealNVP", "real_nvp", (*_BSDS, "--depth", "5", "--width", "256"), "log_prob", 153.28, "MAF paper, table 1"),
        Row("MAF", "maf", (*_BSDS, "--width", "256", "--hidden-layers", "2"), "log_prob", 155.69, "MAF paper, table 1"),
        Row(
            "RQ-NSF (C)", "neural_spline", (*_BSDS, "--depth", "10", "--width", "128", "--blocks", "1"), "log_prob",
            157.54, "NSF paper, table 1",
        ),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Table:
    section: Literal["digits", "mnist", "bsds300"] = "digits"
    """The rows."""
    budget: float = 5.0
    """Minutes of training for each run."""
    steps: int | None = None
    """Steps of each run, instead of a budget."""
    seeds: int = 3
    """Runs of each row of `digits`; the other sections have one."""
    only: tuple[str, ...] = ()
    """Names of rows; all by default."""
    mnist: Path | None = None
    """An .npz file with x_train and x_test of 28x28 grey values."""
    bsds300: Path | None = None
    """An .npz file with x_train, x_valid and x_test of 63 numbers a row."""
    runs: Path = Path("runs/flows.table")
    """Where the runs are."""


def main(config: Table) -> str:
    """Runs what is missing; returns the table as Markdown.

    Raises:
        ValueError: the section's file is not given.
    """
    data = "digits" if config.section == "digits" else getattr(config, config.section)
    if data is None:
        raise ValueError(f"section={config.section!r} needs --{config.section}, the path of its .npz file")
    rows = [row for row in SECTIONS[config.section] if not config.only or row.name in config.only]
    seeds = range(config.seeds if config.section == "digits" else 1)
    folder = config.runs / config.section
    results = {row: [_result(row, str(data), seed, folder, config) for seed in seeds] for row in rows}
    table = "\n".join(_lines(results))
    (folder / "table.md").write_text(table + "\n")
    plotting.save(_curves(results, folder), folder / "curves.png")
    return table


def _folder(row: Row, seed: int, folder: Path) -> Path:
    return folder / f"{row.name.replace(' ', '_').replace(',', '')}-{seed}"


def _result(row: Row, data: str, seed: int, folder: Path, config: Table) -> dict[str, Any]:
    out = _folder(row, seed, folder)
    if not (out / "result.json").exists():
        steps = config.steps or _steps(row, data, folder, config.budget)
        # about twenty evaluations, whatever the number of steps
        every = str(max(1, steps // 20))
        _run(row, data, seed, out, steps, ("--log-every", every, "--eval-every", every, "--checkpoint-every", every))
    return json.loads((out / "result.json").read_text())


def _run(row: Row, data: str, seed: int, out: Path, steps: int, more: Sequence[str]) -> None:
    given = ("--data", data, "--seed", str(seed), "--steps", str(steps))
    commands.run(f"flows.{row.module}", out, given, more, row.arguments)


def _steps(row: Row, data: str, folder: Path, minutes: float) -> int:
    """How many steps the budget holds, by a short run."""
    out = _folder(row, 0, folder / "calibration")
    half = str(CALIBRATION // 2)
    every = ("--log-every", half, "--eval-every", str(CALIBRATION), "--checkpoint-every", str(CALIBRATION))
    _run(row, data, 0, out, CALIBRATION, every)
    return max(CALIBRATION, int(60 * minutes * [rate for *_, rate in _speeds(out)][-1]))


def _speeds(out: Path) -> Iterator[tuple[int, int, float]]:
    """First and last step of each logged stretch of training, and its steps a second."""
    before = 0
    for line in RunFolder(out).lines():
        if "steps_per_second" in line:
            yield before, line["step"], line["steps_per_second"]
            before = line["step"]


def _lines(results: dict[Row, list[dict[str, Any]]]) -> Iterator[str]:
    yield "| flow | figure | measured | published | parameters | steps | training |"
    yield "|---|---|---|---|---|---|---|"
    for name, value in next(iter(results.values()))[0]["baselines"].items():
        kind, _, figure = name.rpartition(", ")
        yield f"| {kind} | {figure} | {value:.3f} | | | | |"
    for row, runs in results.items():
        values = np.asarray([run["test"][row.figure] for run in runs])
        spread = f" ± {values.std(ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
        seconds = np.mean([run["training_seconds"] for run in runs])
        parameters = sum(runs[0]["parameters"].values())
        published = f"{row.published} ({row.source})" if row.published is not None else ""
        yield (
            f"| {row.name} | {row.figure} | {values.mean():.3f}{spread} | {published} | {parameters:,} | "
            f"{runs[0]['config']['steps']:,} | {seconds:.0f} s |"
        )


def _curves(results: dict[Row, list[dict[str, Any]]], folder: Path) -> Any:
    """Validation figures of each row's first run against minutes of training."""
    curves = {}
    for row in results:
        out = _folder(row, 0, folder)
        ends = np.asarray([(0, 0.0), *((end, (end - start) / rate / 60) for start, end, rate in _speeds(out))])
        figure = f"valid/{row.figure.partition(' ')[0]}"
        points = [(line["step"], line[figure]) for line in RunFolder(out).lines() if figure in line]
        steps, values = np.asarray(points).T
        curves[row.name] = (np.interp(steps, ends[:, 0], ends[:, 1].cumsum()), values)
    return plotting.lines(curves, "minutes of training", f"valid/{next(iter(results)).figure}")


if __name__ == "__main__":
    import tyro

    print(main(tyro.cli(Table, description=__doc__, prog="python -m experiments.flows.table")))
