"""What the weights of a boundary-seeking GAN are worth: `python -m experiments.studies.boundary_seeking --data
binarized_mnist.npz --labelled mnist.npz --bits 2`.

Rows are the objectives of `experiments.sequences.boundary_seeking` with the same networks, steps and batches: the
paper's weights among the M samples of each z, equal weights (the control, whose expected update is zero), and rewards,
the log-ratio and the probability D.

On strings of ten bits whose probabilities are known (`bit_patterns`), divergences are exact. On images as bits, a
classifier that the row `judge` trains on labelled images says how many samples it is confident of, and how rare the
rarest class is; the accuracy of a nearest neighbour in telling samples from test examples is 0.5 if they are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.sequences.boundary_seeking import OBJECTIVES
from experiments.studies import harness
from jaxgen.training.ranges import Count, Natural

JUDGE = "judge"
NAMES = {
    "weights": "weights of each z",
    "equal": "equal weights",
    "reinforce": "log-ratio as reward",
    "reinforce_probability": "D as reward",
}
STRINGS = {"kl": ("KL(p, g)", 3), "reverse_kl": ("KL(g, p)", 3), "js": ("JS", 4)}
IMAGES = {
    "confident": ("confident samples", 3),
    "rarest class": ("rarest class", 3),
    "class_histogram_divergence": ("KL of classes", 3),
    "nn_accuracy": ("1-NN accuracy", 3),
    "nn_accuracy_real": ("on data", 3),
    "nn_accuracy_fake": ("on samples", 3),
}
"""Columns: heading and digits."""


@dataclass(frozen=True, kw_only=True)
class BoundarySeekingStudy(harness.StudyConfig):
    data: str = "digits"
    """Images, made bits."""
    labelled: str | None = None
    """Labelled images for the judge; None: the same."""
    bits: Count = 1
    """Each bit is a square of so many pixels by as many."""
    steps: Count = 6_000
    """Of each run on images."""
    width: Count = 512
    """Units of a dense layer, on images."""
    string_steps: Count = 4_000
    """Of each run on strings."""
    judge_steps: Count = 1_500
    """Of the classifier."""
    seeds: Count = 3
    """Seeds of the runs on strings, trained side by side."""
    image_seeds: Count = 1
    """Seeds of the runs on images."""
    seed: Natural = 0
    runs: Path = Path("runs/studies.boundary_seeking")


def study(config: BoundarySeekingStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    shown = {"only", "runs"}
    settings = {name: value for name, value in vars(config).items() if name not in shown}
    judge, bits = config.runs / JUDGE, ["--bits", str(config.bits)]

    def classifier() -> dict[str, Any]:
        steps = ["--steps", str(config.judge_steps), "--eval-every", str(max(1, config.judge_steps // 3))]
        data = ["--data", config.labelled or config.data, "--widths", "16", "32"]
        return harness.experiment("gans.feature_extractor", judge, data, bits, steps)["test"]

    def run(data: Sequence[str], objective: str, steps: int, seeds: int, name: str) -> dict[str, Any]:
        every = str(max(1, steps // 4))
        return harness.experiment(
            "sequences.boundary_seeking", config.runs / harness.slug(name), data,
            ("--preset", "small", "--objective", objective, "--steps", str(steps), "--seed", str(config.seed)),
            ("--seeds", str(seeds), "--eval-every", every, "--checkpoint-every", every),
        )  # fmt: skip

    compute: dict[str, Any] = {JUDGE: classifier}
    images = ["--data", config.data, *bits, "--width", str(config.width), "--extractor", str(judge)]
    for kind, data, steps, seeds in (
        ("strings", ["--data", "bit_patterns"], config.string_steps, config.seeds),
        ("images", images, config.steps, config.image_seeds),
    ):
        for objective in OBJECTIVES:
            name = f"{kind}, {objective}"
            arguments = (data, objective, steps, seeds, name)
            compute[name] = lambda arguments=arguments: run(*arguments)
    results = harness.rows(compute, config.only, config.runs, settings)
    return harness.save(config.runs, text(results))


def text(results: Mapping[str, Any]) -> str:
    """The tables of strings and of images."""
    parts = []
    for kind, columns in (("strings", STRINGS), ("images", IMAGES)):
        rows = {name: results[f"{kind}, {name}"] for name in OBJECTIVES if f"{kind}, {name}" in results}
        if rows:
            head = (kind, *(heading for heading, _ in columns.values()), "steps", "seeds", "minutes")
            parts.append(harness.table(head, lines(rows, columns)))
    if JUDGE in results:
        accuracy = f"The judge's accuracy on test examples is {results[JUDGE]['accuracy']:.3f}"
        images = [result for name, result in results.items() if name.startswith("images")]
        of_data = f"; it is confident of {images[0]['test']['confident test examples']:.3f} of them" if images else ""
        parts.append(f"{accuracy}{of_data}.")
    return "\n\n".join(parts)


def lines(rows: Mapping[str, Any], columns: Mapping[str, tuple[str, int]]) -> Iterator[Sequence[str]]:
    for name, result in rows.items():
        cells = (harness.measured(result, key, digits) for key, (_, digits) in columns.items())
        config, minutes = result["config"], f"{result['training_seconds'] / 60:.1f}"
        yield NAMES[name], *cells, f"{config['steps']:,}", str(config["seeds"]), minutes
    baselines = next(iter(rows.values()))["baselines"]
    for name in dict.fromkeys(key.partition(" of ")[2] for key in baselines):
        known = [(baselines.get(f"{key} of {name}"), digits) for key, (_, digits) in columns.items()]
        yield name, *("" if value is None else f"{value:.{digits}f}" for value, digits in known), "", "", ""


if __name__ == "__main__":
    harness.main(BoundarySeekingStudy, study, __doc__, "experiments.studies.boundary_seeking")
