"""What experiments with policies of tokens share: fields, the model, optimizers, the model to begin from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import optax

import jaxgen
from experiments.config import Config
from jaxgen.contracts import Variables
from jaxgen.data import Splits
from jaxgen.models.sequences import (
    ConstantReward,
    MaliGANObjective,
    MixedMaliGAN,
    Objective,
    PolicyGradient,
    RolloutReward,
    SeqGAN,
    shuffled_labels,
    true_labels,
)
from jaxgen.nets import SEQGAN_FILTERS, SMALL_FILTERS, TokenConvCritic, TokenRNN
from jaxgen.training.ranges import Count, Fraction, Natural, NonNegative

LABELS = {"true": true_labels, "shuffled": shuffled_labels}
FILTERS = {"published": SEQGAN_FILTERS, "small": SMALL_FILTERS}


@dataclass(frozen=True, kw_only=True)
class PolicyConfig(Config):
    steps: Count = 120 * 156 + 50 * 3 * 312 + 200 * 5 * 3 * 312
    """Batches to train on: `mle_steps`, `critic_steps`, and the rest in rounds."""
    batch_size: Count = 64
    ema: Fraction = 0.0
    eval_every: Count = 5 * 5 * 3 * 312
    checkpoint_every: Count = 5 * 5 * 3 * 312
    mle_steps: Natural = 120 * 156
    """Steps of maximum likelihood, 156 to an epoch of the authors' data."""
    critic_steps: Natural = 50 * 3 * 312
    """Steps of the critic before the first round."""
    moves_per_round: Count = 5 * 3 * 312
    """Steps of the critic in a round, after one policy step."""
    objective: Literal["rollouts", "lagging", "constant", "maligan", "maligan_full", "maligan_mixed"] = "rollouts"
    """Of the policy: rewards for completions by the generator itself or by a lagging copy of it, a constant reward, or
    MaliGAN's weights of sequences, of tokens, or of completions of prefixes of the data that become shorter. With a
    constant reward there is no critic: a round is a step."""
    rollouts: Count = 16
    """Completions of each prefix."""
    released: Count = 5
    """Tokens by which the data's prefix becomes shorter in each stage of `maligan_mixed`."""
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

    def check(self) -> None:
        super().check()
        self.check_without_context("the generator has no context")


def seq_gan(config: PolicyConfig, words: int, length: int, end: int | None, monitor: tuple[str, str]) -> SeqGAN:
    """The model, with an LSTM and SeqGAN's critic; each of its filters is at most as wide as the sequences are long."""
    filters = tuple((width, number) for width, number in FILTERS[config.filters] if width <= length)
    mixed = {"completions": config.rollouts, "released": config.released} if config.objective == "maligan_mixed" else {}
    return (MixedMaliGAN if mixed else SeqGAN)(
        TokenRNN(words, length, config.width, config.width, initial_std=0.1), TokenConvCritic(words, filters), end,
        objective=objective(config), sequences=config.sequences, mle_steps=config.mle_steps,
        critic_steps=config.critic_steps, moves_per_round=config.moves_per_round,
        critic_batch=max(1, config.batch_size // 2), labels=LABELS[config.labels], monitor=monitor, **mixed,
    )  # fmt: skip


def objective(config: PolicyConfig) -> Objective:
    rollouts = {"rollouts": config.rollouts}
    return {
        "rollouts": PolicyGradient(RolloutReward(**rollouts)),
        "lagging": PolicyGradient(RolloutReward(**rollouts, lag=config.lag)),
        "constant": PolicyGradient(ConstantReward()),
        "maligan": MaliGANObjective(),
        "maligan_mixed": MaliGANObjective(),
        "maligan_full": MaliGANObjective(**rollouts),
    }[config.objective]


def optimizers(config: PolicyConfig, model: SeqGAN) -> Mapping[str, optax.GradientTransformation]:
    """Of the plays that move in a run."""
    of_plays = {
        "mle": model.adam(config.learning_rate, 5.0 * model.generator.length),
        "policy": model.adam(config.learning_rate, 5.0 / config.sequences),
        "critic": optax.adam(config.critic_learning_rate),
    }
    played = {name for phase in model.phases(config.steps) for name in phase.plays}
    return {name: optimizer for name, optimizer in of_plays.items() if name in played}


def initial_variables(config: PolicyConfig, model: SeqGAN, data: Splits) -> Variables | None:
    """The last variables of the run `start`, with the memory that the objective needs; None without one."""
    if config.start is None:
        return None
    variables = jaxgen.load(config.start, which="last").variables
    kept = {player: {"params": collections["params"]} for player, collections in variables.items()}
    return model.begin_rounds(kept, data.train.head(1), jax.random.key(0))
