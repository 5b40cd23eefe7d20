"""Rewards of the tokens of sampled replies: estimates of how probable the critic finds what they lead to.

Each is a value of `AdversarialDialogue.reward`, a function of the model, its variables, a key, replies [B, T] and
contexts [B, S] with values [B, T]. If it is `partial`, the critic learns from prefixes of replies.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import linen as nn

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Key, Variables
from jaxgen.nets.token_sampling import rollout_rewards


@dataclasses.dataclass(frozen=True)
class PrefixReward:
    """Q_t = D(x, y_1..y_t), of a critic of partial sequences: one pass for all of them (REGS)."""

    partial: ClassVar[bool] = True

    def __call__(self, model: Any, variables: Variables, key: Key, tokens: Array, context: Array) -> Array:
        return nn.sigmoid(model.critic_logits(variables, tokens, context))


@dataclasses.dataclass(frozen=True)
class CompletionReward:
    """Q_t = the mean of D(x, y'') over n completions y'' of y_1..y_t by the generator (Monte Carlo search)."""

    n: int = 5
    partial: ClassVar[bool] = False

    def __post_init__(self):
        check_counts(n=self.n)

    def __call__(self, model: Any, variables: Variables, key: Key, tokens: Array, context: Array) -> Array:
        def score(tokens: Array, _: Array) -> Array:
            return nn.sigmoid(model.whole_logits(variables, tokens, context))

        options = {"n": self.n, "context": context, "end": model.end, "never": model.unknown}
        return rollout_rewards(score, model.generator, variables["generator"], key, tokens, **options)


@dataclasses.dataclass(frozen=True)
class SequenceReward:
    """Q_t = D(x, y) of the whole reply for each of its tokens: REINFORCE."""

    partial: ClassVar[bool] = False

    def __call__(self, model: Any, variables: Variables, key: Key, tokens: Array, context: Array) -> Array:
        whole = nn.sigmoid(model.whole_logits(variables, tokens, context))
        return jnp.broadcast_to(whole[:, None], tokens.shape)


@dataclasses.dataclass(frozen=True)
class UniformReward:
    """The control without information: its policy gradient is zero in expectation. The critic learns nothing."""

    value: float = 0.5
    partial: ClassVar[bool] = False

    def __call__(self, model: Any, variables: Variables, key: Key, tokens: Array, context: Array) -> Array:
        return jnp.full_like(tokens, self.value, jnp.float32)
