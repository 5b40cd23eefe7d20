"""What a critic's reward adds to maximum likelihood on SeqGAN's oracle, and what a good score proves: `python -m
experiments.studies.oracle --data seqgan_oracle.npz --runs runs/studies.oracle`.

All adversarial arms start from one generator, trained by maximum likelihood, and from one critic, except for the critic
of shuffled labels. A round is one policy step, the same for all arms:

- `SeqGAN`, rewards for completions by the generator itself, as in the authors' code; `lagging`, by a copy that follows
  slowly, as in the paper; `MaliGAN`, weights of sequences; `MaliGAN, full`, of tokens by completions;
- controls: `constant reward`; `shuffled labels`, the reward of a critic that can learn nothing; `MLE continued` for as
  many steps as there are rounds; `MLE` sampled at lower temperatures, which costs nothing;
- samples that need no training: uniform words; a table of the training set's bigrams, whose `nll_oracle` is below all
  published ones; repeated training sequences.

Result with `--data seqgan_oracle.npz`, seed 0, half an hour of a shared core. Maximum likelihood ends at an
`nll_oracle` of 9.02 with KL(P||G) 3.12. After 60 policy steps from there, a constant reward is at 8.71 (3.37), the
reward of a critic of shuffled labels at 8.63 (3.39), maximum likelihood at 8.94 (3.13), or without steps, at
temperature 0.9, at 8.79 (3.47), SeqGAN at 8.96 (3.25), and with a lagging copy that completes prefixes at 8.83 (3.23).
MaliGAN, whose weights sum to zero, is at 9.17 (3.21). So the paper's gain, from 9.04 to 8.74, needs no critic: a policy
that is rewarded for whatever it samples loses entropy. No arm ends at a lower KL(P||G) than it started from. The critic
learns the 9,984 training sequences by heart: at the end it recognises 97 % of them and of samples, but 60 % if the real
half is new.

That is not what keeps SeqGAN from gaining. With 65,536 new training sequences (`experiments.sequences.seq_gan --fresh
65536 --start RUN --mle-steps 0 --critic-steps 2000 --steps 5600 --preset small`) the critic is right on unseen ones and
samples in 0.55 of all cases before the first round, and 60 rounds at the authors' rate of 0.01 make samples easier to
tell, 0.78, with KL(P||G) at 3.21 and an `nll_oracle` of 8.81. At a rate of 0.001 they change nothing: 9.02 and 3.09.
It seems that at the authors' rate most of a step is the noise of 64 samples, which Adam scales to the size of the rate.

Columns are `jaxgen.metrics.oracle_metrics` per token: the oracle's likelihood of samples, the entropy, the likelihood
of the oracle's new sequences, both divergences, and the fraction of distinct samples. A generator improves if both
divergences fall. It only moves towards fewer sequences if `nll_oracle` and the entropy fall while `nll` rises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import jaxgen
from experiments.sequences.seq_gan import SeqGANConfig, divergences, in_parts
from experiments.studies import harness
from jaxgen import plotting
from jaxgen.data import Splits
from jaxgen.metrics import oracle_metrics
from jaxgen.models.sequences import TokenOracle
from jaxgen.training import RunFolder
from jaxgen.training.ranges import Count, Natural, NonNegative

MLE, CRITIC, SHUFFLED = "MLE", "critic", "critic of shuffled labels"
ARMS = {
    "SeqGAN": (CRITIC, "--objective", "rollouts"),
    "lagging": (CRITIC, "--objective", "lagging"),
    "shuffled labels": (SHUFFLED, "--objective", "rollouts", "--labels", "shuffled"),
    "constant reward": (MLE, "--objective", "constant"),
    "MaliGAN": (CRITIC, "--objective", "maligan"),
    "MaliGAN, full": (CRITIC, "--objective", "maligan_full"),
}
"""By name: the run to start from, and arguments."""
CONTINUED = "MLE continued"
TEMPERATURES = (0.9, 0.8, 0.7)
METRICS = ("nll_oracle", "entropy", "nll", "reverse_kl", "forward_kl", "distinct")
HEAD = (
    "samples of", "NLL by the oracle", "entropy", "NLL of the oracle's", "KL(G‖P)", "KL(P‖G)", "distinct", "minutes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OracleStudy(harness.StudyConfig):
    data: str = "oracle"
    """As in `experiments.sequences.seq_gan`."""
    mle_steps: Count = 60 * 156
    critic_steps: Count = 2_000
    """Of the critic before the first round."""
    rounds: Count = 60
    moves_per_round: Count = 60
    """Steps of the critic in a round."""
    critic_learning_rate: NonNegative = 5e-4
    rollouts: Count = 2
    """Completions of each prefix."""
    measured: Count = 10_240
    """Samples in the metrics of each row."""
    evaluations: Count = 6
    """Evaluations of each arm, for the plot."""
    seed: Natural = 0
    runs: Path = Path("runs/studies.oracle")


def study(config: OracleStudy) -> str:
    """Raises:
    ValueError: unknown names in `only`; rows with other settings.
    """
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in ("only", "runs")}
    of_runs = SeqGANConfig(data=config.data)
    oracle, splits = of_runs.oracle(), of_runs.open()
    compute: dict[str, Any] = {
        name: partial(measured_samples, make, oracle, splits, config.measured) for name, make in SAMPLES.items()
    }
    compute[MLE] = lambda: run(config, MLE, None, oracle, splits, *training(config.mle_steps, 0, 0))
    for t in TEMPERATURES:
        compute[f"MLE, temperature {t}"] = partial(cooled, config, oracle, splits, t)
    compute[CRITIC] = lambda: run(config, CRITIC, MLE, oracle, splits, *training(0, config.critic_steps, 0))
    shuffled = ("--labels", "shuffled")
    compute[SHUFFLED] = lambda: run(
        config, SHUFFLED, MLE, oracle, splits, *training(0, config.critic_steps, 0), *shuffled
    )
    compute[CONTINUED] = lambda: run(config, CONTINUED, MLE, oracle, splits, *training(config.rounds, 0, 0))
    for name, (start, *arguments) in ARMS.items():
        moves = 1 if name == "constant reward" else config.moves_per_round
        steps = training(0, 0, config.rounds * moves)
        compute[name] = partial(run, config, name, start, oracle, splits, *steps, *arguments)
    results = harness.rows(compute, config.only, config.runs, settings)
    if MLE in results:
        plotting.save(plot(results), config.runs / "divergences.png")
    return harness.save(config.runs, harness.table(HEAD, lines(results)))


def training(mle: int, critic: int, rounds: int) -> list[str]:
    """The arguments of so many steps of each phase."""
    steps = mle + critic + rounds
    return ["--mle-steps", str(mle), "--critic-steps", str(critic), "--steps", str(steps)]


def run(
    config: OracleStudy, name: str, start: str | None, oracle: TokenOracle, splits: Splits, *arguments: str
) -> dict[str, Any]:
    """The metrics of a run's last variables, and those of its evaluations."""
    folder = config.runs / harness.slug(name)
    steps = int(arguments[arguments.index("--steps") + 1])
    every = str(max(1, steps // config.evaluations))
    begin = [] if start is None else ["--start", str(config.runs / harness.slug(start))]
    result = harness.experiment(
        "sequences.seq_gan", folder, ("--preset", "small", "--data", config.data, "--seed", str(config.seed)), begin,
        ("--moves-per-round", str(config.moves_per_round), "--rollouts", str(config.rollouts), "--measured", "1024"),
        ("--critic-learning-rate", str(config.critic_learning_rate)),
        ("--eval-every", every, "--checkpoint-every", every), arguments,
    )  # fmt: skip
    trained = jaxgen.load(folder, which="last")
    curve = [
        {metric: line[f"valid/{metric}"] for metric in ("nll_oracle", "entropy", "forward_kl")} | {"step": line["step"]}
        for line in RunFolder(folder).lines()
        if "valid/nll_oracle" in line
    ]
    metrics = divergences(trained, oracle, splits.test.head(config.measured)["x"], config.measured)
    return {"metrics": metrics, "curve": curve, "training_seconds": result["training_seconds"]}


def cooled(config: OracleStudy, oracle: TokenOracle, splits: Splits, temperature: float) -> dict[str, Any]:
    """The metrics of maximum likelihood at a temperature."""
    trained = jaxgen.load(config.runs / harness.slug(MLE), which="last")
    held_out = splits.test.head(config.measured)["x"]
    return {"metrics": divergences(trained, oracle, held_out, config.measured, temperature)}


def uniform_words(train: np.ndarray, words: int, held_out: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    samples = np.random.default_rng(0).integers(0, words, (n, train.shape[1]))
    log_prob = -train.shape[1] * np.log(words)
    return samples, np.full(n, log_prob), np.full(len(held_out), log_prob)


def repeated_training_set(train: np.ndarray, words: int, held_out: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Samples with replacement."""
    samples = train[np.random.default_rng(0).integers(0, len(train), n)]
    known = {row.tobytes() for row in train}
    seen = np.array([row.astype(train.dtype).tobytes() in known for row in held_out])
    return samples, np.full(n, -np.log(len(train))), np.where(seen, -np.log(len(train)), -np.inf)


def bigram_table(train: np.ndarray, words: int, held_out: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """The Markov chain of the training set's bigrams, at any position, from its first words."""
    rng = np.random.default_rng(0)
    before, after = train[:, :-1].ravel(), train[:, 1:].ravel()
    order = np.argsort(before, kind="stable")
    following, starts = after[order], np.searchsorted(before[order], np.arange(words + 1))
    counts = np.diff(starts)
    # a word that is only ever the last one is followed by any
    rows, unfollowed = [rng.choice(train[:, 0], n)], counts == 0
    for _ in range(train.shape[1] - 1):
        previous = rows[-1]
        picked = starts[previous] + (rng.random(n) * counts[previous]).astype(int)
        picked = following[np.minimum(picked, len(following) - 1)]
        rows.append(np.where(unfollowed[previous], rng.choice(after, n), picked))
    samples = np.stack(rows, 1)
    pairs, of_pairs = np.unique(before * words + after, return_counts=True)
    first, marginal = (np.bincount(a, minlength=words) / len(a) for a in (train[:, 0], after))

    def log_prob(x: np.ndarray) -> np.ndarray:
        previous, code = x[:, :-1], x[:, :-1] * words + x[:, 1:]
        at = np.minimum(np.searchsorted(pairs, code), len(pairs) - 1)
        of_table = np.where(pairs[at] == code, of_pairs[at], 0) / np.maximum(counts[previous], 1)
        p = np.where(unfollowed[previous], marginal[x[:, 1:]], of_table)
        with np.errstate(divide="ignore"):
            return np.log(first[x[:, 0]]) + np.log(p).sum(1)

    return samples, log_prob(samples), log_prob(held_out)


SAMPLES = {
    "uniform words": uniform_words, "table of bigrams": bigram_table, "training set repeated": repeated_training_set,
}  # fmt: skip
"""By name: from training sequences, the number of words, held-out sequences and n, n samples, their log-probabilities
and those of the held-out ones.
"""


def measured_samples(make: Any, oracle: TokenOracle, splits: Splits, n: int) -> dict[str, Any]:
    train, held_out = (split.head(len(split))["x"].astype(np.int64) for split in (splits.train, splits.test))
    samples, own, of_data = make(train, oracle.network.num_tokens, held_out[:n], n)
    by_oracle, oracle_of_data = (in_parts(oracle.log_probs, x) for x in (samples, held_out[:n]))
    return {"metrics": oracle_metrics(samples, by_oracle, own, oracle_of_data, of_data)}


def lines(results: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table; a critic alone has the generator of MLE."""
    rows = []
    for name, result in results.items():
        if name in (CRITIC, SHUFFLED):
            continue
        values = [result["metrics"][metric] for metric in METRICS]
        minutes = f"{result['training_seconds'] / 60:.1f}" if "training_seconds" in result else ""
        rows.append([name, *(f"{value:.3f}" for value in values), minutes])
    return rows


def plot(results: Mapping[str, Any]) -> Any:
    """The course of each run in the plane of KL(P||G) and the oracle's likelihood of samples; lower is better."""
    courses = {}
    begun = results[MLE]["metrics"]
    for name, result in results.items():
        if result.get("curve") and name not in (CRITIC, SHUFFLED):
            points = [*([] if name == MLE else [begun]), *result["curve"], result["metrics"]]
            courses[name] = ([p["forward_kl"] for p in points], [p["nll_oracle"] for p in points])
    cooled = [begun, *(r["metrics"] for name, r in results.items() if name.startswith(f"{MLE}, temperature"))]
    courses["MLE, lower temperatures"] = tuple([p[name] for p in cooled] for name in ("forward_kl", "nll_oracle"))
    return plotting.lines(courses, "KL(P||G) per token", "NLL of samples by the oracle", whole=True)


if __name__ == "__main__":
    harness.main(OracleStudy, study, __doc__, "experiments.studies.oracle")
