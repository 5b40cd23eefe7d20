"""Which metric detects which fault, and how many samples it needs.

`python -m experiments.studies.metric_study --extractor FOLDER`

The study of Xu et al. 2018, "An empirical study on evaluation metrics of generative adversarial networks", on labelled
data and a trained `experiments.gans.feature_extractor`. Real and generated examples are disjoint subsets of the data;
the generated ones have a known fault:

- `dropped`: examples of 0 to 9 in ten classes are replaced by examples of the other classes (mode dropping);
- `collapsed`: examples of 0 to 9 in ten classes all equal the one nearest to its class's centre (mode collapse);
- `mixed`: 0 to 9 in ten examples have normal noise of a quarter of the range (a mixture of real and fake).

Inception and mode score use the extractor's classes, the other metrics its features, and with at most 500 examples four
metrics use the pixels too; the exact assignment uses at most 1,000. For each metric: does it get worse with the fault
(Spearman's correlation over the ten strengths, of means over repetitions)? And how many samples detect the fault of
strength 0.3: the smallest number from which on the means over repetitions differ by twice the standard deviation of the
difference of two repetitions, in the right direction? The faulty classes differ between repetitions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from scipy.stats import spearmanr

from experiments.studies import harness
from jaxgen import plotting
from jaxgen.data import source
from jaxgen.metrics import (
    data_bandwidth,
    feature_metrics,
    frechet_distance,
    mmd_squared,
    one_nearest_neighbour,
    wasserstein_exact,
)
from jaxgen.training.extractor import load_extractor
from jaxgen.training.ranges import INT32_MAX, Between, Count, Natural

STRENGTHS = tuple(tenth / 10 for tenth in range(10))
NOISE = 0.25
"""Standard deviation of the noise, as a fraction of the range of a pixel."""
MODERATE = 0.3
"""The strength that is to be detected."""
WORSE = {
    "inception_score": -1, "mode_score": -1, "mmd_squared": 1, "wasserstein_exact": 1, "frechet_distance": 1,
    "nn_accuracy": 1, "kernel_distance": 1, "precision": -1, "recall": -1, "density": -1, "coverage": -1,
}  # fmt: skip
"""The metrics, the six of the paper first, and whether worse samples raise (1) or lower (-1) them."""
CLASS_METRICS = ("inception_score", "mode_score")
PIXEL_EXAMPLES = 500
"""Maximum number of examples for metrics of pixels."""
Values = dict[str, list[float]]
"""By metric, its value in each repetition."""


FAULTS = ("dropped", "collapsed", "mixed")


@dataclass(frozen=True, kw_only=True)
class MetricStudy(harness.StudyConfig):
    """`only` selects faults."""

    extractor: Path
    """Run folder of `experiments.gans.feature_extractor` on the same data."""
    data: str = "digits"
    """Images with labels."""
    samples: Count = 100
    """Real examples, and as many generated ones, for the ten strengths."""
    sizes: tuple[Count, ...] = (50, 100, 200, 500, 1_000, 2_000)
    """Sample sizes for detecting a fault; sizes that need more examples than the data have are skipped."""
    draws: Annotated[int, Between(2, INT32_MAX)] = 5
    """Repetitions with other real and generated examples; a standard deviation needs two."""
    examples: Count = 10_000
    """Maximum number of examples to sample from: the test split first, then the others."""
    seed: Natural = 0
    """Seed of the repetitions."""
    runs: Path = Path("runs/studies.metric_study")


class Pool:
    """Examples to sample from: all N examples, then the same ones with noise, in the forms that metrics need.

    Attributes:
        label: labels of the clean examples, [N].
        representative: for each clean example, the index of the example nearest to its class's centre, [N].
        pixels, features, logits: of the clean and the noisy examples, [2 N, ...].
    """

    def __init__(self, x: np.ndarray, label: np.ndarray, levels: int, extractor, seed: int):
        noisy = x + NOISE * (levels - 1) * np.random.default_rng(seed).standard_normal(x.shape)
        both = np.concatenate([x, np.clip(np.round(noisy), 0, levels - 1).astype(x.dtype)])
        self.label, self.pixels = label, both.reshape(len(both), -1).astype(np.float32) / (levels - 1)
        self.features, self.logits = extractor.features(both), extractor.logits(both)
        self.representative = representatives(self.pixels[: len(x)], label)


def representatives(pixels: np.ndarray, label: np.ndarray) -> np.ndarray:
    """For each example of [N, D], the index of the example nearest to the mean of its class, [N]."""
    nearest = np.empty(len(label), int)
    for c in np.unique(label):
        members = np.flatnonzero(label == c)
        x = pixels[members]
        nearest[members] = members[((x - x.mean(0)) ** 2).sum(1).argmin()]
    return nearest


def draw(
    fault: str, strength: float, label: np.ndarray, representative: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Indices into a `Pool` of n real and n generated examples; None if the data have too few for the fault.

    Raises:
        ValueError: unknown fault.
    """
    order = rng.permutation(len(label))
    real, others = order[:n], order[n:]
    classes = rng.permutation(np.unique(label))
    faulty = classes[: round(strength * len(classes))]
    if fault == "dropped":
        fake = others[~np.isin(label[others], faulty)][:n]
    elif fault == "collapsed":
        fake = others[:n]
        fake = np.where(np.isin(label[fake], faulty), representative[fake], fake)
    elif fault == "mixed":
        # the noisy examples are the second half of a pool
        fake = others[:n] + len(label) * (np.arange(n) < round(strength * n))
    else:
        raise ValueError(f"`fault` must be one of {FAULTS}, got {fault!r}")
    return None if min(len(real), len(fake)) < n else (real, rng.permutation(fake))


def metrics_of(pool: Pool, real: np.ndarray, fake: np.ndarray, key: jax.Array) -> dict[str, float]:
    """Every metric, by `space/metric`."""
    by_name = feature_metrics(pool.features[real], pool.features[fake], pool.logits[real], pool.logits[fake], key)
    metrics = {("classes/" if name in CLASS_METRICS else "features/") + name: by_name[name] for name in WORSE}
    if len(real) > PIXEL_EXAMPLES:
        return metrics
    x, y = pool.pixels[real], pool.pixels[fake]
    metrics |= {f"pixels/{name}": float(value) for name, value in _pixel_metrics(x, y).items()}
    metrics["pixels/wasserstein_exact"] = wasserstein_exact(x, y)
    if len(x) > x.shape[1]:
        metrics["pixels/frechet_distance"] = frechet_distance(x, y)
    return metrics


@jax.jit
def _pixel_metrics(x: jax.Array, y: jax.Array) -> dict[str, jax.Array]:
    return {
        "mmd_squared": mmd_squared(x, y, data_bandwidth(x)),
        "nn_accuracy": one_nearest_neighbour(x, y)["nn_accuracy"],
    }


def monotonicity(strengths, values, worse: int = 1) -> float:
    """Spearman's correlation of the strengths with the values, times `worse`; 0 if all values are equal.
    """
    return 0.0 if np.ptp(values) == 0 else float(worse * spearmanr(strengths, values).statistic)


def detects(none: np.ndarray, faulty: np.ndarray, worse: int = 1) -> bool:
    """Whether the means differ by two standard deviations of a difference, in the direction `worse`."""
    difference = worse * (np.mean(faulty) - np.mean(none))
    return bool(difference > 2 * np.sqrt(np.var(faulty, ddof=1) + np.var(none, ddof=1)))


def needed(detected: Mapping[int, bool]) -> int | None:
    """The smallest size from which on the fault is detected at every size; None if not at the greatest."""
    enough = None
    for size in sorted(detected, reverse=True):
        if not detected[size]:
            break
        enough = size
    return enough


def study(config: MetricStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings; data without labels or grey levels, or too few.
    """
    splits = source(config.data)
    if splits.train.num_classes is None or splits.train.levels is None:
        raise ValueError(f"`data` must have labels and grey levels, got {config.data!r}")
    parts = [split.head(config.examples) for split in (splits.test, splits.valid, splits.train)]
    x, label = (np.concatenate([part[name] for part in parts])[: config.examples] for name in ("x", "label"))
    if 2 * config.samples > len(x):
        raise ValueError(f"`samples` must be at most half of {len(x)} examples, got {config.samples}")
    extractor = load_extractor(config.extractor)
    folder = config.runs / Path(config.data).name.partition(".")[0]
    pool = functools.cache(lambda: Pool(x, label, splits.train.levels, extractor, config.seed))
    none = functools.cache(lambda size: _repeated(FAULTS[0], 0.0, size, pool(), config))

    def measured(fault: str) -> dict[str, Any]:
        curve, needed = strengths_of(fault, pool(), config), sizes_of(fault, none, pool(), config)
        values = [{"strength": strength, **metrics} for strength, metrics in curve.items()]
        figure = plotting.curves(values, list(curve[0.0]), x="strength")
        plotting.save(figure, folder / f"{fault}.png")
        return {"curve": values, "needed": needed}

    settings = {name: getattr(config, name) for name in ("samples", "sizes", "draws", "examples", "seed")}
    compute = {fault: functools.partial(measured, fault) for fault in FAULTS}
    results = harness.rows(compute, config.only, folder, settings | {"extractor": extractor.name})
    notes = f"{config.samples} samples unless stated otherwise, {config.draws} draws, extractor {extractor.name}."
    head = (
        "metric", "fault", "worse with the fault (Spearman)", f"samples to detect {MODERATE}", "without fault",
        f"at {MODERATE}", f"at {STRENGTHS[-1]}",
    )  # fmt: skip
    return harness.save(folder, harness.table(head, lines(results), notes))


def strengths_of(fault: str, pool: Pool, config: MetricStudy) -> dict[float, dict[str, float]]:
    """The mean over repetitions of each metric, by strength."""
    means = {}
    for strength in STRENGTHS:
        draws = _repeated(fault, strength, config.samples, pool, config)
        if draws is not None:
            means[strength] = {name: float(np.mean(values)) for name, values in draws.items()}
    return means


def sizes_of(
    fault: str, none: Callable[[int], Values | None], pool: Pool, config: MetricStudy
) -> dict[str, int | None]:
    """The number of samples that each metric needs.

    Args:
        none: the values without a fault, by size.
    """
    detected: dict[str, dict[int, bool]] = {}
    for size in config.sizes:
        intact = none(size)
        faulty = None if intact is None else _repeated(fault, MODERATE, size, pool, config)
        for name in faulty or ():
            worse = WORSE[name.split("/")[1]]
            detected.setdefault(name, {})[size] = detects(intact[name], faulty[name], worse)
    return {name: needed(sizes) for name, sizes in detected.items()}


def _repeated(fault: str, strength: float, n: int, pool: Pool, config: MetricStudy) -> Values | None:
    """The values of each metric in all repetitions; None if there are too few examples."""
    values: Values = {}
    for i in range(config.draws):
        rng = np.random.default_rng((config.seed, i, n, round(10 * strength)))
        indices = draw(fault, strength, pool.label, pool.representative, n, rng)
        if indices is None:
            return None
        for name, value in metrics_of(pool, *indices, jax.random.key(i)).items():
            values.setdefault(name, []).append(value)
    return values


def lines(results: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[str]]:
    names = [name for name in next(iter(results.values()))["curve"][0] if name != "strength"]
    for name in names:
        space, metric = name.split("/")
        for fault, result in results.items():
            curve = {at["strength"]: at[name] for at in result["curve"]}
            grows = monotonicity(list(curve), list(curve.values()), WORSE[metric])
            values = [f"{curve[s]:.3g}" if s in curve else "" for s in (0.0, MODERATE, STRENGTHS[-1])]
            yield f"{metric} of {space}", fault, f"{grows:.2f}", str(result["needed"].get(name) or "–"), *values


if __name__ == "__main__":
    harness.main(MetricStudy, study, __doc__, "experiments.studies.metric_study")
