"""What an adversary adds to replies by maximum likelihood: `python -m experiments.studies.replies --data FILES`.

All arms of `experiments.sequences.dialogue`, or with `--experiment story_endings` of that one, begin with the same
generator by maximum likelihood, and make equally many updates: with a critic of partial sequences (REGS) and steps of
teacher forcing in between, with a constant reward in place of the critic's, and with the steps of teacher forcing
alone. The table's notes have ten contexts with a sample of each.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import jaxgen
from experiments.commands import parse
from experiments.sequences.dialogue import DialogueConfig
from experiments.sequences.replies import EXAMPLES, sample
from experiments.sequences.story_endings import StoryEndingsConfig
from experiments.studies import harness
from jaxgen.training.ranges import Count, Natural, NonNegative

KINDS = {"dialogue": DialogueConfig, "story_endings": StoryEndingsConfig}
MLE, ADVERSARIAL = "maximum likelihood", "adversarial"
ARMS = {
    ADVERSARIAL: (), "constant reward": ("--reward", "constant"), "teacher forcing": ("--system", "teacher_forcing"),
}  # fmt: skip
METRICS = {
    "perplexity": ("perplexity", 1, 2),
    "choice": ("choice, log p per word", 100, 1),
    "choice with other contexts": ("with other contexts", 100, 1),
    "choice by information": ("by information", 100, 1),
    "choice by information with other contexts": ("with other contexts", 100, 1),
    "choice by gain": ("by gain", 100, 1),
    "choice by gain with other contexts": ("with other contexts", 100, 1),
    "critic_accuracy": ("critic accuracy", 100, 1),
    "critic_context_preference": ("critic prefers own context", 100, 1),
    "adversarial success": ("adversarial success", 100, 1),
    "machine or random reply": ("machine or random", 100, 1),
    "bleu-2": ("BLEU-2, greedy", 1, 2),
    "bleu-2 of samples": ("BLEU-2, samples", 1, 2),
    "distinct-1 of samples": ("distinct-1", 1, 3),
    "distinct-2 of samples": ("distinct-2", 1, 3),
    "words": ("words", 1, 2),
}
"""Columns: heading, factor and digits."""


@dataclass(frozen=True, kw_only=True)
class RepliesStudy(harness.StudyConfig):
    experiment: Literal["dialogue", "story_endings"] = "dialogue"
    data: str = "numerals"
    """As in the experiment."""
    wrong: Path | None = None
    """Wrong replies, as in `experiments.sequences.dialogue`."""
    start: Path | None = None
    """A finished run by maximum likelihood; by default it is trained first."""
    mle_steps: Count = 1_200
    critic_steps: Natural = 300
    updates: Count = 100
    """Of the generator, with as many of teacher forcing."""
    critic_moves: Count = 2
    """Steps of the critic for each update."""
    learning_rate: NonNegative = 5e-4
    """Of Adam, for these updates."""
    judge_steps: Natural = 300
    seed: Natural = 0
    options: str = ""
    """More arguments of the experiment, such as `--options="--width 64 --dropout 0"`."""
    runs: Path = Path("runs/studies.replies")


def study(config: RepliesStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = ("experiment", "mle_steps", "critic_steps", "critic_moves", "updates", "learning_rate", "judge_steps")
    names += ("seed", "options")
    settings = {name: getattr(config, name) for name in names} | {"data": Path(config.data).name}
    settings |= {name: str(getattr(config, name)) for name in ("start", "wrong")}
    compute = {MLE: lambda: maximum_likelihood(config)}
    compute |= {name: partial(arm, config, name) for name in ARMS}
    results = harness.rows(compute, config.only, config.runs, settings)
    records = [record(config, name, result) for name, result in results.items()]
    return harness.save(config.runs, table(config, results), records)


def common(config: RepliesStudy) -> tuple[str, ...]:
    wrong = () if config.wrong is None else ("--wrong", str(config.wrong))
    judges = ("--judge-steps", str(config.judge_steps))
    given = ("--preset", "small", "--data", config.data, "--seed", str(config.seed))
    return (*given, *wrong, *judges, *shlex.split(config.options))


def folder(config: RepliesStudy, name: str) -> Path:
    return config.start if name == MLE and config.start is not None else config.runs / harness.slug(name)


def maximum_likelihood(config: RepliesStudy) -> dict[str, Any]:
    out = folder(config, MLE)
    if config.start is not None:
        return json.loads((out / "result.json").read_text(encoding="utf-8"))
    steps = ("--system", "mle", "--steps", str(config.mle_steps), "--judge-controls")
    return harness.experiment(f"sequences.{config.experiment}", out, common(config), steps)


def arm(config: RepliesStudy, name: str) -> dict[str, Any]:
    critic = config.critic_steps if name == ADVERSARIAL else 0
    steps = str(critic + config.critic_moves * config.updates)
    return harness.experiment(
        f"sequences.{config.experiment}", folder(config, name), common(config), ARMS[name],
        ("--start", str(folder(config, MLE)), "--mle-steps", "0", "--critic-steps", str(critic), "--steps", steps),
        ("--policy-learning-rate", str(config.learning_rate), "--critic-moves", str(config.critic_moves)),
        ("--eval-every", steps, "--checkpoint-every", steps),
    )  # fmt: skip


def table(config: RepliesStudy, results: Mapping[str, Any]) -> str:
    tests = {name: with_perplexity(result["test"]) for name, result in results.items()}
    for name, test in tests.items():
        if name != ADVERSARIAL:  # no critic has learned
            tests[name] = {metric: value for metric, value in test.items() if not metric.startswith("critic")}
    shown = {name: column for name, column in METRICS.items() if any(name in test for test in tests.values())}
    head = ("arm", *(heading for heading, *_ in shown.values()), "minutes")
    lines = [
        [
            name,
            *(f"{k * test[m]:.{digits}f}" if m in test else "" for m, (_, k, digits) in shown.items()),
            f"{results[name]['wall_seconds'] / 60:.1f}",
        ]
        for name, test in tests.items()
    ]
    notes = [f"{config.updates} updates of each arm with Adam at {config.learning_rate:g}."]
    first = next(iter(results.values()), {"test": {}, "baselines": {}})
    notes += [f"{name.capitalize()}: {100 * value:.1f}." for name, value in first["baselines"].items()]
    for name in ("human or random reply", "human or human"):
        if name in first["test"]:
            notes.append(f"Judges of known tasks, {name}: {100 * first['test'][name]:.1f}.")
    return harness.table(head, lines, " ".join(notes) + "\n\n" + samples(config, [*results]))


def with_perplexity(test: Mapping[str, float]) -> dict[str, float]:
    return {**test, "perplexity": float(np.exp(test["nll_per_token"]))}


def samples(config: RepliesStudy, names: list[str]) -> str:
    """Ten test contexts with a human's reply and a sample of each arm."""
    test = parse(KINDS[config.experiment], "", f"experiments.sequences.{config.experiment}", common(config)).open().test
    source = test.subset(np.linspace(0, len(test) - 1, EXAMPLES).astype(int))
    context = source.arrays["context"]
    replies = {"human": source.texts(source.arrays["x"])}
    for name in names:
        trained = jaxgen.load(folder(config, name))
        replies[name] = source.texts(sample(trained, jax.random.key(config.seed), context))
    lines = []
    for i, text in enumerate(source.context_texts(context)):
        lines += [text, *(f"    {name}: {texts[i]}" for name, texts in replies.items())]
    return "```\n" + "\n".join(lines) + "\n```"


def record(config: RepliesStudy, name: str, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "experiment": "studies.replies", "system": name, "data": Path(config.data).name, "seeds": 1,
        "test": with_perplexity(result["test"]), "standard_errors": {},
        "headline": ["perplexity", "choice by information", "adversarial success", "distinct-2 of samples"],
        "steps": result["config"]["steps"], "training_seconds": result["training_seconds"],
        "command": result["command"], "changed": {"experiment": config.experiment},
    }  # fmt: skip


if __name__ == "__main__":
    harness.main(RepliesStudy, study, __doc__, "experiments.studies.replies")
