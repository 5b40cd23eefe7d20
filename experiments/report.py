"""Reports of a trained experiment: test metrics, plots, the table on the terminal."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.config import Config, Experiment
from jaxgen import plotting
from jaxgen.data import Source
from jaxgen.training import RunFolder, TrainedModel, evaluate

TEST_DRAWS = 16
"""Samples of a model's own noise (dequantization, posterior) that test metrics are averaged over."""


def evaluate_on_test(config: Config, experiment: Experiment, trained: TrainedModel, test: Source) -> dict[str, float]:
    """The metrics of the model and of the experiment on the test split."""
    key, size, draws = test_key(config), config.eval_batch, experiment.draws or TEST_DRAWS
    metrics = evaluate(experiment.model, trained.variables, test, key, batch_size=size, draws=draws)
    if experiment.metrics is not None:
        more = experiment.metrics
        metrics |= evaluate(experiment.model, trained.variables, test, key, batch_size=size, metrics=more)
    if experiment.final_metrics is not None:
        metrics |= experiment.final_metrics(trained)
    return metrics


def test_key(config: Config) -> jax.Array:
    return jax.random.fold_in(jax.random.key(config.seed), 2)


def save_plots(
    config: Config, experiment: Experiment, trained: TrainedModel, test: Source, folder: RunFolder
) -> list[Path]:
    """Plots samples and reconstructions of images and points, the run's curves, and the experiment's own plots."""
    plots, real, key = {}, test.head(plotting.ROWS), test_key(config)
    if "x" in real and plotting.drawable(real["x"]) and hasattr(trained, "sample"):
        context = real.get("context")
        samples = np.asarray(trained.sample(key, len(real["x"]), context))
        plots["samples"] = plotting.samples(samples, real["x"])
        if hasattr(trained, "reconstruct"):
            reconstructed = np.asarray(trained.reconstruct(real["x"], key, context))
            plots["reconstructions"] = plotting.samples(reconstructed, real["x"], "reconstructions")
    plots["curves"] = plotting.curves(folder.lines())
    files = [plotting.save(figure, folder.path / f"{name}.png") for name, figure in plots.items()]
    for name, plot in experiment.plots.items():
        files.append(plotting.save(plot(trained), folder.path / f"{name}.png"))
    return files


def environment() -> dict[str, Any]:
    """Command, commit, devices and versions, to repeat a run."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True, encoding="utf-8", check=True, cwd=Path(__file__).parent,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    device, spec = jax.devices()[0], sys.modules["__main__"].__spec__
    return {
        "command": " ".join(["python", "-m", spec.name, *sys.argv[1:]]) if spec is not None else None,
        "commit": commit,
        "devices": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
        "python": platform.python_version(),
        "versions": {package: importlib.metadata.version(package) for package in packages},
    }


def print_result(result: Mapping[str, Any], plots: list[Path], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    table = Table("metric", "value", title=f"{result['experiment']} on {result['data']}, test split")
    for name, value in result["test"].items():
        error = result.get("standard_errors", {}).get(name)
        table.add_row(name, f"{value:.4f}" if error is None else f"{value:.4f} ± {error:.4f}")
    for name, value in result["baselines"].items():
        table.add_row(f"baseline: {name}", f"{value:.4f}")
    if (paper := result["published"]) is not None:
        table.add_row(f"published {paper['metric']} ({paper['source']})", f"{paper['value']}")
    console.print(table)
    for plot in plots:
        console.print(f"{plot.stem}: {plot}")
    console.print(f"{result['wall_seconds']} s in all; the run's folder: {folder}")
