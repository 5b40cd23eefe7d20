"""Scores of generated time series and what they see: `python -m experiments.studies.time_series --files FILE`.

The discriminative and the predictive score of Yoon et al. 2019, the same discriminative score by a wider judge, errors
of autocorrelation and distances to the training windows, of TimeGAN, of a sequence VAE with a recurrent decoder
(`experiments.vaes.sequence_vae`), and of controls, on sines and on a long series. The controls are the test windows
themselves, copies of training windows, their steps shuffled, constant windows with noise, random walks, and columns
taken from different windows. On series of two classes, the accuracy of classifiers trained on samples of an RCGAN and
tested on data (TSTR), beside those trained on data (TRTR), and the same for an RCGAN whose training classes are
permuted.

Result on time_series.npz (stock), one judge each, twenty seconds of a core a control: the published scores accept
shuffled time (discriminative 0.041, predictive 0.0276) and constant windows with noise (0.083, 0.0279), near the scores
of copies of training windows (0.037, 0.0274). Published for TimeGAN are 0.102 and 0.038, the latter beside 0.036 for
data; test windows score 0.0230 here, so predictive scores are comparable only within the table. A judge of 24 units
notices both controls (0.230 and 0.182, copies 0.036), and so does the error of autocorrelation (0.38, copies 0.02);
copies have a nearest-training ratio of 0, the test windows of 1. On sines, which never complete half a period, all
scores notice shuffled time; mixed columns are data there, since the columns are independent. The predictive score of
held-out sines is 0.094, as published for data. Sequence VAEs sample each value with noise of its own: discriminative
0.41, autocorrelations off by 0.16 (sines 0.39 and 0.33). TimeGAN: see `experiments.sequences.time_gan`; RCGAN: see
`experiments.sequences.rc_gan`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.sequences.scores import series_scores
from experiments.sequences.time_gan import TimeGANConfig, published_units
from experiments.studies import harness
from experiments.vaes import sequence_vae as sequence_vaes
from experiments.vaes.sequence_vae import SequenceVAEConfig
from jaxgen.data import Splits
from jaxgen.data.splits import split_array
from jaxgen.metrics.statistics import standard_error, with_error
from jaxgen.training import fit
from jaxgen.training.ranges import Count, NonNegative

SINES = "time_gan_sines"
METRICS = {
    "discriminative": ("discriminative", 3),
    "discriminative_24": ("with 24 units", 3),
    "predictive": ("predictive", 4),
    "autocorrelation_error": ("autocorrelation error", 3),
    "nearest_training_ratio": ("nearest-training ratio", 2),
}
"""Columns: heading and digits."""
PUBLISHED = {
    "sines": "published for TimeGAN: discriminative 0.011, predictive 0.093 (data: 0.094)",
    "series": "published for TimeGAN: discriminative 0.102, predictive 0.038 (data: 0.036)",
}
CLASS_METRICS = ("TSTR", "TRTR", "TSTR, linear", "TRTR, linear")
NOISE = 0.01
"""Standard deviation of the noise of constant windows, on the scale of the series."""


@dataclass(frozen=True, kw_only=True)
class TimeSeriesStudy(harness.StudyConfig):
    files: Path
    """A .npz file with a long series and a set of short series of two classes."""
    long: str = "stock"
    """The array of the long series."""
    short: str = "italy_power"
    """The beginning of the names of the short series."""
    steps: Count = 20_000
    """Batches of TimeGAN on the long series, a quarter of them for each of the first two phases."""
    sines_steps: Count = 8_000
    """The same on sines."""
    class_steps: Count = 12_000
    """Batches of RCGAN."""
    seeds: Count = 1
    """Runs of TimeGAN."""
    class_seeds: Count = 3
    """Runs of RCGAN, side by side."""
    judge_steps: NonNegative = 1.0
    """A factor of the steps of the judges' training."""
    runs: Path = Path("runs/studies.time_series")


def study(config: TimeSeriesStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    subprocess.CalledProcessError: a run failed; its messages were printed.
    """
    names = ("long", "short", "steps", "sines_steps", "class_steps", "seeds", "class_seeds", "judge_steps")
    settings = {"files": config.files.name} | {name: getattr(config, name) for name in names}
    compute: dict[str, Callable[[], Any]] = {}
    for data in ("sines", "series"):
        compute |= {f"{data}: {name}": partial(control, data, name, config) for name in CONTROLS}
        compute |= {f"{data}: {name}": partial(time_gan, data, name, words, config) for name, words in ARMS.items()}
        compute[f"{data}: {SEQUENCE_VAE}"] = partial(sequence_vae, data, config)
    compute |= {f"classes: {name}": partial(rc_gan, name, words, config) for name, words in CLASS_ARMS.items()}
    results = harness.rows(compute, config.only, config.runs, settings)
    tables = []
    for data in ("sines", "series"):
        rows = {n.partition(": ")[2]: row for n, row in results.items() if n.startswith(f"{data}: ")}
        lines = [(n, *cells(row, {m: digits for m, (_, digits) in METRICS.items()})) for n, row in rows.items()]
        title = SINES if data == "sines" else f"{config.files.name}: {config.long}"
        tables.append(harness.table((title, *(heading for heading, _ in METRICS.values())), lines, PUBLISHED[data]))
    rows = {n.partition(": ")[2]: row for n, row in results.items() if n.startswith("classes: ")}
    lines = [(n, *cells(row, dict.fromkeys(CLASS_METRICS, 3))) for n, row in rows.items()]
    tables.append(harness.table((f"{config.files.name}: {config.short}", *CLASS_METRICS), lines))
    return harness.save(config.runs, "\n\n".join(tables), (record(config, n, row) for n, row in results.items()))


def held_out(rng: np.random.Generator, train: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    return test[rng.integers(len(test), size=n)]


def copies(rng: np.random.Generator, train: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    return train[rng.integers(len(train), size=n)]


def shuffled_time(rng: np.random.Generator, train: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    """One order for all columns of a window, another for each window."""
    x = copies(rng, train, test, n)
    order = rng.permuted(np.tile(np.arange(x.shape[1]), (n, 1)), axis=1)
    return np.take_along_axis(x, order[..., None], 1)


def constant(rng: np.random.Generator, train: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    """The step in the middle of a window, repeated, with noise of standard deviation `NOISE`."""
    x = copies(rng, train, test, n)
    return (x[:, x.shape[1] // 2, None] + NOISE * rng.normal(size=x.shape)).astype(np.float32)


def random_walk(rng: np.random.Generator, train: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    """From the first step of a window, with independent normal steps of the data's standard deviations."""
    x = copies(rng, train, test, n)
    size = np.diff(train, axis=1).std((0, 1))
    walk = np.cumsum(size * rng.normal(size=(n, x.shape[1] - 1, x.shape[2])), 1)
    return np.concatenate([x[:, :1], x[:, :1] + walk], 1).astype(np.float32)


def mixed_columns(rng: np.random.Generator, train: np.ndarray, test: np.ndarray, n: int) -> np.ndarray:
    """Each column of a window of its own."""
    return np.stack([copies(rng, train, test, n)[..., i] for i in range(train.shape[-1])], -1)


CONTROLS = {
    "test windows": held_out,
    "copies": copies,
    "time shuffled": shuffled_time,
    "constant with noise": constant,
    "random walk": random_walk,
    "columns mixed": mixed_columns,
}
ARMS: Mapping[str, tuple[str, ...]] = {"TimeGAN": ("--variant", "authors"), "TimeGAN, paper's": ("--variant", "paper")}
SEQUENCE_VAE = "sequence VAE"
CLASS_ARMS: Mapping[str, tuple[str, ...]] = {"RCGAN": (), "RCGAN, classes permuted": ("--shuffled",)}


def opened(data: str, config: TimeSeriesStudy) -> tuple[Splits, Callable[[np.ndarray], np.ndarray]]:
    """The splits, and the map to the units of the published scores."""
    source = {"data": SINES} if data == "sines" else {"data": str(config.files), "series": config.long}
    splits = TimeGANConfig(**source).open()
    return splits, published_units(source["data"], splits)


def control(data: str, name: str, config: TimeSeriesStudy) -> dict[str, Any]:
    """The scores of a control."""
    splits, unit = opened(data, config)
    train, test = (unit(split_array(split, "x")) for split in (splits.train, splits.test))
    fake = CONTROLS[name](np.random.default_rng(0), train, test, len(train) + len(test))
    return {"tests": [series_scores(train, test, fake, steps=config.judge_steps)]}


def time_gan(data: str, name: str, words: Sequence[str], config: TimeSeriesStudy) -> dict[str, Any]:
    """The scores of TimeGAN's seeds."""
    source = ("--data", SINES, "--steps", str(config.sines_steps))
    if data == "series":
        source = ("--data", str(config.files), "--series", config.long, "--steps", str(config.steps))
    results = [
        harness.experiment(
            "sequences.time_gan", config.runs / f"{harness.slug(name)}-{data}-{seed}", "--preset", "small", words,
            source, ("--seed", str(seed), "--judge-steps", str(config.judge_steps)),
        )
        for seed in range(config.seeds)
    ]  # fmt: skip
    seconds = float(np.mean([result["training_seconds"] for result in results]))
    return {"tests": [result["test"] for result in results], "training_seconds": seconds}


def sequence_vae(data: str, config: TimeSeriesStudy) -> dict[str, Any]:
    """The scores of sequence VAEs that are trained for as many batches as TimeGAN, from each seed."""
    splits, unit = opened(data, config)
    train, test = (unit(split_array(split, "x")) for split in (splits.train, splits.test))
    steps, tests, seconds = config.sines_steps if data == "sines" else config.steps, [], 0.0
    for seed in range(config.seeds):
        every = max(1, steps // 8)
        one = SequenceVAEConfig(
            data=data, steps=steps, batch_size=TimeGANConfig.batch_size, seed=seed, eval_every=every,
            checkpoint_every=every,
        )  # fmt: skip
        experiment, began = sequence_vaes.build(one, splits), time.monotonic()
        trained = fit(
            experiment.model, splits, one, optimizers=experiment.optimizers, progress=False, resume=True,
            out=config.runs / f"{harness.slug(SEQUENCE_VAE)}-{data}-{seed}",
        )  # fmt: skip
        seconds += time.monotonic() - began
        fake = unit(np.asarray(trained.sample(jax.random.key(seed), len(train) + len(test))))
        tests.append(series_scores(train, test, fake, steps=config.judge_steps))
    return {"tests": tests, "training_seconds": seconds / config.seeds}


def rc_gan(name: str, words: Sequence[str], config: TimeSeriesStudy) -> dict[str, Any]:
    """The scores of RCGAN's seeds."""
    out = config.runs / harness.slug(name)
    result = harness.experiment(
        "sequences.rc_gan", out, "--preset", "small", "--data", str(config.files), "--series", config.short, "--pooled",
        ("--steps", str(config.class_steps), "--judge-steps", str(config.judge_steps)), words,
        ("--seeds", str(config.class_seeds)),
    )  # fmt: skip
    return {"tests": _of_seeds(out, config.class_seeds), "training_seconds": result["training_seconds"]}


def _of_seeds(out: Path, seeds: int) -> list[dict[str, float]]:
    """The test metrics of each seed of a run."""
    folders = [out] if seeds == 1 else [out / f"seed-{seed}" for seed in range(seeds)]
    return [json.loads((folder / "result.json").read_text(encoding="utf-8"))["test"] for folder in folders]


def cells(row: Mapping[str, Any], digits: Mapping[str, int]) -> list[str]:
    """Means over seeds, with standard errors if there are several; a dash for missing metrics."""
    tests = row["tests"]
    return [with_error([t[m] for t in tests], d) if m in tests[0] else "–" for m, d in digits.items()]


def record(config: TimeSeriesStudy, name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    tests, kind = row["tests"], name.partition(":")[0]
    wanted = CLASS_METRICS if kind == "classes" else tuple(METRICS)
    means = {m: float(np.mean([test[m] for test in tests])) for m in wanted if m in tests[0]}
    several = len(tests) > 1
    errors = {m: standard_error([test[m] for test in tests]) for m in means} if several else {}
    return {
        "experiment": "studies.time_series", "system": name, "data": SINES if kind == "sines" else config.files.name,
        "seeds": len(tests), "test": means, "standard_errors": errors, "headline": list(means)[:3],
        "steps": {"classes": config.class_steps, "sines": config.sines_steps, "series": config.steps}[kind],
        "training_seconds": row.get("training_seconds", 0.0), "changed": {},
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(TimeSeriesStudy, study, __doc__, "experiments.studies.time_series")
