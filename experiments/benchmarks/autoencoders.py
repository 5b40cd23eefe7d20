"""Our autoencoders against pythae's, on the CPU: `python -m experiments.benchmarks.autoencoders`.

`pip install -e ".[bench]"` brings pythae and PyTorch. `autoencoder_peers.py` defines what is timed: a train step (loss,
gradient and Adam's update) of the same networks in float32, with numbers of parameters that differ by at most 2 %: a
variational autoencoder 784-200-200-50 at batches of 100, the importance-weighted one with 50 samples, and a
convolutional vector-quantized one of 32x32x3 images at batches of 64. Each library has a process of its own and all
processors; the processes alternate, round by round, each idle while another is timed: `compare.py`.

The table also has the floor of our step, the time of its multiply-adds at the rate of one plain product: `steps.py`.
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
    """Times all rows, writes table.json, table.md and plot.png, prints the table; returns table.json's contents."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    result = compare.compare("experiments.benchmarks.autoencoder_peers", rows, config.libraries, config.rounds)
    result["rows"] = {name: with_floor(measured, rows[name].products()) for name, measured in result["rows"].items()}
    compare.write(result, config.out)
    return result


if __name__ == "__main__":
    compare.run(Autoencoders, main, __doc__, "experiments.benchmarks.autoencoders")
