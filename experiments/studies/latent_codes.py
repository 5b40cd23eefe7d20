"""Latent spaces that are learned without a loss of pixels, and samples without a critic.

`python -m experiments.studies.latent_codes --data mnist.npz --extractor FOLDER`

The codes of an ALAE (`experiments.hybrids.alae`) against those of a BiGAN and an autoencoder of the same widths, by
classifiers of E(x); and the samples of a GLANN (`experiments.hybrids.glann`) against those of its GLO, of a VAE and of
a GAN with the same generator, by the features of a classifier. All networks are dense.

Result on MNIST, three seeds, about five minutes of one core a row of codes: the linear SVM has an accuracy of 0.872 ±
0.003 (ALAE), 0.884 ± 0.004 (BiGAN) and 0.897 ± 0.001 (autoencoder), the nearest neighbour 0.891 ± 0.004, 0.899 ± 0.002
and 0.953 ± 0.000. The controls win on codes. ALAE inverts its generator better than a BiGAN (error of reconstructions
0.029, 0.087) and its samples are nearer to the data (sliced Wasserstein distance 8.5, 43). With the authors' equalised
layers it has 0.836 and 0.824, and samples at 22.3. W is shorter than Z in all rows (0.32 to 0.41). Frechet distance of
GLANN 60.0 ± 2.4 and of its GLO 105.7 ± 1.7, of a VAE 54.5 ± 0.7 and of a GAN 70.9 ± 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.studies import harness
from jaxgen.training.ranges import Count

CODES = {
    "alae": ("--system", "alae"),
    "alae, third play with F": ("--system", "alae", "--variant", "authors"),
    "alae, equalized and bounded": ("--system", "alae", "--layers", "bounded"),
    "alae, equalized": ("--system", "alae", "--layers", "equalized"),
    "bigan": ("--system", "bigan"),
    "autoencoder": ("--system", "autoencoder"),
}
SAMPLES = {
    "glann": ("--system", "glann"),
    "glann, authors": ("--system", "glann", "--variant", "authors"),
    "vae": ("--system", "vae"),
    "gan": ("--system", "gan"),
}
CODE_METRICS = {
    "linear SVM's accuracy": 4, "nearest neighbour's accuracy": 4, "pixel error": 4, "latent_error": 3,
    "path length in W over Z": 3, "sliced_wasserstein": 4,
}  # fmt: skip
SAMPLE_METRICS = {"frechet distance": 2, "precision": 3, "recall": 3, "density": 3, "coverage": 3}
"""The metrics with their digits."""
GAUSSIAN = "gaussian "
"""Prefix of the metrics of GLO's samples, which a GLANN's run has too."""


@dataclass(frozen=True, kw_only=True)
class LatentCodes(harness.StudyConfig):
    data: Path
    """A .npz file of labelled images, such as MNIST."""
    extractor: Path
    """Run folder of `experiments.gans.feature_extractor` on the same data."""
    seeds: Count = 3
    """Runs of each system, side by side."""
    code_width: Count = 256
    sample_width: Count = 256
    """Units of a hidden layer."""
    code_steps: Count = 12_000
    """Batches of 64 for the codes."""
    sample_steps: Count = 5_850
    """Batches of 128 for the samples."""
    examples: Count = 10_000
    """Training examples for the samples."""
    runs: Path = Path("runs/studies.latent_codes")


def study(config: LatentCodes) -> str:
    """Raises:
    ValueError: unknown names in `only`, rows with other settings.
    subprocess.CalledProcessError: a run failed; its messages were printed.
    """
    settings = {"data": config.data.name, "extractor": config.extractor.name}
    names = ("seeds", "code_width", "sample_width", "code_steps", "sample_steps", "examples")
    settings |= {name: getattr(config, name) for name in names}
    sizes = {name: str(getattr(config, name)) for name in ("code_width", "sample_width", "examples")}
    of_codes = ("--batch-size", "64", "--width", sizes["code_width"])
    of_samples = ("--batch-size", "128", "--width", sizes["sample_width"], "--examples", sizes["examples"])
    compute = {n: partial(run, "alae", n, (*words, *of_codes), config.code_steps, config) for n, words in CODES.items()}
    compute |= {
        n: partial(run, "glann", n, (*words, *of_samples), config.sample_steps, config) for n, words in SAMPLES.items()
    }
    results = harness.rows(compute, config.only, config.runs, settings)
    lines = [
        (name, *cells(results[name], CODE_METRICS), results[name]["training_seconds"])
        for name in CODES
        if name in results
    ]
    tables = [harness.table(("codes", *CODE_METRICS, "seconds"), lines)]
    lines = []
    for name in SAMPLES:
        if name in results:
            seconds = results[name]["training_seconds"]
            lines.append((name, *cells(results[name], SAMPLE_METRICS), seconds))
            if GAUSSIAN + "coverage" in results[name]["test"]:
                of_glo = cells(results[name], {GAUSSIAN + metric: n for metric, n in SAMPLE_METRICS.items()})
                lines.append((f"glo of {name}", *of_glo, seconds))
    notes = (
        f"{config.seeds} seeds; {config.code_steps:,} batches of 64 with {config.code_width} units a layer for the "
        f"codes, "
        f"{config.sample_steps:,} batches of 128 of {config.examples:,} examples with {config.sample_width} for the "
        f"samples."
    )
    tables.append(harness.table(("samples", *SAMPLE_METRICS, "seconds"), lines, notes))
    records = [record(config, name, each) for name, each in results.items()]
    return harness.save(config.runs, "\n\n".join(tables), records)


def run(experiment: str, name: str, words: tuple[str, ...], steps: int, config: LatentCodes) -> dict[str, Any]:
    """Runs an experiment; returns its result without what depends on the machine."""
    result = harness.experiment(
        f"hybrids.{experiment}", config.runs / harness.slug(name), "--preset", "small", "--data", str(config.data),
        "--extractor", str(config.extractor), "--seeds", str(config.seeds), "--steps", str(steps),
        "--eval-every", str(steps // 4), "--checkpoint-every", str(steps // 4), words,
    )  # fmt: skip
    kept = ("experiment", "test", "standard_errors", "training_seconds")
    return {name: result.get(name, {}) for name in kept}


def cells(result: Mapping[str, Any], metrics: Mapping[str, int]) -> list[str]:
    """The metrics with their standard errors; a dash for those that a system does not have."""
    return [harness.measured(result, metric, digits) or "–" for metric, digits in metrics.items()]


def record(config: LatentCodes, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    metrics, of_codes = result["test"], name in CODES
    wanted = CODE_METRICS if of_codes else (*SAMPLE_METRICS, *(GAUSSIAN + metric for metric in SAMPLE_METRICS))
    test = {metric: metrics[metric] for metric in wanted if metric in metrics}
    return {
        "experiment": "studies.latent_codes", "system": name, "data": config.data.name, "seeds": config.seeds,
        "test": test,
        "standard_errors": {metric: e for metric, e in result["standard_errors"].items() if metric in test},
        "headline": list(test)[:2], "steps": config.code_steps if of_codes else config.sample_steps,
        "changed": {"width": config.code_width if of_codes else config.sample_width},
        "training_seconds": result["training_seconds"], "published": [],
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(LatentCodes, study, __doc__, "experiments.studies.latent_codes")
