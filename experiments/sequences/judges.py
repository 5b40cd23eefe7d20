"""Judges of replies: critics trained from scratch to tell humans' replies from a trained generator's, or from others.

Li et al. 2017, "Adversarial Learning for Neural Dialogue Generation", section 4: adversarial success is the fraction of
replies that the judge gets wrong, 0.5 at best. It means little if the judge fails at tasks with known answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax import lax

from jaxgen.contracts import Array
from jaxgen.data import TokenSource
from jaxgen.data.vocabulary import END, UNKNOWN
from jaxgen.tokens import lengths
from jaxgen.training import TrainedModel
from jaxgen.training.chunks import in_chunks

TRAINING = 6_000
"""Training examples at most."""
BATCH, PART = 64, 250
"""Examples of each kind in a batch, and those that are judged at a time."""


class Replies(NamedTuple):
    """Replies [N, T] to contexts [N, S]."""

    x: np.ndarray
    context: np.ndarray


def judgements(
    trained: TrainedModel, critic: nn.Module, train: TokenSource, test: TokenSource, steps: int, learning_rate: float,
    seed: int, sample: Callable[[TrainedModel, jax.Array, np.ndarray], np.ndarray], controls: bool = False,
) -> dict[str, float]:
    """Metrics of judges that learn from training contexts in `steps` steps, on test contexts.

    - `adversarial success`: errors of a judge of humans against the generator;
    - `machine or random reply`: accuracy of a judge of the generator's replies against humans' replies to other
      contexts, high if the generator's replies suit their contexts;

    and with `controls`

    - `human or random reply`: the same with humans' replies in place of the generator's;
    - `human or human`: the accuracy with humans' replies of both kinds, 0.5.

    Humans' replies with unknown words take no part, since the generator has none.
    """
    tasks: dict[str, list[tuple[Replies, Replies]]] = {}
    for i, source in enumerate((train, test)):
        known = np.flatnonzero((source.arrays["x"] != UNKNOWN).all(1))
        chosen = np.random.default_rng(seed).permutation(known)[:TRAINING]
        humans, context = source.arrays["x"][chosen], source.arrays["context"][chosen]
        half = len(humans) // 2
        human, random = Replies(humans, context), Replies(np.roll(humans, half, 0), context)
        machine = Replies(sample(trained, jax.random.fold_in(jax.random.key(seed), i), context), context)
        kinds = {"adversarial success": (human, machine), "machine or random reply": (machine, random)}
        if controls:
            halves = tuple(Replies(humans[part], context[part]) for part in (slice(half), slice(half, None)))
            kinds |= {"human or random reply": (human, random), "human or human": halves}
        for name, kind in kinds.items():
            tasks.setdefault(name, []).append(kind)
    accuracies = {name: judge_accuracy(critic, *splits, steps, learning_rate, seed) for name, splits in tasks.items()}
    return accuracies | {"adversarial success": 1 - accuracies["adversarial success"]}


def judge_accuracy(
    critic: nn.Module, train: tuple[Replies, Replies], test: tuple[Replies, Replies], steps: int, learning_rate: float,
    seed: int,
) -> float:  # fmt: skip
    """The test accuracy, the mean of both kinds', of a critic of prefixes trained on two kinds of whole replies."""
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(learning_rate))
    variables = critic.init(jax.random.key(seed), train[0].x[:2], train[0].context[:2])

    def logits(variables: Any, replies: Replies) -> Array:
        last = lengths(replies.x, END) - 1
        return jnp.take_along_axis(critic.apply(variables, *replies), last[:, None], 1)[:, 0]

    def loss(variables: Any, batch: tuple[Replies, Replies]) -> Array:
        first, second = (logits(variables, replies) for replies in batch)
        return nn.softplus(-first).mean() + nn.softplus(second).mean()

    def step(state: tuple[Any, Any], index: Array) -> tuple[tuple[Any, Any], None]:
        variables, memory = state
        batch = jax.tree.map(lambda array: array[index], train_on_device)
        updates, memory = optimizer.update(jax.grad(loss)(variables, batch), memory, variables)
        return (optax.apply_updates(variables, updates), memory), None

    train_on_device = jax.tree.map(jnp.asarray, train)
    rng, size = np.random.default_rng(seed), min(len(replies.x) for replies in train)
    indices = jnp.asarray(rng.integers(0, size, (steps, BATCH)))
    variables = jax.jit(lambda state, indices: lax.scan(step, state, indices)[0])(
        (variables, optimizer.init(variables)), indices
    )[0]
    judge = jax.jit(logits)
    first, second = (
        in_chunks(lambda x, context: judge(variables, Replies(x, context)), *replies, size=PART) for replies in test
    )
    return float((np.mean(first > 0) + np.mean(second <= 0)) / 2)
