"""Table 1 of Burda et al. 2016 (arXiv:1509.00519), one stochastic layer.

`python -m experiments.studies.vaes --mnist FILE`

VAEs and importance-weighted autoencoders with k samples, in the paper's set-up (`experiments.vaes.iwae`), on all
training examples of MNIST, with pixels sampled anew each time. The VAEs maximise the mean of k log-weights, so
that for k = 1 both are one run. Seeds differ in initialisation, noise and data order; they are trained side by side
for 3^0 + ... + 3^(stages - 1) epochs; the paper's eight stages are 3,280 epochs.

The table has -log p(x) by importance sampling on the first test examples, with pixels sampled once, and the active
units on all test examples; means over seeds with standard errors. Result after 13 epochs, 3 seeds: 94.85 (k
= 1), 93.28 (IWAE, k = 5) and 92.16 nats (IWAE, k = 50); the paper's are 86.76, 85.54 and 84.78 after 3,280.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.studies import harness
from experiments.vaes.iwae import STAGES, burda_schedule
from jaxgen.contracts import Array, Variables
from jaxgen.data import ArraySource, source
from jaxgen.losses import importance_weighted_bound, mean_log_weight
from jaxgen.metrics import active_units
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.models.vaes import BurdaInitializer, ImportanceWeighted, dense_vae
from jaxgen.training import Settings, evaluate, fit_seeds
from jaxgen.training.latents import posterior_moments
from jaxgen.training.ranges import Between, Count

BATCH = 20
PIXEL_SEED = 0
"""Seed of the test examples' pixels."""
SOURCE = "Burda et al. 2016, table 1"
PAPER_EPOCHS = 3_280
PAPER_EXAMPLES = 60_000


class Cell(NamedTuple):
    """A cell of the table: k, the bound as a function of k log-weights, and the paper's results."""

    name: str
    samples: int
    aggregate: Callable[[Array], Array]
    nll: float
    active: int


CELLS = (
    Cell("VAE = IWAE, k = 1", 1, mean_log_weight, 86.76, 19),
    Cell("VAE, k = 5", 5, mean_log_weight, 86.47, 20),
    Cell("VAE, k = 50", 50, mean_log_weight, 86.35, 20),
    Cell("IWAE, k = 5", 5, importance_weighted_bound, 85.54, 22),
    Cell("IWAE, k = 50", 50, importance_weighted_bound, 84.78, 25),
)


@dataclass(frozen=True, kw_only=True)
class VAEStudy(harness.StudyConfig):
    mnist: Path
    """An .npz file with x_train and x_test of grey values."""
    stages: Annotated[int, Between(1, STAGES)] = 3
    """Stages of the paper's schedule: 13 epochs with 3, 40 with 4, 121 with 5."""
    seeds: Count = 3
    """Runs of each cell."""
    importance_samples: Count = 5000
    """Importance samples of the bound on -log p(x)."""
    chunk: Count = 50
    """Importance samples computed at once, for 20 examples."""
    test_examples: Count = 1000
    """Test examples for the bound; the paper uses all 10,000."""
    runs: Path = Path("runs/studies.vaes")


def study(config: VAEStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`, rows with other settings, a file without grey values.
    """
    settings = {
        "data": config.mnist.name, "stages": config.stages, "seeds": config.seeds,
        "importance_samples": config.importance_samples, "test_examples": config.test_examples,
    }  # fmt: skip
    compute = {cell.name: partial(train, cell, config) for cell in CELLS}
    results = harness.rows(compute, config.only, config.runs, settings)
    epochs, cells = (3**config.stages - 1) // 2, {cell.name: cell for cell in CELLS}
    metric = f"-log p(x) in nats, by {config.importance_samples:,} samples, {config.test_examples:,} test examples"
    head = ("model", metric, "published", "active units", "published", "training")
    lines = [
        (
            name, with_error(result["nll"], 2), cells[name].nll, with_error(result["active"], 1), cells[name].active,
            f"{result['training_seconds']:,} s",
        )
        for name, result in results.items()
    ]  # fmt: skip
    notes = f"{epochs:,} epochs, {config.seeds} seeds; published: {SOURCE}, {PAPER_EPOCHS:,} epochs."
    records = [record(config, cells[name], metric, result) for name, result in results.items()]
    return harness.save(config.runs, harness.table(head, lines, notes), records)


def record(config: VAEStudy, cell: Cell, metric: str, result: Mapping[str, Any]) -> dict[str, Any]:
    seeds = [{metric: nll, "active units": active} for nll, active in zip(result["nll"], result["active"], strict=True)]
    means, errors = mean_and_error(seeds) if len(seeds) > 1 else (seeds[0], {})
    budget = PAPER_EPOCHS * PAPER_EXAMPLES // BATCH
    papers = {metric: cell.nll, "active units": cell.active}
    return {
        "experiment": "studies.vaes", "system": cell.name, "data": config.mnist.name, "seeds": config.seeds,
        "test": means, "standard_errors": errors, "headline": list(means), "steps": result["steps"],
        "training_seconds": result["training_seconds"],
        "published": [{"metric": m, "value": v, "source": SOURCE, "budget": budget} for m, v in papers.items()],
    }  # fmt: skip


def load(path: Path) -> tuple[ArraySource, ArraySource]:
    """All training and validation examples, as no choice needs validation, and test examples with sampled pixels."""
    splits = source(str(path))
    if splits.train.levels != 256:
        raise ValueError(f"`mnist` must hold grey values 0..255 (uint8), got {str(path)!r}")
    x = np.concatenate([splits.train.arrays["x"], splits.valid.arrays["x"]])
    greys = splits.test.arrays["x"]
    on = np.random.default_rng(PIXEL_SEED).random(greys.shape) < greys / 255
    arrays = {"train": x, "test": np.uint8(255) * on}
    return tuple(ArraySource({"x": x}, levels=256, name=f"{path.name} ({name})") for name, x in arrays.items())


def train(cell: Cell, config: VAEStudy) -> dict[str, Any]:
    """Trains the seeds of a cell; returns lists over seeds of -log p(x) and the active units."""
    data, test = load(config.mnist)
    began = time.monotonic()
    objective = ImportanceWeighted(cell.samples, aggregate=cell.aggregate)
    model = dense_vae(data.event_shape, levels=256, objective=objective, initializer=BurdaInitializer())
    epoch = len(data) // BATCH
    adam = optax.adam(burda_schedule(epoch), eps=1e-4)
    # without moving averages, as in the paper
    settings = Settings(
        steps=(3**config.stages - 1) // 2 * epoch, batch_size=BATCH, ema=0.0,
        log_every=epoch, eval_every=epoch, checkpoint_every=epoch,
    )  # fmt: skip
    print(cell.name, flush=True)
    seeds = fit_seeds(model, data, settings, optimizers=dict.fromkeys(model.plays(), adam), seeds=range(config.seeds))
    seconds = time.monotonic() - began
    few, key = test.subset(np.arange(min(config.test_examples, len(test)))), jax.random.key(PIXEL_SEED)

    def metrics(variables: Variables, batch: Any, key: Any) -> dict[str, Array]:
        log_prob = model.log_prob(variables, batch["x"], key, None, config.importance_samples, config.chunk)
        return {"nll": -log_prob.mean()}

    nll, active = [], []
    for seed, trained in enumerate(seeds):
        nll.append(evaluate(model, trained.variables, few, key, batch_size=BATCH, metrics=metrics)["nll"])
        active.append(int(active_units(posterior_moments(trained, test, 1000).mean)))
        print(f"{cell.name}: seed {seed}, -log p(x) {nll[-1]:.2f}, active units {active[-1]}", flush=True)
    return {"nll": nll, "active": active, "steps": settings.steps, "training_seconds": round(seconds)}


if __name__ == "__main__":
    harness.main(VAEStudy, study, __doc__, "experiments.studies.vaes")
