"""SeqGAN (Yu et al. 2017, "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient", arXiv:1609.05473).

Data are sequences of an oracle, an LSTM with random weights, so that the likelihood of samples is known: `--data FILE`
with the authors' oracle and their 9,984 sequences of 20 words out of 5,000, or `oracle`, a small one without a file.

The paper's `nll_oracle` is 9.038 for maximum likelihood and 8.736 for SeqGAN, 10.310 for words drawn by their
frequencies; the oracle's own samples have 5.76. The metric alone is misleading: a table of bigrams has 8.27. Therefore
both divergences, the entropy, `nll`, of the oracle's new sequences under the model, and the fraction of distinct
samples are reported as well (`jaxgen.metrics.oracle_metrics`), all per token. `experiments.studies.oracle` compares
objectives and controls that start from one model.

RESULT

Defaults are the schedule of the authors' code: 120 epochs of maximum likelihood, 50 x 3 of the critic, 200 rounds of
one policy step and 5 x 3 epochs of the critic. `--preset small` has a small critic and fewer steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import numpy as np
import optax

import jaxgen
from experiments.config import Config, Experiment, Published
from experiments.run import main
from jaxgen.contracts import Array, Batch, Key, Variables
from jaxgen.data import ArraySource, Splits, checks
from jaxgen.data.files import read
from jaxgen.metrics import oracle_metrics
from jaxgen.models.sequences import (
    ConstantReward,
    MaliGANObjective,
    Objective,
    RolloutReward,
    SeqGAN,
    TokenOracle,
    load_oracle,
    random_oracle,
    shuffled_labels,
    true_labels,
)
from jaxgen.nets import SEQGAN_FILTERS, SMALL_FILTERS, TokenConvCritic, TokenRNN
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

WORDS, LENGTH, WIDTH, STD = 100, 20, 16, 1.0
"""Of the small oracle: number of tokens, length, units, and standard deviation of its weights."""
SIZES = {"train": 2_048, "valid": 1_024, "test": 5_120}
"""Sequences of the splits. The first is the file's own, if there is one; the others are new samples of the oracle."""
PART = 1_024
"""Sequences that are sampled or judged at a time."""
LABELS = {"true": true_labels, "shuffled": shuffled_labels}


@dataclass(frozen=True, kw_only=True)
class SeqGANConfig(Config):
    PRESETS: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "published": {},
        "small": {
            "steps": 21_360, "mle_steps": 60 * 156, "critic_steps": 3_000, "moves_per_round": 150, "rollouts": 4,
            "filters": "small", "eval_every": 780, "checkpoint_every": 1_560,
        },
    }  # fmt: skip

    preset: Literal["published", "small"] = "published"
    """Defaults: the authors' schedule and critic, or a shorter schedule of 60 rounds with a small critic."""
    data: str = "oracle"
    """`oracle`, a small one with fixed weights, or a .npz file with SeqGAN's (`load_oracle`) and `x_train`."""
    steps: Count = 120 * 156 + 50 * 3 * 312 + 200 * 5 * 3 * 312
    """Batches to train on: `mle_steps`, `critic_steps`, and the rest in rounds."""
    batch_size: Count = 64
    ema: Fraction = 0.0
    eval_every: Count = 5 * 5 * 3 * 312
    eval_batch: Count = PART
    checkpoint_every: Count = 5 * 5 * 3 * 312
    mle_steps: Natural = 120 * 156
    """Steps of maximum likelihood, 156 to an epoch of the authors' data."""
    critic_steps: Natural = 50 * 3 * 312
    """Steps of the critic before the first round."""
    moves_per_round: Count = 5 * 3 * 312
    """Steps of the critic in a round, after one policy step."""
    objective: Literal["rollouts", "lagging", "constant", "maligan", "maligan_full"] = "rollouts"
    """Of the policy: rewards for completions by the generator itself or by a lagging copy of it, a constant reward, or
    MaliGAN's weights of sequences or of tokens. With a constant reward there is no critic: a round is a step."""
    rollouts: Count = 16
    """Completions of each prefix."""
    lag: Fraction = 0.8
    """Of the lagging copy."""
    labels: Literal["true", "shuffled"] = "true"
    """What the critic learns; with shuffled labels it has nothing to learn."""
    width: Count = 32
    """Units and vectors of the generator."""
    filters: Literal["published", "small"] = "published"
    """Of the critic: 7.0 million or 0.55 million parameters with 5,000 words."""
    sequences: Count = 64
    """Samples of a policy step."""
    learning_rate: NonNegative = 1e-2
    """Of the Adams of maximum likelihood and policy."""
    critic_learning_rate: NonNegative = 1e-4
    """Of the critic's Adam."""
    start: Path | None = None
    """A finished run with the same networks, whose last generator and critic to begin from."""
    measured: Count = 10_240
    """Samples in the final metrics."""

    def open(self) -> Splits:
        train = None if self.data == "oracle" else read(self._file)["x_train"].astype(np.int32)
        return oracle_splits(self.oracle(), train)

    def oracle(self) -> TokenOracle:
        if self.data == "oracle":
            return random_oracle(0, WORDS, LENGTH, WIDTH, STD)
        return load_oracle(self._file)

    @property
    def _file(self) -> Path:
        return checks.location("data_dir", self.data_dir or "") / Path(self.data).expanduser()


PUBLISHED = {"seqgan_oracle.npz": Published("nll_oracle", 8.736, "Table 1", SeqGANConfig.steps)}


def oracle_splits(oracle: TokenOracle, train: Any = None) -> Splits:
    """Samples of the oracle; `train` is the training split, if there is one."""
    drawn = {
        name: train if name == "train" and train is not None else sampled(oracle, size, seed)
        for seed, (name, size) in enumerate(SIZES.items())
    }
    return Splits(**{name: ArraySource({"x": x}, name=f"oracle ({name})") for name, x in drawn.items()})


def sampled(model: Any, n: int, seed: int = 0, temperature: float = 1.0) -> np.ndarray:
    """n samples of an oracle or a trained model, `PART` at a time, [n, T]."""
    draw = jax.jit(model.sample, static_argnums=1) if isinstance(model, TokenOracle) else model.sample
    keys = jax.random.split(jax.random.key(seed), -(-n // PART))
    return np.concatenate([np.asarray(draw(key, PART, temperature=temperature)) for key in keys])[:n]


def build(config: SeqGANConfig, data: Splits) -> Experiment:
    oracle, length = config.oracle(), data.train.event_shape[0]
    words = oracle.network.num_tokens
    generator = TokenRNN(words, length, config.width, config.width, initial_std=0.1)
    filters = SEQGAN_FILTERS if config.filters == "published" else SMALL_FILTERS
    model = SeqGAN(
        generator, TokenConvCritic(words, filters), objective=objective(config), sequences=config.sequences,
        mle_steps=config.mle_steps, critic_steps=config.critic_steps, moves_per_round=config.moves_per_round,
        critic_batch=config.batch_size // 2, labels=LABELS[config.labels], monitor=("nll_oracle", "min"),
    )  # fmt: skip
    optimizers = {
        "mle": model.adam(config.learning_rate, 5.0 * length),
        "policy": model.adam(config.learning_rate, 5.0 / config.sequences),
        "critic": optax.adam(config.critic_learning_rate),
    }

    def compared(variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        samples = model.sample(variables, key, len(batch["x"]))
        return {
            "nll_oracle": -oracle.log_probs(samples).mean(),
            "entropy": -model.log_probs(variables, samples).mean(),
            "forward_kl": (oracle.log_probs(batch["x"]) - model.log_probs(variables, batch["x"])).mean(),
        }

    held_out = data.test.head(config.measured)["x"]
    played = {name for phase in model.phases(config.steps) for name in phase.plays}
    return Experiment(
        model, validation_metrics=compared, draws=1, headline=("nll_oracle", "forward_kl", "entropy"),
        optimizers={name: optimizer for name, optimizer in optimizers.items() if name in played},
        final_metrics=partial(divergences, oracle=oracle, held_out=held_out, n=config.measured),
        baselines={"nll_oracle of the oracle": float(-in_parts(oracle.log_probs, held_out[:PART]).mean())},
        start=None if config.start is None else started(config.start, model, data),
    )  # fmt: skip


def objective(config: SeqGANConfig) -> Objective:
    rollouts = {"rollouts": config.rollouts}
    return {
        "rollouts": RolloutReward(**rollouts),
        "lagging": RolloutReward(**rollouts, lag=config.lag),
        "constant": ConstantReward(),
        "maligan": MaliGANObjective(),
        "maligan_full": MaliGANObjective(**rollouts),
    }[config.objective]


def started(folder: Path, model: SeqGAN, data: Splits) -> Variables:
    """The last variables of a finished run, with the memory that the objective needs."""
    variables = jaxgen.load(folder, which="last").variables
    kept = {player: {"params": collections["params"]} for player, collections in variables.items()}
    return model.begin_rounds(kept, data.train.head(1), jax.random.key(0))


def in_parts(function: Callable[..., Array], x: np.ndarray) -> np.ndarray:
    return in_chunks(jax.jit(function), x, size=PART)


def divergences(
    trained: TrainedModel, oracle: TokenOracle, held_out: np.ndarray, n: int, temperature: float = 1.0
) -> dict[str, float]:
    """`oracle_metrics` of n samples at a temperature, and of new sequences of the oracle."""
    samples = sampled(trained, n, temperature=temperature)
    log_probs = partial(trained.log_probs, temperature=temperature)
    own, of_data = (in_chunks(log_probs, x, size=PART) for x in (samples, held_out))
    by_oracle = (in_parts(oracle.log_probs, x) for x in (samples, held_out))
    return oracle_metrics(samples, next(by_oracle), own, next(by_oracle), of_data)


if __name__ == "__main__":
    main(SeqGANConfig, build, PUBLISHED)
