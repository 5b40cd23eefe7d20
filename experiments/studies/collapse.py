"""Posterior collapse and its remedies: `python -m experiments.vaes.collapse`.

One autoencoder whose decoder sees four symbols before the one that it rates, `experiments.vaes.sequence_vae`, and with
one remedy at a time. Each row of the table is a run: its bound, the divergence in it, how many latents are active and
how many nats they tell of the data. Runs that are there are read, the others run. A collapsed posterior has a
divergence near zero and no active latents, and its bound is that of a model without latents.

The data are by default rows of symbols, each from one of eight Markov chains, so that a latent of log 8 = 2.1 nats
tells all that a row has in common; their exact log-density is the first row. What it tells is how a symbol follows
another, so that word dropout, which hides the symbols before, takes from the latents too; and a convolution that sees
nothing knows no place, and says the same at each. Others: `--data FILE.txt` or images.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxgen import plotting
from jaxgen.data import source
from jaxgen.data.series import log_prob_of_chains
from jaxgen.training.folder import RunFolder

MODEL = ("--network", "causal", "--dilations", "1", "2", "--width", "32", "--latents", "16")
"""A decoder that sees four symbols: too few to tell the chain, so that the latents have something to say."""

REMEDIES: dict[str, tuple[str, ...]] = {
    "none": (),
    "warm-up": ("--warmup", "{half}"),
    "cyclical weight": ("--warmup", "{quarter}", "--cycles"),
    "free bits, 0.25 nats a latent": ("--free-bits", "0.25"),
    "five moves of the encoder": ("--encoder-steps", "5"),
    "word dropout, 0.75": ("--word-dropout", "0.75"),
    "discrete codes": ("--groups", "1", "--codes", "8"),
}
"""Arguments by name; what is in braces are shares of the steps."""


@dataclass(frozen=True, kw_only=True)
class Collapse:
    data: str = "chains"
    """What `experiments.vaes.sequence_vae` takes."""
    steps: int = 3000
    """Of each run, counting batches."""
    seed: int = 0
    only: tuple[str, ...] = ()
    """Names of remedies; all by default."""
    runs: Path = Path("runs/vaes.collapse")
    """Where the runs are."""
    more: tuple[str, ...] = ()
    """More arguments of every run, `--more --width 128`, which a run that is there is not asked for."""


def main(config: Collapse) -> str:
    """Runs what is missing; returns the table as Markdown.

    Raises:
        ValueError: unknown names of remedies.
    """
    if unknown := [name for name in config.only if name not in REMEDIES]:
        raise ValueError(f"only has {unknown}: there are {', '.join(REMEDIES)}")
    folder = config.runs / Path(config.data).name.partition(".")[0]
    chosen = [name for name in REMEDIES if not config.only or name in config.only]
    results = {name: _result(name, folder, config) for name in chosen}
    table = "\n".join(_lines(results, config.data))
    (folder / "table.md").write_text(table + "\n")
    divergences = {}
    for name in chosen:
        lines = [line for line in RunFolder(_folder(name, folder, config)).lines() if "valid/kl" in line]
        divergences[name] = ([line["step"] for line in lines], [line["valid/kl"] for line in lines])
    plotting.save(plotting.lines(divergences, "step", "valid/kl", whole=True), folder / "divergences.png")
    return table


def _folder(name: str, folder: Path, config: Collapse) -> Path:
    return folder / f"{name.replace(',', '').replace(' ', '_')}-{config.seed}"


def _result(name: str, folder: Path, config: Collapse) -> dict[str, Any]:
    out = _folder(name, folder, config)
    if not (out / "result.json").exists():
        _run(name, out, config)
    return json.loads((out / "result.json").read_text())


def arguments(name: str, steps: int) -> list[str]:
    """Of the model, and of the remedy over so many steps."""
    return [*MODEL, *(word.format(half=steps // 2, quarter=max(1, steps // 4)) for word in REMEDIES[name])]


def _run(name: str, out: Path, config: Collapse) -> None:
    every = str(max(1, config.steps // 20))
    command = [
        sys.executable, "-m", "experiments.vaes.sequence_vae", "--data", config.data, "--seed", str(config.seed),
        "--steps", str(config.steps), "--out", str(out), "--overwrite", "--log-every", every, "--eval-every", every,
        "--checkpoint-every", str(config.steps), *arguments(name, config.steps), *config.more,
    ]
    print(" ".join(command[1:]), flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ)


def _lines(results: Mapping[str, Mapping[str, Any]], data: str) -> Iterator[str]:
    yield "| remedy | figure | measured | divergence | active latents | information | steps | training |"
    yield "|---|---|---|---|---|---|---|---|"
    if data == "chains":
        exact = log_prob_of_chains(source(data).test.arrays["x"]).mean()
        yield f"| (the data's own density) | elbo in nats | {exact:.2f} | | | | | |"
    for name, result in results.items():
        test, config = result["test"], result["config"]
        yield (
            f"| {name} | elbo in nats | {test['elbo']:.2f} | {test['kl']:.2f} | {test['active units']:.0f} of "
            f"{config['latents']} | {test['mutual information in nats']:.2f} | {config['steps']:,} | "
            f"{result['training_seconds']:.0f} s |"
        )


if __name__ == "__main__":
    import tyro

    print(main(tyro.cli(Collapse, description=__doc__, prog="python -m experiments.vaes.collapse")))
