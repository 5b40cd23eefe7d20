"""Our steps of a VQGAN and a small StyleGAN against PyTorch's: `python -m experiments.benchmarks.hybrids`.

`pip install -e ".[bench]"` brings PyTorch. `hybrid_peers.py` and `style_gan_peers.py` define what is timed, with the
same networks in float32:

- `vqgan_1`, `vqgan_16`: critic and autoencoder on images of 32x32x3 in batches of 1 and 16, 8x8 codes of 512, residual
  blocks with group normalisation, the perceptual trunk of VGG-16 up to relu3_3 with random weights, the 16x16 patch
  critic, and the adaptive weight;
- `style_gan`: critic and generator on batches of 32 images of 32x32x3, styles of two latents, lazy R1 and path lengths.

Numbers of parameters differ by at most 2 %. Each library has a process of its own and all processors; the processes
alternate, round by round, each idle while another is timed: `compare.py`.

The table also has the floor of our step, the time of its multiply-adds at the rate of one plain product: `steps.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks import compare, hybrid_peers, style_gan_peers
from experiments.benchmarks.hybrid_peers import LIBRARIES
from experiments.benchmarks.steps import with_floor

ROWS = {**hybrid_peers.ROWS, **style_gan_peers.ROWS}


@dataclass(frozen=True)
class Hybrids(compare.Config):
    rows: tuple[str, ...] = tuple(ROWS)
    libraries: tuple[str, ...] = tuple(LIBRARIES)
    out: Path = Path("runs/benchmarks.hybrids")

    def check(self) -> None:
        super().check(ROWS, LIBRARIES)


def main(config: Hybrids) -> dict[str, Any]:
    """Times all rows, writes table.json, table.md and plot.png, prints the table; returns table.json's contents."""
    config.check()
    result, measured = {}, {}
    for peers in (hybrid_peers, style_gan_peers):
        if rows := {name: peers.ROWS[name] for name in config.rows if name in peers.ROWS}:
            result = compare.compare(peers.__name__, rows, config.libraries, config.rounds)
            measured |= {name: with_floor(row, rows[name].products()) for name, row in result["rows"].items()}
    result["rows"] = measured
    compare.write(result, config.out)
    return result


if __name__ == "__main__":
    compare.run(Hybrids, main, __doc__, "experiments.benchmarks.hybrids")
