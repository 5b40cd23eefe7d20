"""Our autoencoders against pythae's, on the CPU: `python -m experiments.benchmarks.autoencoders`.

`pip install -e ".[bench]"` brings pythae and PyTorch. What is timed is in `autoencoder_peers.py`: a train step (loss,
gradient and Adam's update) of the same networks in float32, whose numbers of parameters differ by no more than 2 %: a
variational autoencoder 784-200-200-50 at batches of 100, the importance-weighted one with 50 draws, and a convolutional
vector-quantized one of 32x32x3 images at batches of 64. Either library has a process of its own and all processors; the
processes take turns, round by round, each waiting while another is timed: `turns.py`.

Below the steps stands their floor: how long the machine would take for the multiply-adds of the step's layers, forward
and backward, at the rate of one plain product of matrices, of the shape of the step's greatest, timed in the same turns.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import turns
from experiments.benchmarks.autoencoder_peers import LIBRARIES, ROWS, Row


@dataclass(frozen=True)
class Autoencoders:
    rows: tuple[str, ...] = tuple(ROWS)
    """What to time."""
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    """Whose autoencoders to time; those that are not installed are passed over."""
    rounds: int = 15
    """Turns of each library."""
    out: Path = Path("runs/benchmarks.autoencoders")
    """Where table.json, table.md and plot.png go."""

    def check(self) -> None:
        """Raises ValueError where a name is unknown, or there are no rounds."""
        turns.check(self.rows, ROWS, self.libraries, LIBRARIES, self.rounds)


def with_floor(measured: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """A row's figures with `floor`, the seconds of its multiply-adds at the rate of its greatest product, and a note."""
    measures, products = dict(measured["measures"]), row.products()
    if turns.OURS not in measures.get("product", {}):
        return dict(measured)
    largest = max(products, key=lambda product: product.multiply_adds)
    rates = [largest.rows * largest.inputs * largest.outputs / seconds for seconds in measures["product"][turns.OURS]]
    total = sum(product.multiply_adds for product in products)
    floor = [total / rate for rate in rates]
    share = np.median(floor) / np.median(measures["train"][turns.OURS])
    note = (
        f"{total / 1e9:.3g} G multiply-adds a step at {np.median(rates) / 1e9:.3g} G/s, the rate of a product "
        f"[{largest.rows}, {largest.inputs}] x [{largest.inputs}, {largest.outputs}], are {share:.0%} of our step"
    )
    measures["floor"] = {turns.OURS: floor}
    return {**measured, "measures": {name: measures[name] for name in turns.MEASURES if name in measures}, "note": note}


def main(config: Autoencoders) -> dict[str, Any]:
    """Times everything, writes table.json, table.md and plot.png, prints the table; returns what table.json holds."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    result = turns.compare("experiments.benchmarks.autoencoder_peers", rows, config.libraries, config.rounds)
    result["rows"] = {name: with_floor(measured, rows[name]) for name, measured in result["rows"].items()}
    turns.write(result, config.out)
    return result


if __name__ == "__main__":
    import tyro

    chosen = tyro.cli(Autoencoders, description=__doc__, prog="python -m experiments.benchmarks.autoencoders")
    try:
        chosen.check()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    main(chosen)
