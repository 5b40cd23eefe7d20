"""Small generators at equal multiply-adds: `python -m experiments.studies.compression --data FILE --domains A B`.

A teacher of `experiments.hybrids.gan_compression` and students with about as many multiply-adds as a generator of
`student_width`, each from several seeds: trained from scratch; distilled from the teacher; and cut to channels that are
searched in a network trained for all numbers of channels, then distilled. Their controls: the student cut from the
teacher and trained without distillation; distilled from a teacher that has learned nothing; distilled in as many steps
as the searched student and the network that it is cut from together; random channels in place of searched ones.

Means ± standard errors on the test split. Multiply-adds are half of XLA's count of operations of one translation.

Result on facades64.npz, `--data facades64.npz --domains label photo --segmenter FOLDER --trunk FILE --score
label_back_pixel_accuracy --teacher-steps 2000 --steps 1500 --width 16 --largest-width 8 --student-width 4
--critic-width 12`, half an hour of a core. By a segmentation of the translations, of the pixels of the teacher 52.2 %
are right, of students with 8.5 times fewer multiply-adds: from scratch 42.9 +- 0.0, cut from the teacher 46.0 +- 0.4,
distilled 46.6 +- 0.1, searched 48.1 +- 0.7. But random channels have 47.0 +- 0.4, and the distilled student, trained
for as many steps as the searched one and the network it is cut from together, 48.2 +- 0.2: the search gains what its
steps gain. A teacher that has learned nothing gives 45.3 +- 0.3: most of the gain over a start from scratch is not its
knowledge.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.hybrids.gan_compression import CompressionConfig, Score, budget_of, loaded
from experiments.studies import harness
from experiments.translating import COLUMNS, side_by_side
from jaxgen import plotting
from jaxgen.metrics.statistics import mean_and_error, with_error
from jaxgen.models.hybrids import DistilledPix2Pix
from jaxgen.models.translation import Pix2Pix
from jaxgen.training import load
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative, Probability

METRICS = {
    "l1": ("L1", 4),
    "l1_to_teacher": ("L1 to the teacher", 4),
    "label_back_pixel_accuracy": ("label-back pixels", 3),
    "label_back_class_accuracy": ("classes", 3),
    "retrieval": ("retrieval", 3),
    "frechet_relu2_1": ("Frechet, relu2_1", 0),
}
"""Columns: heading and digits."""
TEACHERS = ("teacher", "untrained teacher", "all channels")
"""Rows whose networks others start from; one seed."""
STUDENTS = (
    "from scratch", "cut, not distilled", "distilled", "distilled, untrained teacher", "distilled, twice the steps",
    "searched", "random channels",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CompressionStudy(harness.StudyConfig):
    data: str = "colorization"
    """Pairs, as in `experiments.translation.pix2pix`."""
    domains: tuple[str, str] = ("a", "b")
    """Names of the arrays or folders that become the domains a and b."""
    segmenter: Path | None = None
    """Run folder of `experiments.translation.segmenter`, for label-back scores."""
    trunk: Path | None = None
    """Arrays of a VGG, for a distance of features."""
    width: Count = 24
    """Of the teacher."""
    largest_width: Count = 12
    """Of the network trained for all numbers of channels."""
    student_width: Count = 6
    fractions: tuple[Probability, ...] = (0.25, 0.5, 0.75, 1.0)
    """Numbers of channels that a layer of that network can have."""
    blocks: Count = 4
    critic_width: Count = 16
    distillation_weight: NonNegative = 1.0
    teacher_steps: Count = 2_500
    """Batches that the teacher is trained on."""
    steps: Count = 2_000
    """Of each student, and of the network trained for all numbers of channels."""
    ema: Fraction = 0.99
    score: Score = "l1"
    """Metric of the validation split that the search optimises."""
    population: Count = 24
    generations: Natural = 4
    seeds: Count = 2
    """Of each student."""
    runs: Path = Path("runs/studies.compression")


def study(config: CompressionStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = (
        "domains", "width", "largest_width", "student_width", "fractions", "blocks", "critic_width", "teacher_steps",
        "steps", "ema", "distillation_weight", "score", "population", "generations", "seeds",
    )  # fmt: skip
    settings = {name: getattr(config, name) for name in names} | {"data": Path(config.data).name}
    settings |= {name: getattr(config, name) and getattr(config, name).name for name in ("segmenter", "trunk")}
    compute = {name: partial(run, name, 1, config) for name in TEACHERS}
    compute |= {name: partial(run, name, config.seeds, config) for name in STUDENTS}
    results = harness.rows(compute, config.only, config.runs, settings)
    head = ("generator", "multiply-adds", *(heading for heading, _ in METRICS.values()), "seconds")
    text = harness.table(head, lines(results), notes(config))
    if all(name in results for name in ("teacher", *STUDENTS)):
        plotting.save(plot(config), config.runs / "compared.png")
    return harness.save(config.runs, text, [record(config, name, result) for name, result in results.items()])


def run(name: str, seeds: int, config: CompressionStudy) -> dict[str, Any]:
    """The test metrics of each seed, the channels of each and the seconds of one."""
    teacher, largest = (str(config.runs / f"{harness.slug(row)}-0") for row in ("teacher", "all channels"))
    untrained = str(config.runs / f"{harness.slug('untrained teacher')}-0")
    width, student = ("--width", str(config.width)), ("--width", str(config.student_width))
    fractions = ("--fractions", *map(str, config.fractions))
    search = ("--teacher", teacher, "--start", largest, "--budget", str(budget(config)), "--score", config.score)
    sizes = ("--population", str(config.population), "--generations", str(config.generations))
    arguments = {
        "teacher": width,
        "untrained teacher": width,
        "all channels": ("--width", str(config.largest_width), "--teacher", teacher, *fractions),
        "from scratch": student,
        "cut, not distilled": (*student, "--teacher", teacher, "--distillation-weight", "0"),
        "distilled": (*student, "--teacher", teacher),
        "distilled, untrained teacher": (*student, "--teacher", untrained),
        "distilled, twice the steps": (*student, "--teacher", teacher),
        "searched": (*search, *sizes),
        "random channels": (*search, "--population", "1", "--generations", "0"),
    }[name]
    steps = {"teacher": config.teacher_steps, "untrained teacher": 1, "distilled, twice the steps": 2 * config.steps}
    judges = () if config.segmenter is None else ("--segmenter", str(config.segmenter))
    judges += () if config.trunk is None else ("--trunk", str(config.trunk))
    weight = () if "--distillation-weight" in arguments else ("--distillation-weight", str(config.distillation_weight))
    each = str(steps.get(name, config.steps))
    results, channels = [], []
    for seed in range(seeds):
        out = config.runs / f"{harness.slug(name)}-{seed}"
        results.append(harness.experiment(
            "hybrids.gan_compression", out, ("--data", config.data, "--domains", *config.domains, "--preset", "small"),
            ("--seed", str(seed), "--steps", each, "--eval-every", each, "--checkpoint-every", each),
            ("--blocks", str(config.blocks), "--critic-width", str(config.critic_width), "--ema", str(config.ema)),
            arguments, weight, judges,
        ))  # fmt: skip
        channels.append(load(out).model.generator.channels)
    seconds = float(np.mean([result["training_seconds"] for result in results]))
    tests = [result["test"] for result in results]
    return {
        "tests": tests, "channels": channels, "steps": int(each), "training_seconds": seconds,
        "command": results[0]["command"],
    }  # fmt: skip


def budget(config: CompressionStudy) -> float:
    """Multiply-adds of a generator of `student_width`."""
    names = {"data": config.data, "domains": config.domains, "blocks": config.blocks, "width": config.student_width}
    return budget_of(CompressionConfig(**names))


def lines(results: Mapping[str, Mapping[str, Any]]) -> Iterator[list[str]]:
    for name, result in results.items():
        if name == "untrained teacher":
            continue
        tests = result["tests"]
        adds = [test["multiply_adds"] / 1e6 for test in tests]
        cells = [
            with_error([test[metric] for test in tests], digits) if metric in tests[0] else ""
            for metric, (_, digits) in METRICS.items()
        ]
        yield [name, f"{np.mean(adds):.1f} M", *cells, f"{result['training_seconds']:.0f}"]


def notes(config: CompressionStudy) -> str:
    return (
        f"{config.teacher_steps:,} batches of 4 pairs for the teacher, {config.steps:,} for the others; width "
        f"{config.width} of the teacher, {config.largest_width} of all channels; {config.seeds} seeds of each student; "
        f"seconds of one run. Searched by {config.score} of the validation split, {config.population} candidates in a "
        f"generation, {config.generations} generations after the random one."
    )


def plot(config: CompressionStudy) -> Any:
    """The same test examples by all generators of the first seed."""
    data = CompressionConfig(data=config.data, domains=config.domains).open()
    head = data.test.head(COLUMNS)
    x = head["a"]["x"]
    rows = {"input": (x, "a"), "truth": (head["b"]["x"], "b")}
    for name in ("teacher", *STUDENTS):
        kind = Pix2Pix if name in ("teacher", "from scratch") else DistilledPix2Pix
        trained = loaded(config.runs / f"{harness.slug(name)}-0", kind)
        rows[name] = (trained.translate(x), "b")
    return side_by_side(rows, trained.model)


def record(config: CompressionStudy, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    tests = result["tests"]
    means, errors = mean_and_error(tests) if len(tests) > 1 else (tests[0], {})
    return {
        "experiment": "studies.compression", "system": name, "data": Path(config.data).name, "seeds": len(tests),
        "test": means, "standard_errors": errors, "headline": [m for m in METRICS if m in means] + ["multiply_adds"],
        "steps": result["steps"], "training_seconds": result["training_seconds"], "command": result["command"],
        "changed": {"channels": result["channels"][0]},
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(CompressionStudy, study, __doc__, "experiments.studies.compression")
