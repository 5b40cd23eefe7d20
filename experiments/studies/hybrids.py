"""VAE-GAN against VAE, and CVAE-GAN against conditional VAE and GAN: `python -m experiments.studies.hybrids`.

`--digits mnist.npz` compares reconstructions in pixels, in sharpness, and in the features of an independent classifier.

`--faces yaleb32.npz` compares the conditional models by that classifier's agreement with samples, by swaps of the
class at a held z, and by interpolations (`experiments.hybrids.cvae_gan`). Then `--few` pictures a class train each
model once more, and a small classifier, with and without `--generated` samples a class: its accuracy on the real test
split. The classifiers differ in their seeds, the generators are of one seed.

Each model is trained with `--preset small` from several seeds; means ± standard errors on the test split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgen
from experiments.studies import harness
from jaxgen.data import Splits, source
from jaxgen.data.sources import Arrays, one_hot
from jaxgen.training.ranges import Count

DIGITS = {"VAE": ("--system", "vae"), "VAE-GAN": ("--variant", "authors")}
FACES = {name: ("--system", system) for name, system in (("CVAE", "cvae"), ("CGAN", "cgan"), ("CVAE-GAN", "cvae_gan"))}
AUGMENTED = ("CVAE", "CVAE-GAN")
"""The models whose samples train a classifier."""
METRICS = {
    "digits": {
        "pixel error": 4, "feature distance": 3, "same class": 3, "sharpness of reconstructions": 2,
        "sharpness of samples": 2,
    },
    "faces": {
        "class accuracy of samples": 3, "swap error": 4, "class kept along z": 3, "rising along the class": 3,
    },
    "few": {"accuracy": 3},
}  # fmt: skip
"""The metrics of each part, with their digits."""


@dataclass(frozen=True, kw_only=True)
class HybridStudy(harness.StudyConfig):
    digits: str | None = None
    """Labelled images for VAE and VAE-GAN."""
    faces: str | None = None
    """Images with two factors for the conditional models."""
    arrays: dict[str, str] = dataclasses.field(default_factory=lambda: {"label": "subject", "factor": "light"})
    """Class and factor of the faces, by their names in the file."""
    width: Count = 8
    """Channels of the first layers."""
    steps: Count = 1_200
    """Batches of each generative model."""
    batch_size: Count = 32
    classifier_steps: Count = 600
    few: Count = 8
    """Pictures of each class for the small classifier."""
    generated: Count = 50
    """Samples of each class that are added."""
    seeds: Count = 3
    """Runs of each model, side by side."""
    runs: Path = Path("runs/studies.hybrids")


def study(config: HybridStudy) -> str:
    """Raises:
    ValueError: no data; unknown names in `only`; rows with other settings.
    """
    if config.digits is None and config.faces is None:
        raise ValueError("`digits` or `faces` must name data")
    compute: dict[str, Any] = {}
    if config.digits is not None:
        compute["digits, classifier"] = partial(train_classifier, config, "digits, classifier", config.digits)
        for name, arguments in DIGITS.items():
            compute[f"digits, {name}"] = partial(train, config, "digits", name, "vae_gan", arguments)
    if config.faces is not None:
        compute["faces, classifier"] = partial(
            train_classifier, config, "faces, classifier", config.faces, arrays(config)
        )
        for name, arguments in FACES.items():
            compute[f"faces, {name}"] = partial(train, config, "faces", name, "cvae_gan", arguments)
        compute["few, no samples"] = partial(few_alone, config)
        for name in AUGMENTED:
            compute[f"few, {name}"] = partial(few_and_samples, config, name)
    names = ("width", "steps", "batch_size", "classifier_steps", "few", "generated", "seeds")
    settings = {name: getattr(config, name) for name in names} | {"arrays": config.arrays}
    settings |= {name: path and Path(path).name for name, path in (("digits", config.digits), ("faces", config.faces))}
    results = harness.rows(compute, config.only, config.runs, settings)
    texts = []
    for part, metrics in METRICS.items():
        if rows := list(lines(results, part, metrics)):
            texts.append(harness.table((part, *metrics, "training"), rows, notes(config, results, part)))
    records = [record(config, name, result) for name, result in results.items() if "classifier" not in name]
    return harness.save(config.runs, "\n\n".join(texts), records)


def arrays(config: HybridStudy) -> tuple[str, ...]:
    return ("--arrays", *(word for pair in config.arrays.items() for word in pair))


def train(config: HybridStudy, part: str, name: str, module: str, arguments: Sequence[str]) -> dict[str, Any]:
    data = ("--data", config.digits) if part == "digits" else ("--data", config.faces, *arrays(config))
    extractor = ("--extractor", str(classifier_folder(config, f"{part}, classifier")))
    return run(config, f"{part}, {name}", f"hybrids.{module}", *data, *generative(config), *extractor, *arguments)


def generative(config: HybridStudy) -> tuple[str, ...]:
    steps, size = str(config.steps), str(config.batch_size)
    return (
        "--preset", "small", "--width", str(config.width), "--batch-size", size, "--ema", "0.99",
        "--steps", steps, "--eval-every", steps, "--checkpoint-every", steps,
    )  # fmt: skip


def run(config: HybridStudy, name: str, module: str, *arguments: str, seeds: int | None = None) -> dict[str, Any]:
    """What the study keeps of the result of an experiment."""
    count = config.seeds if seeds is None else seeds
    result = harness.experiment(module, config.runs / harness.slug(name), arguments, ("--seeds", str(count)))
    names = ("test", "standard_errors", "baselines", "data", "training_seconds", "command")
    return {name: result[name] for name in names if name in result}


def train_classifier(
    config: HybridStudy, name: str, data: str, more: Sequence[str] = (), seeds: int = 1
) -> dict[str, Any]:
    steps = ("--steps", str(config.classifier_steps), "--checkpoint-every", str(config.classifier_steps))
    widths = ("--widths", "16", "32")
    return run(config, name, "gans.feature_extractor", "--data", data, *more, *steps, *widths, seeds=seeds)


def classifier_folder(config: HybridStudy, name: str) -> Path:
    return config.runs / harness.slug(name)


def few_alone(config: HybridStudy) -> dict[str, Any]:
    """The accuracy of the classifier with a few pictures of each class."""
    data = few_of_each(source(config.faces, arrays=config.arrays), config.few)
    return train_classifier(config, "few, no samples", write(config, "few", data), seeds=config.seeds)


def few_and_samples(config: HybridStudy, name: str) -> dict[str, Any]:
    """With samples of a model that these pictures trained."""
    data = few_of_each(source(config.faces, arrays=config.arrays), config.few)
    folder = f"few, generator, {name}"
    run(
        config, folder, "hybrids.cvae_gan", "--data", write(config, "few", data), *generative(config), *FACES[name],
        seeds=1,
    )  # fmt: skip
    trained, classes = jaxgen.load(config.runs / harness.slug(folder)), int(data["y_train"].max()) + 1
    label = np.repeat(np.arange(classes), config.generated)
    x = np.asarray(trained.sample(jax.random.key(0), len(label), one_hot(label, classes)))
    both = {"x_train": np.concatenate([data["x_train"], x]), "y_train": np.concatenate([data["y_train"], label])}
    path = write(config, f"few_and_{name}", {**data, **both})
    return train_classifier(config, f"few, {name}", path, seeds=config.seeds)


def few_of_each(data: Splits, few: int) -> Arrays:
    """The arrays of a file with the first `few` training examples of each class, and the other splits as they are."""
    label = data.train.head(len(data.train))["label"]
    chosen = np.concatenate([np.flatnonzero(label == c)[:few] for c in range(data.train.num_classes)])
    parts = {"train": data.train.take(chosen)}
    parts |= {split: getattr(data, split).head(len(getattr(data, split))) for split in ("valid", "test")}
    return {f"{key}_{split}": part[name] for split, part in parts.items() for key, name in (("x", "x"), ("y", "label"))}


def write(config: HybridStudy, name: str, data: Arrays) -> str:
    path = config.runs / f"{name}.npz"
    np.savez(path, **data)
    return str(path)


def lines(results: Mapping[str, Any], part: str, metrics: Mapping[str, int]) -> Iterator[Sequence[str]]:
    for name, result in results.items():
        if name.startswith(f"{part}, ") and not name.endswith("classifier"):
            cells = [harness.measured(result, metric, digits) for metric, digits in metrics.items()]
            yield name.removeprefix(f"{part}, "), *cells, f"{result['training_seconds']:,.0f} s"
    baselines = next((r["baselines"] for n, r in results.items() if n.startswith(f"{part}, ") and r["baselines"]), {})
    for baseline, value in baselines.items():
        name, _, of = baseline.rpartition(", ")
        if of in metrics:
            yield name, *(f"{value:.{digits}f}" if metric == of else "" for metric, digits in metrics.items()), ""


def notes(config: HybridStudy, results: Mapping[str, Any], part: str) -> str:
    if part == "few":
        return (
            f"Test accuracy of a classifier with {config.few} pictures of each class, and {config.generated} samples; "
            f"{config.classifier_steps:,} steps, seeds of the classifier: {config.seeds}."
        )
    text = (
        f"{config.steps:,} steps of {config.batch_size}, width {config.width}, seeds: {config.seeds}; seconds of all."
    )
    if (classifier := results.get(f"{part}, classifier")) is not None:
        text += f" The independent classifier has an accuracy of {classifier['test']['accuracy']:.3f}."
    return text


def record(config: HybridStudy, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    part, _, system = name.partition(", ")
    headline = [metric for metric in METRICS[part] if metric in result["test"]]
    return {
        "experiment": "studies.hybrids",
        "system": system if part != "few" else f"{config.few} pictures a class, {system}",
        "data": Path(config.digits if part == "digits" else config.faces).name, "seeds": config.seeds,
        "test": result["test"], "standard_errors": result.get("standard_errors", {}), "headline": headline,
        "steps": config.classifier_steps if part == "few" else config.steps, "changed": {"width": config.width},
        "training_seconds": result["training_seconds"], "command": result["command"],
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(HybridStudy, study, __doc__, "experiments.studies.hybrids")
