"""Shared by experiments with replies to contexts: dialogues and endings of stories."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax

import jaxgen
from experiments.config import Config, Experiment
from experiments.sequences.judges import judgements
from experiments.sequences.translation import NUMERALS, bleu
from jaxgen import plotting
from jaxgen.data import Splits, TokenSource, numerals, sentence_pairs
from jaxgen.data.vocabulary import UNKNOWN
from jaxgen.metrics import choice_accuracy, distinct_n_grams
from jaxgen.models.sequences import (
    AdversarialDialogue,
    ConstantReward,
    PrefixReward,
    Reward,
    RolloutReward,
    SequenceReward,
)
from jaxgen.models.sequences.dialogue import by_player
from jaxgen.nets import AttentionSeq2Seq, NGramCritic, TurnCritic
from jaxgen.tokens import lengths
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks
from jaxgen.training.ranges import Count, Natural, NonNegative, Probability

EXAMPLES = 10
"""Contexts whose replies are shown."""
PART = 250
"""Replies that are scored or sampled at a time."""
JUDGE_LEARNING_RATES = {"turns": 1e-3, "n_grams": 1e-2}
"""Of Adam, by the kind of critic that judges."""
FREQUENT = 50
"""Words that are too frequent to count as shared by a reply and its context."""


@dataclass(frozen=True, kw_only=True)
class RepliesConfig(Config):
    data: str = NUMERALS
    """`numerals`, or text files whose lines have fields separated by tabs."""
    system: Literal["mle", "adversarial", "teacher_forcing"] = "adversarial"
    """Maximum likelihood; the adversarial game after it; or, as a control, only its steps of teacher forcing."""
    steps: Count = 200_000
    """Batches to train on: `mle_steps`, `critic_steps`, and the rest in rounds of `critic_moves`."""
    batch_size: Count = 64
    mle_steps: Natural = 100_000
    critic_steps: Natural = 5_000
    """Steps of the critic alone, before the first round."""
    critic_moves: Count = 5
    """Steps of the critic for each of the generator."""
    reward: Literal["prefix", "rollouts", "sequence", "constant"] = "prefix"
    """A critic of partial sequences; completions; the whole reply; or the control without information."""
    rollouts: Count = 5
    """Completions of each prefix."""
    baseline: Literal["learned", "mean", "none"] = "learned"
    length: Count = 20
    """Greatest number of words of a reply; longer ones are cut."""
    context_length: Count = 60
    """Number of words of a context that are kept, the last ones."""
    min_count: Count = 3
    """Words that occur less often are unknown."""
    cell: Literal["gru", "lstm"] = "lstm"
    width: Count = 512
    """Units of the generator's cells."""
    dropout: Probability = 0.2
    critic: Literal["turns", "n_grams"] = "turns"
    """A recurrent network over words and turns, the paper's, or weights of n-grams."""
    critic_width: Count = 512
    """Of the critic `turns`."""
    with_context: bool = True
    """False: the critic does not see the context, as a control."""
    learning_rate: NonNegative = 1e-3
    """Of Adam, for maximum likelihood."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Of the critic and of the rounds; their gradients are clipped to a norm of 5."""
    critic_learning_rate: NonNegative = 1e-2
    policy_learning_rate: NonNegative = 1e-2
    baseline_learning_rate: NonNegative = 5e-4
    marginal: Count = 16
    """Other contexts over which a reply's probability is averaged, for the test of choices."""
    choice_contexts: Count = 300
    """Test contexts of the test of choices, at most."""
    judge_steps: Natural = 0
    """Steps of the judges, critics like that of the game that are trained to tell humans from the trained generator; 0:
    no judges."""
    judge_controls: bool = False
    """Train judges of tasks with known answers, too."""
    start: Path | None = None
    """A finished run with the same generator to begin from."""

    def check(self) -> None:
        super().check()
        self.check_without_context("a reply is conditioned on its context")


def open_pairs(config: RepliesConfig, layout: Literal["dialogue", "story"]) -> Splits:
    if config.data == NUMERALS:
        return numerals()
    return sentence_pairs(
        config.data, config.data_dir, layout=layout, length=config.length, context_length=config.context_length,
        min_count=config.min_count, long="cut",
    )  # fmt: skip


def experiment(config: RepliesConfig, data: Splits, separators: tuple[str, ...], **options: Any) -> Experiment:
    """The model on the data.

    Args:
        separators: words that end a turn of a context.
        options: of the `Experiment`.
    """
    train = data.train
    sizes = len(train.vocabulary), len(train.context_vocabulary)
    model = AdversarialDialogue(
        AttentionSeq2Seq(*sizes, train.event_shape[0], config.width, cell=config.cell, dropout=config.dropout),
        critic=critic(config, data.train, separators),
        reward=reward(config), baseline=0.0 if config.baseline == "none" else config.baseline,
        mle_steps=config.mle_steps, critic_steps=config.critic_steps, critic_moves=config.critic_moves,
        monitor=("nll_per_token", "min"),
    )  # fmt: skip
    make = {"sgd": optax.sgd, "adam": optax.adam}[config.optimizer]
    rates = {"critic": config.critic_learning_rate}
    rates |= dict.fromkeys(("policy", "teacher_forcing"), config.policy_learning_rate)
    optimizers = {"mle": optax.adam(config.learning_rate)} | {name: make(rate) for name, rate in rates.items()}
    optimizers = {name: optax.chain(optax.clip_by_global_norm(5.0), one) for name, one in optimizers.items()}
    optimizers["policy"] = by_player(generator=optimizers["policy"], baseline=make(config.baseline_learning_rate))
    only = {"mle": ("mle",), "teacher_forcing": ("teacher_forcing",)}.get(config.system)
    plays = None if only is None else {name: model.plays()[name] for name in only}
    played = plays or {name for phase in model.phases(config.steps) for name in phase.plays}
    optimizers = {name: one for name, one in optimizers.items() if name in played}
    start = None if config.start is None else {"generator": jaxgen.load(config.start).variables["generator"]}
    return Experiment(model, plays=plays, optimizers=optimizers, start=start, draws=1, **options)


def critic(config: RepliesConfig, train: TokenSource, separators: tuple[str, ...]) -> Any:
    if config.critic == "n_grams":
        return NGramCritic(crossed=config.with_context, per_token=True)
    known = train.context_vocabulary.encode([[word] for word in separators], 1)[:, 0].tolist()
    return TurnCritic(
        max(len(train.vocabulary), len(train.context_vocabulary)), config.critic_width, cell=config.cell,
        with_context=config.with_context, separators=tuple(token for token in known if token != UNKNOWN),
    )  # fmt: skip


def reward(config: RepliesConfig) -> Reward:
    return {
        "prefix": PrefixReward(), "rollouts": RolloutReward(config.rollouts), "sequence": SequenceReward(),
        "constant": ConstantReward(),
    }[config.reward]  # fmt: skip


def choices(
    trained: TrainedModel, config: RepliesConfig, context: np.ndarray, right: np.ndarray, wrong: np.ndarray
) -> dict[str, float]:
    """`choice_metrics` on at most `choice_contexts` of the test contexts."""
    chosen = np.linspace(0, len(context) - 1, min(config.choice_contexts, len(context))).astype(int)
    return choice_metrics(trained, context[chosen], right[chosen], wrong[chosen], config.marginal)


def choice_metrics(
    trained: TrainedModel, context: np.ndarray, right: np.ndarray, wrong: np.ndarray, marginal: int
) -> dict[str, float]:
    """How often the trained model prefers right replies to wrong ones, by three scores, with the replies' own contexts
    and with the contexts of other examples in their place, where nothing but the replies themselves can tell.

    `choice` is by the mean of log p over a reply's words, high for common ones in any context. `choice by information`
    is by log p(y|x) - log p(y), where p(y) is the mean of p(y|x) over the contexts of other examples: one more of these
    lowers it, the more the rarer the reply. `choice by gain` is by log p(y|x) less its mean over these contexts; since
    all of them are drawn alike, one more of them is as often above as below: the control is 0.5.

    Args:
        context: [N, S].
        right, wrong: [N, R, T] and [N, W, T].
        marginal: number of other contexts of a reply.

    Raises:
        ValueError: too few contexts.
    """
    replies = np.concatenate([right, wrong], 1)
    (n, several, length), number = replies.shape, right.shape[1]
    if n < marginal + 2:
        raise ValueError(f"`marginal` must be at most {n - 2} for {n} contexts, got {marginal}")
    flat = replies.reshape(-1, length)
    # far away: neighbours may belong to one dialogue
    own, *others, other = (np.roll(context, n * k // (marginal + 2), 0) for k in range(marginal + 2))

    def log_prob(context: np.ndarray) -> np.ndarray:
        contexts = np.repeat(context, several, 0)
        return np.asarray(in_chunks(trained.log_prob, flat, contexts, size=PART)).reshape(n, several)

    each = np.stack([log_prob(contexts) for contexts in others])
    marginals = {"information": np.logaddexp.reduce(each, 0) - np.log(marginal), "gain": each.mean(0)}
    size, result = np.asarray(lengths(replies, trained.end)), {}
    for name, contexts in {"": own, " with other contexts": other}.items():
        conditional = log_prob(contexts)
        scores = {"choice": conditional / size}
        scores |= {f"choice by {by}": conditional - value for by, value in marginals.items()}
        for score, values in scores.items():
            result[score + name] = float(choice_accuracy(values[:, :number], values[:, number:]))
    return result


def word_overlap(context: np.ndarray, replies: np.ndarray) -> np.ndarray:
    """The number of different words of replies [N, R, T] that occur in their context [N, S] and are not among the most
    frequent ones: [N, R].
    """
    least = UNKNOWN + 1 + FREQUENT
    sets = [{word for word in one.tolist() if word >= least} for one in context]
    return np.array([
        [len(words & set(reply.tolist())) for reply in several] for words, several in zip(sets, replies, strict=True)
    ])  # fmt: skip


def reply_metrics(
    trained: TrainedModel, config: RepliesConfig, train: TokenSource, test: TokenSource, per_context: int,
    separators: tuple[str, ...],
) -> dict[str, float]:  # fmt: skip
    """BLEU-2 of greedy replies and of samples, with all references; distinct n-grams of samples and of humans' replies;
    the mean length of samples; and the judges' verdicts.

    Args:
        per_context: number of test examples in a row that have the same context.
        separators: words that end a turn of a context.
    """
    key, one = jax.random.key(config.seed), test.subset(np.arange(0, len(test), per_context))
    context, humans = one.arrays["context"], one.arrays["x"]
    sampled, greedy = sample(trained, key, context), sample(trained, key, context, 0.0)
    words = {"samples": one.vocabulary.decode(sampled), "humans": one.vocabulary.decode(humans)}
    metrics = {
        "bleu-2": bleu(one, greedy, 2),
        "bleu-2 of samples": bleu(one, sampled, 2),
        "words": float(np.mean([len(reply) for reply in words["samples"]])),
    }
    for name, replies in words.items():
        numbered = _numbered(replies)
        metrics |= {f"distinct-{n} of {name}": distinct_n_grams(numbered, n) for n in (1, 2)}
    if config.judge_steps:
        judge = critic(dataclasses.replace(config, with_context=True), train, separators)
        schedule = config.judge_steps, JUDGE_LEARNING_RATES[config.critic]
        metrics |= judgements(trained, judge, train, one, *schedule, config.seed, sample, config.judge_controls)
    return metrics


def sample(trained: TrainedModel, key: jax.Array, context: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """A reply to each context: int [N, T]."""
    counter = iter(range(len(context)))

    def part(context: np.ndarray) -> Any:
        return trained.sample(jax.random.fold_in(key, next(counter)), len(context), context, temperature)

    return np.asarray(in_chunks(part, context, size=PART))


def _numbered(replies: list[list[str]]) -> list[list[int]]:
    numbers: dict[str, int] = {}
    return [[numbers.setdefault(word, len(numbers)) for word in words] for words in replies]


def lines(trained: TrainedModel, test: TokenSource, seed: int) -> dict[str, list[str]]:
    """By context, replies of a human and of the model: greedy, and a sample."""
    source = test.subset(np.linspace(0, len(test) - 1, EXAMPLES).astype(int))
    context = source.arrays["context"]
    greedy = source.texts(sample(trained, jax.random.key(seed), context, 0.0))
    sampled = source.texts(sample(trained, jax.random.key(seed), context))
    rows = zip(source.context_texts(context), source.texts(source.arrays["x"]), greedy, sampled, strict=True)
    return {
        f"{i}. {text}": [f"human:   {human}", f"greedy:  {one}", f"sampled: {other}"]
        for i, (text, human, one, other) in enumerate(rows, 1)
    }


def plot_replies(trained: TrainedModel, test: TokenSource, seed: int) -> Any:
    return plotting.texts(lines(trained, test, seed))


PRESET: Mapping[str, Any] = {
    "width": 128, "critic_width": 128, "dropout": 0.0, "context_length": 30, "optimizer": "adam", "ema": 0.99,
    "critic": "n_grams", "critic_moves": 2, "critic_learning_rate": 1e-2, "policy_learning_rate": 5e-4,
    "baseline_learning_rate": 1e-2, "choice_contexts": 200,
}  # fmt: skip
"""For tens of thousands of examples on a CPU."""
