"""Translation of pairs: `python -m experiments.studies.translation --data FILE --domains label photo --labels`.

Pix2Pix and the rows of its paper's table 1 (L1 alone, the conditional adversary alone, both) on the same pairs, beside
simple methods. Each model is trained with `--preset small` from several seeds; means ± standard errors on the test
split. `truth` is the best score that is possible. With `--labels`, a segmenter of the same width is trained first,
whose scores of photographs are the row of `truth`.

Result on facades64.npz with `--width 16 --trunk hed_vgg16_to_relu4_1.npz`, 25 minutes on a shared core: L1 alone has
the least L1 (0.152 against 0.164) and PSNR, both together the better label-back accuracy (0.557 against 0.487) and
Frechet distance (78,000 against 209,000), each by more than ten standard errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies import harness
from experiments.translation.pix2pix import Pix2PixConfig
from experiments.translation.scores import Judges, baselines, paired_scores, pairs
from jaxgen.data import Splits
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.training.ranges import Count, Fraction

ARMS = {"L1": ("--adversarial-weight", "0"), "cGAN": ("--l1-weight", "0"), "L1+cGAN": ()}
METRICS = {
    "l1": ("L1", 4),
    "psnr": ("PSNR", 2),
    "retrieval": ("retrieval", 3),
    "label_back_pixel_accuracy": ("label-back pixels", 3),
    "label_back_class_accuracy": ("classes", 3),
    "label_back_iou": ("IoU", 3),
    "frechet_relu2_1": ("Frechet, relu2_1", 0),
}
"""Columns: heading and digits."""


@dataclass(frozen=True, kw_only=True)
class TranslationStudy(harness.StudyConfig):
    data: str = "colorization"
    """Pairs, as in `experiments.translation.pix2pix`."""
    domains: tuple[str, str] = ("a", "b")
    """Names of the arrays or folders that become the domains a and b."""
    labels: bool = False
    """The pictures of a are label maps."""
    trunk: Path | None = None
    """Arrays of a VGG, for a distance of features."""
    width: Count = 32
    """Channels of the first layers."""
    steps: Count = 4_000
    """Batches of `batch_size` pairs."""
    batch_size: Count = 4
    segmenter_steps: Count = 1_500
    ema: Fraction = 0.99
    seeds: Count = 3
    runs: Path = Path("runs/studies.translation")


def study(config: TranslationStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = ("domains", "labels", "width", "steps", "batch_size", "segmenter_steps", "ema", "seeds")
    settings = {name: getattr(config, name) for name in names}
    settings |= {"data": Path(config.data).name, "trunk": config.trunk and config.trunk.name}
    segmenter = config.runs / "segmenter" if config.labels else None
    compute = {"segmenter": lambda: train_segmenter(config)} if config.labels else {}
    compute |= {name: partial(train, name, arguments, segmenter, config) for name, arguments in ARMS.items()}
    compute["controls"] = lambda: controls(segmenter, config)
    results = harness.rows(compute, config.only, config.runs, settings)
    trained = {name: result for name, result in results.items() if name in ARMS}
    rows = {name: result["tests"] for name, result in trained.items()}
    rows |= {name: [scores] for name, scores in results.get("controls", {}).items()}
    shown = [metric for metric in METRICS if any(metric in scores for tests in rows.values() for scores in tests)]
    head = ("method", *(METRICS[metric][0] for metric in shown), "training")
    times = {name: f"{result['training_seconds']:,.0f} s" for name, result in trained.items()}
    table = harness.table(head, lines(rows, shown, times), notes(config, results))
    records = [record(config, name, result) for name, result in trained.items()]
    return harness.save(config.runs, table, records)


def lines(
    rows: Mapping[str, Sequence[Mapping[str, float]]], shown: Sequence[str], times: Mapping[str, str]
) -> Iterator[Sequence[str]]:
    for name, tests in rows.items():
        cells = [with_error([test[metric] for test in tests], METRICS[metric][1]) for metric in shown]
        yield name, *cells, times.get(name, "")


def notes(config: TranslationStudy, results: Mapping[str, Any]) -> str:
    text = f"{config.steps:,} batches of {config.batch_size} pairs, width {config.width}, {config.seeds} seeds; "
    text += "seconds of one run."
    if config.trunk is not None:
        text += f" Frechet distance of the features at all positions, trunk {config.trunk.name}."
    if "segmenter" in results:
        test = results["segmenter"]["test"]
        scores = ", ".join(f"{name} {test[name]:.3f}" for name in ("pixel_accuracy", "class_accuracy", "iou"))
        text += f" The segmenter on the test photographs: {scores}."
    return text


def train_segmenter(config: TranslationStudy) -> dict[str, Any]:
    steps = str(config.segmenter_steps)
    return harness.experiment(
        "translation.segmenter", config.runs / "segmenter", ("--data", config.data, "--domains", *config.domains),
        ("--steps", steps, "--checkpoint-every", steps, "--width", str(config.width)),
    )  # fmt: skip


def train(name: str, arguments: Sequence[str], segmenter: Path | None, config: TranslationStudy) -> dict[str, Any]:
    """The test metrics of each seed, and the seconds of one."""
    steps, width = str(config.steps), str(config.width)
    judges = () if segmenter is None else ("--segmenter", str(segmenter))
    judges += () if config.trunk is None else ("--trunk", str(config.trunk))
    results = [
        harness.experiment(
            "translation.pix2pix", config.runs / f"{harness.slug(name)}-{seed}",
            ("--data", config.data, "--domains", *config.domains, "--preset", "small", "--seed", str(seed)),
            ("--steps", steps, "--eval-every", steps, "--checkpoint-every", steps, "--ema", str(config.ema)),
            ("--batch-size", str(config.batch_size), "--width", width, "--critic-width", width), judges, arguments,
        )
        for seed in range(config.seeds)
    ]  # fmt: skip
    seconds = float(np.mean([result["training_seconds"] for result in results]))
    tests = [result["test"] for result in results]
    return {"tests": tests, "training_seconds": seconds, "command": results[0]["command"]}


def controls(segmenter: Path | None, config: TranslationStudy) -> dict[str, dict[str, float]]:
    """The metrics of simple methods, and of the truth itself."""
    data = Pix2PixConfig(data=config.data, domains=config.domains).open()
    judges, (x, y) = Judges.load(segmenter, config.trunk), pairs(data.test)
    methods = {**baselines(data), "kernel ridge": kernel_ridge(data), "truth": y}
    if x.shape == y.shape:
        methods["nearest change"] = nearest_change(data)
    return {name: paired_scores(x, fake, y, judges) for name, fake in methods.items()}


def kernel_ridge(data: Splits, penalties: Sequence[float] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)) -> np.ndarray:
    """Ridge regression of pixels on pixels with a Gaussian kernel as wide as the median distance.

    The penalty is the one with the least L1 on the validation split.
    """
    (x, y), valid, test = pairs(data.train), pairs(data.valid), pairs(data.test)
    mean, rows = y.reshape(len(y), -1).mean(0), _flat(x)
    width = np.median(_squared(rows, rows))
    values, vectors = np.linalg.eigh(np.exp(-_squared(rows, rows) / width))
    targets = vectors.T @ (_flat(y) - mean)

    def predict(x: np.ndarray, penalty: float) -> np.ndarray:
        weights = vectors @ (targets / (values + penalty)[:, None])
        flat = np.exp(-_squared(_flat(x), rows) / width) @ weights + mean
        return np.clip(np.round(flat), 0, 255).astype(np.uint8).reshape(-1, *y.shape[1:])

    def error(penalty: float) -> float:
        return float(np.abs(predict(valid[0], penalty) - valid[1].astype(np.float64)).mean())

    return predict(test[0], min(penalties, key=error))


def nearest_change(data: Splits) -> np.ndarray:
    """Each test input with half of the change that its nearest training input has in its pair: x + (y' - x') / 2."""
    (train_x, train_y), (x, _) = pairs(data.train), pairs(data.test)
    nearest = _squared(_flat(x), _flat(train_x)).argmin(1)
    moved = x + (train_y[nearest].astype(np.float64) - train_x[nearest]) / 2
    return np.clip(np.round(moved), 0, 255).astype(np.uint8)


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1).astype(np.float64)


def _squared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum((x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T, 0)


def record(config: TranslationStudy, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    tests = result["tests"]
    means, errors = mean_and_error(tests) if len(tests) > 1 else (tests[0], {})
    headline = [name for name in ("l1", "retrieval", "label_back_pixel_accuracy", "frechet_relu2_1") if name in means]
    return {
        "experiment": "studies.translation", "system": name, "data": Path(config.data).name, "seeds": config.seeds,
        "test": means, "standard_errors": errors, "headline": headline, "steps": config.steps,
        "training_seconds": result["training_seconds"], "command": result["command"],
        "changed": {"width": config.width},
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(TranslationStudy, study, __doc__, "experiments.studies.translation")
