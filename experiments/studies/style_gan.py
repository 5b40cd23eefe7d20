"""StyleGAN's options side by side: `python -m experiments.studies.style_gan --data mnist.npz --extractor FOLDER`.

- `StyleGAN`: `experiments.hybrids.style_gan --preset small`. Spaces: the path length and the separability in W should
  be below those in Z.
- `path lengths, mixing`: with the paper's regularisation of path lengths and styles of two latents.
- `rotations`: the same with the rotation term of the self-supervised GAN.
- `few`, `few, ADA`: the same on the first `--examples` training examples, without and with adaptive augmentation.

Metrics are on the test split, by the extractor. The last row has training examples in place of samples, a bound.

Result on MNIST, `--steps 4800 --few-steps 4800`, one seed, ten minutes of a free core a row: a Frechet distance of 18.6,
with rotations 22.4, with 1,000 training images 21.1: they are no lack of data that augmentation could make up for.
Paths in W are 0.54 to 0.62 as long as in Z, and separability is lower. After `--steps 1200 --few-steps 1200` the
distance is 131, with rotations 117, with 1,000 images 124, with adaptive augmentation 212: after 38,000 images of these
the critic does not overfit. Its measure is above the target of 0.6 for a while, the probability rises to 0.29, and ends
at 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.studies import harness
from jaxgen.data import source
from jaxgen.metrics import measure
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import Count

METRICS = {
    "frechet_distance": ("Frechet", 1),
    "kernel_distance": ("kernel", 2),
    "precision": ("precision", 3),
    "recall": ("recall", 3),
    "coverage": ("coverage", 3),
    "path length in Z": ("path length in Z", 1),
    "path length in W": ("in W", 1),
    "separability in Z": ("separability in Z", 2),
    "separability in W": ("in W ", 2),
    "class by the coarse half": ("class by coarse styles", 3),
    "probability of augmentation": ("p", 2),
}
"""Columns: heading and digits."""


@dataclass(frozen=True, kw_only=True)
class StyleGANStudy(harness.StudyConfig):
    data: str = "digits"
    """Labelled images."""
    extractor: Path
    """Run folder of `experiments.gans.feature_extractor` on the same data."""
    steps: Count = 4_000
    few_steps: Count = 2_000
    """Steps of the rows with few examples."""
    examples: Count = 1_000
    ada_images: Count = 20_000
    """Examples in which the probability of augmentation can go from 0 to 1; the paper's 500,000 for long runs."""
    width: Count = 16
    max_width: Count = 64
    seeds: Count = 1
    measured: Count = 2_000
    """Number of test examples and of samples."""
    runs: Path = Path("runs/studies.style_gan")


def arms(config: StyleGANStudy) -> dict[str, tuple[str, ...]]:
    """The arguments of each row."""
    steps = ("--steps", str(config.steps))
    few = ("--steps", str(config.few_steps), "--examples", str(config.examples))
    return {
        "StyleGAN": steps,
        "path lengths, mixing": (*steps, "--path-weight", "2", "--mixing", "0.9"),
        "rotations": (*steps, "--rotations"),
        "few": few,
        "few, ADA": (*few, "--ada", "--ada-images", str(config.ada_images)),
    }


def study(config: StyleGANStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = ("steps", "few_steps", "examples", "ada_images", "width", "max_width", "seeds", "measured")
    settings = {name: getattr(config, name) for name in names}
    settings |= {"data": Path(config.data).name, "extractor": config.extractor.name}
    compute = {name: partial(train, name, arguments, config) for name, arguments in arms(config).items()}
    compute["training examples"] = lambda: {"tests": [ceiling(config)]}
    results = harness.rows(compute, config.only, config.runs, settings)
    shown = [metric for metric in METRICS if any(metric in r["tests"][0] for r in results.values())]
    head = ("row", "steps", *(METRICS[metric][0] for metric in shown), "training")
    records = [record(config, name, result) for name, result in results.items() if "command" in result]
    return harness.save(config.runs, harness.table(head, lines(results, shown), notes(config)), records)


def train(name: str, arguments: Sequence[str], config: StyleGANStudy) -> dict[str, Any]:
    """The test metrics of each seed, and the seconds of one."""
    steps = arguments[arguments.index("--steps") + 1]
    results = [
        harness.experiment(
            "hybrids.style_gan", config.runs / f"{harness.slug(name)}-{seed}",
            ("--preset", "small", "--data", config.data, "--seed", str(seed), "--eval-every", steps),
            ("--checkpoint-every", steps, "--width", str(config.width), "--max-width", str(config.max_width)),
            ("--extractor", str(config.extractor), "--measured", str(config.measured)), arguments,
        )
        for seed in range(config.seeds)
    ]  # fmt: skip
    seconds = float(np.mean([result["training_seconds"] for result in results]))
    tests = [result["test"] for result in results]
    command, changed = results[0]["command"], results[0]["changed"]
    return {"tests": tests, "steps": int(steps), "training_seconds": seconds, "command": command, "changed": changed}


def ceiling(config: StyleGANStudy) -> dict[str, float]:
    """The metrics of training examples in place of samples."""
    splits = source(config.data)
    real, fake = (split.head(config.measured)["x"] for split in (splits.test, splits.train))
    return dict(measure(real, fake, load_extractor(config.extractor), jax.random.key(0)).metrics)


def lines(results: Mapping[str, Mapping[str, Any]], shown: Sequence[str]) -> Iterator[Sequence[str]]:
    for name, result in results.items():
        tests, cells = result["tests"], []
        for metric in shown:
            values = [test[metric] for test in tests if metric in test]
            cells.append(with_error(values, METRICS[metric][1]) if values else "")
        trained = "steps" in result
        steps, seconds = (f"{result['steps']:,}", f"{result['training_seconds']:,.0f} s") if trained else ("", "")
        yield name, steps, *cells, seconds


def notes(config: StyleGANStudy) -> str:
    return (
        f"Batches of 32, {config.width} to {config.max_width} channels, seeds: {config.seeds}; few: "
        f"{config.examples:,} "
        "training examples; p: the final probability of augmentation. Path lengths and separability by the extractor "
        f"{config.extractor.name}, from {config.measured:,} samples; seconds of one run."
    )


def record(config: StyleGANStudy, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    tests = result["tests"]
    means, errors = mean_and_error(tests) if len(tests) > 1 else (tests[0], {})
    return {
        "experiment": "studies.style_gan", "system": name, "data": Path(config.data).name, "seeds": config.seeds,
        "changed": result["changed"], "test": means, "standard_errors": errors, "steps": result["steps"],
        "headline": ["frechet_distance", "path length in Z", "path length in W"],
        "training_seconds": result["training_seconds"], "command": result["command"], "published": [],
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(StyleGANStudy, study, __doc__, "experiments.studies.style_gan")
