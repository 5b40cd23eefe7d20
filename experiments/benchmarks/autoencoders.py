"""Our autoencoders against pythae's, on the CPU: `python -m experiments.benchmarks.autoencoders`.

`pip install -e ".[bench]"` brings pythae and PyTorch. What is timed is in `autoencoder_peers.py`: a train step (loss,
gradient and Adam's update) of the same networks in float32, whose numbers of parameters differ by no more than 2 %: a
variational autoencoder 784-200-200-50 at batches of 100, the importance-weighted one with 50 draws, and a convolutional
vector-quantized one of 32x32x3 images at batches of 64. Either library has a process of its own and all processors; the
processes take turns, round by round, each waiting while another is timed: `compare.py`.

Below the steps stands their floor: how long the machine would take for the multiply-adds of the step's layers, forward
and backward, at the rate of one plain product of matrices, of the shape of the step's greatest, timed in the same turns.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks import compare
from experiments.benchmarks.autoencoder_peers import LIBRARIES, ROWS
from experiments.benchmarks.steps import with_floor


@dataclass(frozen=True)
class Autoencoders(compare.Config):
    rows: tuple[str, ...] = tuple(ROWS)
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    out: Path = Path("runs/benchmarks.autoencoders")

    def check(self) -> None:
        super().check(ROWS, LIBRARIES)


def main(config: Autoencoders) -> dict[str, Any]:
    """Times everything, writes table.json, table.md and plot.png, prints the table; returns what table.json holds."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    result = compare.compare("experiments.benchmarks.autoencoder_peers", rows, config.libraries, config.rounds)
    result["rows"] = {name: with_floor(measured, rows[name].products()) for name, measured in result["rows"].items()}
    compare.write(result, config.out)
    return result


if __name__ == "__main__":
    compare.run(Autoencoders, main, __doc__, "experiments.benchmarks.autoencoders")
