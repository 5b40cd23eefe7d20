"""What a conditional sequence GAN changes in a translator that was trained by maximum likelihood.

`python -m experiments.studies.translation_gan --start RUN --data FILES`. RUN is a run of
`experiments.sequences.translation --system mle` on the same data. All rows begin with its generator: `continued` is
maximum likelihood for as many steps, with the rounds' optimizer; in the others `critic_steps` steps of the critic come
first, at most. `critic alone` has lambda = 1, `BLEU alone` lambda = 0. BLEU is of greedy translations of the test
split, by the variables with the greatest one on the validation split, and of samples; a critic's accuracy is on test
pairs and as many samples, and with the sources of other pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from experiments.studies import harness
from jaxgen.training.ranges import Count, Natural, NonNegative

ARMS = {
    "GAN, CNN": (),
    "GAN, RNN": ("--critic", "rnn"),
    "GAN, n-grams": ("--critic", "n_grams", "--critic-learning-rate", "0.01"),
    "GAN, additive CNN": ("--mixing", "additive"),
    "GAN, CNN of the target": ("--mixing", "target"),
    "GAN, critic alone": ("--critic-weight", "1"),
    "GAN, BLEU alone": ("--critic-weight", "0"),
}
STARTED, CONTINUED = "maximum likelihood", "continued"
METRICS = {
    "bleu": 2, "bleu sampled": 2, "nll_per_token": 3, "length ratio": 3, "critic_accuracy": 3,
    "critic_accuracy_shuffled": 3,
}  # fmt: skip
"""Columns, and their decimals."""


@dataclass(frozen=True, kw_only=True)
class TranslationGANStudy(harness.StudyConfig):
    start: Path
    """A finished run by maximum likelihood."""
    data: str
    """As of the experiment."""
    data_dir: Path = Path()
    steps: Count = 300
    """Rounds."""
    critic_steps: Natural = 600
    rollouts: Natural = 0
    policy_learning_rate: NonNegative = 1e-5
    critic_learning_rate: NonNegative = 1e-4
    seed: Natural = 0
    runs: Path = Path("runs/studies.translation_gan")


def study(config: TranslationGANStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    names = ("start", "data", "steps", "critic_steps", "rollouts", "seed")
    names += ("policy_learning_rate", "critic_learning_rate")
    settings = {name: getattr(config, name) for name in names}
    compute = {STARTED: lambda: json.loads((config.start / "result.json").read_text(encoding="utf-8"))}
    compute |= {name: partial(run, name, config) for name in (CONTINUED, *ARMS)}
    results = harness.rows(compute, config.only, config.runs, settings)
    table = harness.table(("system", *METRICS, "minutes"), [line(name, result) for name, result in results.items()])
    return harness.save(config.runs, table)


def run(name: str, config: TranslationGANStudy) -> dict[str, Any]:
    began = json.loads((config.start / "result.json").read_text(encoding="utf-8"))["config"]
    kept = ("width", "length", "min_count", "level", "cell", "dropout", "batch_size")
    of_start = [word for key in kept for word in (f"--{key.replace('_', '-')}", str(began[key]))]
    if began["embedding"] is not None:
        of_start += ["--embedding", str(began["embedding"])]
    every = str(max(1, config.steps // 2))
    shared = (
        "--data", config.data, "--data-dir", str(config.data_dir.absolute()), "--start", str(config.start),
        "--eval-every", every, "--checkpoint-every", every, "--seed", str(config.seed),
        "--policy-learning-rate", str(config.policy_learning_rate),
    )  # fmt: skip
    if name == CONTINUED:
        arm = ("--system", "mle", "--optimizer", "rmsprop", "--steps", str(config.steps))
    else:
        steps = config.critic_steps + config.steps
        arm = ("--mle-steps", "0", "--critic-steps", str(config.critic_steps), "--steps", str(steps))
        arm = (*arm, "--rollouts", str(config.rollouts), "--critic-learning-rate", str(config.critic_learning_rate))
        arm = (*arm, *ARMS[name])
    out = config.runs / harness.slug(name)
    return harness.experiment("sequences.translation", out, of_start, shared, arm)


def line(name: str, result: Mapping[str, Any]) -> list[str]:
    cells = [f"{result['test'][key]:.{digits}f}" if key in result["test"] else "" for key, digits in METRICS.items()]
    return [name, *cells, f"{result['training_seconds'] / 60:.1f}"]


if __name__ == "__main__":
    harness.main(TranslationGANStudy, study, __doc__, "experiments.studies.translation_gan")
