"""Our steps of Pix2Pix and CycleGAN against PyTorch's: `python -m experiments.benchmarks.translation`.

`pip install -e ".[bench]"` brings PyTorch. `translation_peers.py` defines what is timed, with the same networks in
float32: a step of all players on images of 64x64x3, at batches of 1 and 16. Pix2Pix has its U-Net to 1x1 with batch
normalisation and dropout, and the 34x34 patch critic; CycleGAN its residual generators with 6 blocks and instance
normalisation, the same critics, identity loss and pools. Numbers of parameters differ by at most 2 %. Each library has
a process of its own and all processors; the processes alternate, round by round, each idle while another is timed:
`compare.py`.

The table also has the floor of our step, the time of its multiply-adds at the rate of one plain product: `steps.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks import compare
from experiments.benchmarks.steps import with_floor
from experiments.benchmarks.translation_peers import LIBRARIES, ROWS


@dataclass(frozen=True)
class Translations(compare.Config):
    rows: tuple[str, ...] = tuple(ROWS)
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    out: Path = Path("runs/benchmarks.translation")

    def check(self) -> None:
        super().check(ROWS, LIBRARIES)


def main(config: Translations) -> dict[str, Any]:
    """Times all rows, writes table.json, table.md and plot.png, prints the table; returns table.json's contents."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    module = "experiments.benchmarks.translation_peers"
    result = compare.compare(module, rows, config.libraries, config.rounds)
    result["rows"] = {name: with_floor(measured, rows[name].products()) for name, measured in result["rows"].items()}
    compare.write(result, config.out)
    return result


if __name__ == "__main__":
    compare.run(Translations, main, __doc__, "experiments.benchmarks.translation")
