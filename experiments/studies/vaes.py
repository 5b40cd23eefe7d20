"""Table 1 of Burda et al. 2016 (arXiv:1509.00519), one stochastic layer: `python -m experiments.vaes.table --mnist FILE`.

Variational and importance-weighted autoencoders by k draws, in the paper's set-up (see `experiments.vaes.iwae`), on all
training rows of MNIST, their pixels drawn anew each time a row is seen. The variational ones climb the mean of k
log-weights, so that with k = 1 both are one run, as in the paper. The seeds of a cell, which differ in the start, the
noise and the order of the rows, are trained side by side in one compiled program, for 3^0 + ... + 3^(stages - 1) epochs;
the paper's eight stages are 3,280.

Reported are -log p(x) by importance sampling on the first test rows, whose pixels are drawn once, the same for all cells
and seeds, and the active units over all test rows; means over seeds with standard errors. A cell that is finished is
kept as a JSON file under `--runs` and read by the next call, which writes the table of all cells that are there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from flax import linen as nn

from experiments.autoencoding import moments
from experiments.spread import spread
from experiments.vaes.iwae import STAGES, burda_schedule
from jaxgen.contracts import Array, Variables
from jaxgen.data import ArraySource, source
from jaxgen.losses import importance_weighted_bound, mean_log_weight
from jaxgen.metrics import active_units
from jaxgen.models.vaes import dense_vae, importance_weighted
from jaxgen.training import Settings, evaluate, fit_seeds

BATCH = 20
TEST_DRAW = 0
"""Seed of the test rows' pixels."""


class Cell(NamedTuple):
    """A cell of the table: k, what makes a bound of k log-weights, and the paper's figures."""

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
class Table:
    mnist: Path
    """An .npz file with x_train and x_test of grey values."""
    stages: int = 3
    """Rates of the paper's schedule, of eight: 13 epochs with 3, 40 with 4, 121 with 5."""
    seeds: int = 3
    """Runs of each cell."""
    importance_samples: int = 5000
    """Draws of the bound on -log p(x) that is reported."""
    chunk: int = 50
    """How many of them are computed at once, for 20 rows."""
    test_rows: int = 1000
    """Test rows that it is reported on; the paper's are all 10,000."""
    only: tuple[str, ...] = ()
    """Names of cells; all by default."""
    runs: Path = Path("runs/vaes.table")
    """Where finished cells and the table are."""


def main(config: Table) -> str:
    """Trains what is missing; returns the table as Markdown.

    Raises:
        ValueError: a cell of another name; a number out of its range; cells of other settings under `runs`; a file
            without grey values.
    """
    names = [cell.name for cell in CELLS]
    if unknown := set(config.only) - set(names):
        raise ValueError(f"only={sorted(unknown)} was given; the cells are {names}")
    if not 1 <= config.stages <= STAGES or config.seeds < 1:
        given = f"stages={config.stages}, seeds={config.seeds}"
        raise ValueError(f"{given} were given; 1 to {STAGES} and 1 or more are needed")
    # what decides a cell's figures
    settings = {name: value for name, value in asdict(config).items() if name not in ("mnist", "chunk", "only", "runs")}
    settings["data"] = config.mnist.name
    config.runs.mkdir(parents=True, exist_ok=True)
    data: tuple[ArraySource, ArraySource] | None = None
    results = {}
    for cell in CELLS:
        file = config.runs / f"{cell.name.replace(' ', '').replace(',', '-')}.json"
        if file.exists():
            results[cell] = json.loads(file.read_text())
            if results[cell]["settings"] != settings:
                there = results[cell]["settings"]
                raise ValueError(f"{file} is of {there}, not of {settings}: give other --runs, or remove it")
        elif not config.only or cell.name in config.only:
            data = data or _data(config.mnist)
            results[cell] = {"settings": settings, **_result(cell, *data, config)}
            beside = file.with_suffix(".new")
            beside.write_text(json.dumps(results[cell], indent=1) + "\n")
            beside.rename(file)
    table = "\n".join(_lines(results, config))
    (config.runs / "table.md").write_text(table + "\n")
    return table


def _data(path: Path) -> tuple[ArraySource, ArraySource]:
    """All rows to train on, since none choose anything, and the test rows with their pixels drawn, 0 or 255."""
    splits = source(str(path))
    if splits.train.levels != 256:
        raise ValueError(f"{path} has no grey values 0..255 (uint8), whose pixels could be drawn")
    x = np.concatenate([splits.train.arrays["x"], splits.valid.arrays["x"]])
    greys = splits.test.arrays["x"]
    drawn = np.random.default_rng(TEST_DRAW).random(greys.shape) < greys / 255
    return tuple(
        ArraySource({"x": rows}, levels=256, name=f"{path.name} ({name})")
        for name, rows in (("train", x), ("test", np.uint8(255) * drawn))
    )


def _result(cell: Cell, train: ArraySource, test: ArraySource, config: Table) -> dict[str, Any]:
    began = time.monotonic()
    model = importance_weighted(
        dense_vae(train.event_shape, levels=256), samples=cell.samples, chunk=cell.samples, aggregate=cell.aggregate,
        kernel_init=nn.initializers.glorot_uniform,
    )
    epoch = len(train) // BATCH
    adam = optax.adam(burda_schedule(epoch), eps=1e-4)
    plays = {name: play._replace(optimizer=adam) for name, play in model.plays().items()}
    # no averages: the paper's figures are of the variables themselves
    settings = Settings(
        steps=(3**config.stages - 1) // 2 * epoch, batch_size=BATCH, ema=0.0,
        log_every=epoch, eval_every=epoch, checkpoint_every=epoch,
    )  # fmt: skip
    print(cell.name, flush=True)
    bounds = fit_seeds(model, train, settings, plays=plays, seeds=range(config.seeds))
    trained = time.monotonic() - began
    few, key = test.subset(np.arange(min(config.test_rows, len(test)))), jax.random.key(TEST_DRAW)

    def figures(variables: Variables, batch: Any, key: Any) -> dict[str, Array]:
        bound = model.log_prob(variables, batch["x"], key, None, config.importance_samples, config.chunk)
        return {"nll": -bound.mean()}

    nll, active = [], []
    for seed, bound in enumerate(bounds):
        nll.append(evaluate(model, bound.variables, few, key, batch_size=BATCH, metrics=figures)["nll"])
        active.append(int(active_units(moments(bound, test, 1000)[0])))
        print(f"{cell.name}: seed {seed}, -log p(x) {nll[-1]:.2f}, active units {active[-1]}", flush=True)
    return {"nll": nll, "active": active, "training_seconds": round(trained), "seconds": round(time.monotonic() - began)}


def _lines(results: dict[Cell, dict[str, Any]], config: Table) -> Iterator[str]:
    yield "| model | figure | measured | published | epochs | seeds | training |"
    yield "|---|---|---|---|---|---|---|"
    nll = f"-log p(x) in nats, by {config.importance_samples:,} samples, {config.test_rows:,} test rows"
    for cell, result in results.items():
        ends = f"{(3**config.stages - 1) // 2:,} | {config.seeds} | {result['training_seconds']:,} s |"
        source = "Burda et al. 2016, table 1, 3,280 epochs"
        yield f"| {cell.name} | {nll} | {spread(result['nll'], 2)} | {cell.nll} ({source}) | {ends}"
        yield f"| {cell.name} | active units | {spread(result['active'], 1)} | {cell.active} ({source}) | {ends}"


if __name__ == "__main__":
    import tyro

    print(main(tyro.cli(Table, description=__doc__, prog="python -m experiments.vaes.table")))
