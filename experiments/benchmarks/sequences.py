"""SeqGAN's steps against PyTorch's: `python -m experiments.benchmarks.sequences`.

`pip install -e ".[bench]"` brings PyTorch. `sequence_peers.py` defines what is timed, with the same networks in float32
and SeqGAN's sizes: 64 sequences of 20 out of 5,000 words, an LSTM of 32 units, a critic with 300 filters. A train step
is a round: a policy step with 4 completions of each prefix, and 5 critic steps. Each library has a process of its own
and all processors; the processes alternate, round by round, each idle while another is timed: `compare.py`.

Notes below the table have the sampled tokens per second of processor time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks import compare
from experiments.benchmarks.sequence_peers import LIBRARIES, ROWS, Row


@dataclass(frozen=True)
class Sequences(compare.Config):
    rows: tuple[str, ...] = tuple(ROWS)
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    out: Path = Path("runs/benchmarks.sequences")

    def check(self) -> None:
        super().check(ROWS, LIBRARIES)


def main(config: Sequences) -> dict[str, Any]:
    """Times all rows, writes table.json, table.md and plot.png, prints the table; returns table.json's contents."""
    config.check()
    rows = {name: ROWS[name] for name in config.rows}
    result = compare.compare("experiments.benchmarks.sequence_peers", rows, config.libraries, config.rounds)
    result["rows"] = {name: with_rates(measured, rows[name]) for name, measured in result["rows"].items()}
    compare.write(result, config.out)
    return result


def with_rates(measured: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Adds a note with the sampled tokens per second of processor time."""
    parts = []
    for what, tokens in row.tokens.items():
        seconds = measured["measures"].get(f"{what} processor", {})
        rates = ", ".join(f"{name} {tokens / np.median(values):,.0f}" for name, values in seconds.items())
        parts.append(f"{what}: {rates}")
    return {**measured, "note": "tokens per second of processor time, " + "; ".join(parts)}


if __name__ == "__main__":
    compare.run(Sequences, main, __doc__, "experiments.benchmarks.sequences")
