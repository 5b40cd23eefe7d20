"""Our flows against those of other libraries, on the CPU: `python -m experiments.benchmarks.flows`.

`pip install -e ".[bench]"` brings flowjax, zuko, nflows, normflows and PyTorch; distrax, which needs a nightly build of
TensorFlow Probability, is timed where it is installed. `peers.py` defines what is timed: a train step (loss, gradient
and Adam's update), `log_prob` and sampling of flows of equal sizes in float32, with numbers of parameters that differ
by at most 2 %. Each library has a process of its own and all processors; the processes alternate, round by round, each
idle while another is timed: `compare.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks import compare
from experiments.benchmarks.peers import LIBRARIES, ROWS


@dataclass(frozen=True)
class Flows(compare.Config):
    rows: tuple[str, ...] = tuple(ROWS)
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    out: Path = Path("runs/benchmarks.flows")

    def check(self) -> None:
        super().check(ROWS, LIBRARIES)


def main(config: Flows) -> dict[str, Any]:
    """Times all rows, writes table.json, table.md and plot.png, prints the table; returns table.json's contents."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    result = compare.compare("experiments.benchmarks.peers", rows, config.libraries, config.rounds)
    compare.write(result, config.out)
    return result


if __name__ == "__main__":
    compare.run(Flows, main, __doc__, "experiments.benchmarks.flows")
