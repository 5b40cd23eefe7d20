"""Adversarial networks of characters beside n-gram models: `python -m experiments.studies.characters --data FILE.txt`.

Rows are runs of `experiments.sequences.wgan_gp_text` with its small networks: the WGAN-GP whose critic sees the
probabilities of the characters; the same with relaxed and with one-hot samples of them by Gumbel-softmax; and as a
control the WGAN-GP of texts whose characters are shuffled, which can learn only their frequencies. Below them are
held-out texts and samples of n-gram models. Markov chains of order 3 copy training texts and have a lower divergence of
4-grams than held-out texts. All metrics compare 640 samples with all training texts; divergences are in bits.

Result on tinyshakespeare after 2,000 generator steps, one seed, two minutes a row: divergences of 2- and 4-grams 0.11
and 0.60 for the WGAN-GP, 0.12 and 0.61 for Gumbel-softmax, 0.11 and 0.62 for one-hot samples, and 0.33 and 0.92 for the
control, as for unigram samples.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.sequences.n_grams import COPIED, ORDERS, baseline_metrics
from experiments.studies import harness
from jaxgen.data import source
from jaxgen.training.ranges import Count, Natural

SYSTEMS: dict[str, tuple[str, ...]] = {
    "WGAN-GP": (),
    "Gumbel-softmax": ("--relaxation", "gumbel"),
    "straight-through": ("--relaxation", "straight_through"),
    "shuffled characters": ("--shuffled",),
}
"""Arguments by row."""
BASELINES = "baselines"
COLUMNS = {f"js{n}_bits": f"n = {n}" for n in ORDERS} | {f"copied_{COPIED}_grams": f"copied {COPIED}-grams"}
HEAD = ("texts", *COLUMNS.values(), "generator steps", "minutes")


@dataclass(frozen=True, kw_only=True)
class Characters(harness.StudyConfig):
    data: str = "chains"
    """A text file, or other sequences of symbols."""
    window: Count = 32
    """Characters of an example of a text."""
    steps: Count = 10_000
    """Batches of each run, with one update of the critic each; the generator is updated at every fifth."""
    width: Count = 32
    """Channels of the networks."""
    samples: Count = 640
    """Samples, and held-out texts, for the metrics."""
    seed: Natural = 0
    """Seed of the runs."""
    seeds: Count = 1
    """Runs of each system, trained side by side."""
    more: str = ""
    """More arguments of every run: `--more="--blocks 3 --ema 0.9"`."""
    runs: Path = Path("runs/studies.characters")


def study(config: Characters) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    folder = config.runs / Path(config.data).name.partition(".")[0]
    compute: dict[str, Any] = {name: partial(run, name, folder, config) for name in SYSTEMS}
    compute[BASELINES] = lambda: baseline_metrics(source(config.data, window=config.window), config.samples)
    results = harness.rows(compute, config.only, folder, settings(config))
    return harness.save(folder, harness.table(HEAD, lines(results)))


def settings(config: Characters) -> dict[str, Any]:
    """The fields that the results depend on."""
    return {name: getattr(config, name) for name in ("window", "steps", "width", "samples", "seed", "seeds", "more")}


def run(name: str, folder: Path, config: Characters) -> dict[str, Any]:
    every, numbers = str(max(1, config.steps // 10)), settings(config)
    more = shlex.split(numbers.pop("more"))
    return harness.experiment(
        "sequences.wgan_gp_text", folder / harness.slug(name), ("--preset", "small", "--data", config.data),
        [word for field, value in numbers.items() for word in (f"--{field}", str(value))],
        ("--eval-every", every, "--checkpoint-every", every), SYSTEMS[name], more,
    )  # fmt: skip


def lines(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    for name in SYSTEMS:
        if result := results.get(name):
            config = result["config"]
            yield (
                name, *cells(result), f"{config['steps'] // config['critic_steps']:,}",
                f"{result['training_seconds'] / 60:.0f}",
            )  # fmt: skip
    for name, metrics in results.get(BASELINES, {}).items():
        yield name, *cells({"test": metrics}), "", ""


def cells(result: Mapping[str, Any]) -> list[str]:
    """One for each of `COLUMNS`; empty if the texts are too short."""
    return [harness.measured(result, name, 3) for name in COLUMNS]


if __name__ == "__main__":
    harness.main(Characters, study, __doc__, "experiments.studies.characters")
