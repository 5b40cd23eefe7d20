"""Posterior collapse and its remedies: `python -m experiments.studies.collapse`.

One autoencoder whose decoder sees the last four symbols, `experiments.vaes.sequence_vae`, with one remedy at a time.
Each row is a run: its ELBO, its KL divergence, the active latents and their mutual information with the data. A
collapsed posterior has a KL near zero and no active latents, and its ELBO equals that of a model without latents.

The default data are sequences of symbols, each from one of eight Markov chains, so that a latent of log 8 = 2.1 nats
holds all that the symbols of a sequence have in common; their exact log-density is the first row. As the chain
determines how a symbol depends on the previous one, word dropout, which hides inputs, hurts the latents too. Other
data: `--data FILE.txt`, images. Result after 2,000 steps: KL 0.00 without a remedy, 1.28 with warm-up, 2.08 with codes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.studies import harness
from jaxgen import plotting
from jaxgen.data import source
from jaxgen.data.series import log_prob_of_chains
from jaxgen.training.folder import RunFolder
from jaxgen.training.ranges import Count, Natural

MODEL = ("--network", "causal", "--dilations", "1", "2", "--width", "32", "--latents", "16")
"""A decoder with a receptive field of four symbols, too few to infer the chain, so that latents are useful."""

REMEDIES: dict[str, tuple[str, ...]] = {
    "none": (),
    "warm-up": ("--warmup", "{half}"),
    "cyclical weight": ("--warmup", "{quarter}", "--cycles"),
    "free bits, 0.25 nats a latent": ("--free-bits", "0.25"),
    "five moves of the encoder": ("--encoder-steps", "5"),
    "word dropout, 0.75": ("--word-dropout", "0.75"),
    "discrete codes": ("--groups", "1", "--codes", "8"),
}
"""Arguments by remedy; braces are fractions of the steps."""


@dataclass(frozen=True, kw_only=True)
class Collapse(harness.StudyConfig):
    data: str = "chains"
    """Data of `experiments.vaes.sequence_vae`."""
    steps: Count = 3000
    """Batches of each run."""
    seed: Natural = 0
    """Seed of the runs."""
    more: str = ""
    """More arguments of every run: `--more="--width 128"`."""
    runs: Path = Path("runs/studies.collapse")


def study(config: Collapse) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    folder = config.runs / Path(config.data).name.partition(".")[0]
    compute = {name: partial(run, name, folder, config) for name in REMEDIES}
    settings = {name: getattr(config, name) for name in ("steps", "seed", "more")}
    results = harness.rows(compute, config.only, folder, settings)
    divergences = {}
    for name in results:
        evaluations = [line for line in RunFolder(folder / harness.slug(name)).lines() if "valid/kl" in line]
        divergences[name] = ([line["step"] for line in evaluations], [line["valid/kl"] for line in evaluations])
    plotting.save(plotting.lines(divergences, "step", "valid/kl", whole=True), folder / "divergences.png")
    head = ("remedy", "elbo in nats", "KL", "active latents", "information", "steps", "training")
    return harness.save(folder, harness.table(head, lines(results, config.data)))


def arguments(name: str, steps: int) -> list[str]:
    """The arguments of the model and of a remedy, for a run of `steps` steps."""
    return [*MODEL, *(word.format(half=steps // 2, quarter=max(1, steps // 4)) for word in REMEDIES[name])]


def run(name: str, folder: Path, config: Collapse) -> dict[str, Any]:
    every = str(max(1, config.steps // 20))
    return harness.experiment(
        "vaes.sequence_vae", folder / harness.slug(name),
        ("--data", config.data, "--seed", str(config.seed), "--steps", str(config.steps)),
        ("--log-every", every, "--eval-every", every, "--checkpoint-every", str(config.steps)),
        arguments(name, config.steps), shlex.split(config.more),
    )  # fmt: skip


def lines(results: Mapping[str, Mapping[str, Any]], data: str) -> Iterator[Sequence[str]]:
    if data == "chains":
        exact = log_prob_of_chains(source(data).test.arrays["x"]).mean()
        yield "exact log-density", f"{exact:.2f}", "", "", "", "", ""
    for name, result in results.items():
        test, config = result["test"], result["config"]
        active, information = test["active units"], test["mutual information in nats"]
        yield (
            name, f"{test['elbo']:.2f}", f"{test['kl']:.2f}", f"{active:.0f} of {config['latents']}",
            f"{information:.2f}", f"{config['steps']:,}", f"{result['training_seconds']:.0f} s",
        )  # fmt: skip


if __name__ == "__main__":
    harness.main(Collapse, study, __doc__, "experiments.studies.collapse")
