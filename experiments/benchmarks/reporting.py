"""The cost of reporting during a run: `python -m experiments.benchmarks.reporting`.

The same steps in three ways, timed alternately after warm-up: `compiled`, the compiled calls alone, with precomputed
indices of examples; `bare`, with the choice of examples, the host's part of a step; `reported`, the loop of `fit` with
a bar, metrics.jsonl and TensorBoard events at the default intervals. Evaluations and checkpoints, whose intervals the
user sets, are left out. The cost is that of `reported` over `bare`: the medians of the rounds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.commands import parse
from jaxgen import Settings
from jaxgen.data import source
from jaxgen.models.flows.real_nvp import real_nvp_image
from jaxgen.models.gans.wgan_gp import dense_wgan_gp
from jaxgen.training import Phase
from jaxgen.training.folder import RunFolder
from jaxgen.training.reporting import Reporter
from jaxgen.training.run import Run
from jaxgen.training.signals import Signals

ROWS = {
    "flow on digits": ("digits", lambda: real_nvp_image((8, 8, 1), num_levels=17, num_scales=1), 128),
    "gan of the plane": ("twenty_five_gaussians", lambda: dense_wgan_gp((2,), width=16), 128),
}


@dataclass(frozen=True)
class Reporting:
    rows: tuple[str, ...] = tuple(ROWS)
    """Rows to time."""
    seconds: float = 2.0
    """Approximate duration of one way in a round."""
    rounds: int = 15
    processor: bool = False
    """Measure processor time instead of wall time, for one core of a loaded machine."""
    out: Path = Path("runs/benchmarks/reporting")
    """The folder for reporting.json."""


def measure(name: str, config: Reporting) -> dict[str, list[float]]:
    """Milliseconds per step of each round, by way."""
    data, make, batch_size = ROWS[name]
    model, train = make(), source(data).train
    with tempfile.TemporaryDirectory() as folder:
        return _measure(model, train, batch_size, config, RunFolder(Path(folder) / "run"))


def _measure(model: Any, train: Any, batch_size: int, config: Reporting, folder: RunFolder) -> dict[str, list[float]]:
    settings = Settings(batch_size=batch_size, tensorboard=True)
    capacity = settings.steps_per_call
    folder.open(dataclasses.asdict(settings))
    run = Run(model, (Phase(model.plays(), settings.steps, train),), None, (settings,), (folder.path,))
    start, advance = run.init(run.head, run.start), run.advance[0]
    advance(jax.tree.map(jnp.copy, start), 0, 1)
    indices = [jax.device_put(advance._indices(step, capacity)) for step in range(0, 10 * capacity, capacity)]

    def compiled(state, steps):
        for step in range(0, steps, capacity):
            state, _ = advance.run(state, advance.arrays, indices[step // capacity % len(indices)], np.int32(capacity))
        return state

    def bare(state, steps):
        for step in range(0, steps, capacity):
            state, _ = advance(state, step, capacity)
        return state

    def reported(state, steps):
        run.ends = [steps]
        return run._phase(state, 0, signals)

    def timed(way: Callable, steps: int) -> float:
        state = jax.block_until_ready(jax.tree.map(jnp.copy, start))
        began = clock()
        jax.block_until_ready(way(state, steps))
        return (clock() - began) / steps

    clock = time.process_time if config.processor else time.perf_counter
    ways, rounds = (compiled, bare, reported), {}
    # started once, as in a run
    with _shown(), Signals() as signals, Reporter(folder, settings.steps, tensorboard=True) as reporter:
        run.recorders[0].reporter = reporter
        timed(compiled, capacity)
        steps = max(1, round(config.seconds / timed(compiled, capacity) / capacity)) * capacity
        for way in ways:
            timed(way, steps)
        for i in range(config.rounds):
            for way in ways[i % 3 :] + ways[: i % 3]:
                rounds.setdefault(way.__name__, []).append(1e3 * timed(way, steps))
    return rounds


@contextlib.contextmanager
def _shown():
    """Draws the bar as on a terminal, but to the null device."""
    before = os.environ.get("FORCE_COLOR")
    os.environ["FORCE_COLOR"] = "1"
    try:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        os.environ.pop("FORCE_COLOR")
        if before is not None:
            os.environ["FORCE_COLOR"] = before


def cost(rounds: dict[str, list[float]]) -> float:
    """The cost of reports as a fraction of the time without them."""
    return float(np.median(rounds["reported"]) / np.median(rounds["bare"]) - 1)


def main(config: Reporting) -> dict[str, dict[str, list[float]]]:
    """Times all rows; writes reporting.json.

    Raises:
        ValueError: unknown row.
    """
    if unknown := set(config.rows) - set(ROWS):
        raise ValueError(f"`rows` must be from {list(ROWS)}, got {sorted(unknown)}")
    measured = {name: measure(name, config) for name in config.rows}
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "reporting.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return measured


if __name__ == "__main__":
    for name, rounds in main(parse(Reporting, __doc__, "experiments.benchmarks.reporting")).items():
        for way, values in rounds.items():
            low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
            print(f"{name}, {way}: {median:.4f} ms a step, quartiles {low:.4f} and {high:.4f}")
        print(f"{name}: reports cost {cost(rounds):.1%}")
