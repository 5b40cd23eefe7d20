"""Our adversarial steps against PyTorch's, on the CPU: `python -m experiments.benchmarks.adversaries`.

`pip install -e ".[bench]"` brings PyTorch. `adversary_peers.py` defines what is timed, with the same networks in
float32: the critic's step of a WGAN-GP (losses, gradient penalty, Adam's update), on points of the plane with three
dense layers of 512 at batches of 256, and on 32x32x3 images with DCGAN's networks, the critic's without normalisation,
at batches of 64; and a step of both players of a DCGAN on these images, with batch normalisation in both. Numbers of
parameters differ by at most 2 %. In `dcgan_transposed` the generators have the usual transposed convolutions of 4x4, at
16/36 of the arithmetic of the sub-pixel ones. Each library has a process of its own and all processors; the processes
alternate, round by round, each idle while another is timed: `compare.py`.

The table also has the floor of our step, the time of its multiply-adds at the rate of one plain product: `steps.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks import compare
from experiments.benchmarks.adversary_peers import LIBRARIES, ROWS
from experiments.benchmarks.steps import with_floor


@dataclass(frozen=True)
class Adversaries(compare.Config):
    rows: tuple[str, ...] = tuple(ROWS)
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    out: Path = Path("runs/benchmarks.adversaries")

    def check(self) -> None:
        super().check(ROWS, LIBRARIES)


def main(config: Adversaries) -> dict[str, Any]:
    """Times all rows, writes table.json, table.md and plot.png, prints the table; returns table.json's contents."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    module = "experiments.benchmarks.adversary_peers"
    result = compare.compare(module, rows, config.libraries, config.rounds)
    result["rows"] = {name: with_floor(measured, rows[name].products()) for name, measured in result["rows"].items()}
    compare.write(result, config.out)
    return result


if __name__ == "__main__":
    compare.run(Adversaries, main, __doc__, "experiments.benchmarks.adversaries")
