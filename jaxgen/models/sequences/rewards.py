"""Rewards of the tokens that a policy samples: how probable a critic finds what they lead to.

    rollouts    Q_t = E D(y_1..y_t, completed by the policy)
    prefixes    Q_t = D(y_1..y_t), of a critic of partial sequences
    sequence    Q_t = D(y_1..y_T)
    constant    Q_t = c

where D is the sigmoid of the critic's logit. The critic judges without dropout; no gradient flows through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Clock, Collections, Key
from jaxgen.nets.token_sampling import rollout_rewards

LAGGING = "lagging"
"""The generator's collection, memory, with the parameters of the policy that completes prefixes."""


class PolicyStep(NamedTuple):
    """What rewards and objectives see of a policy step.

    Attributes:
        tokens: the generator's samples, int32 [B, T].
        log_probs: log G(y_t | y_<t) of the samples, [B, T].
        generator: the network and its variables.
        logits: the critic's function of whole sequences [M, T], [M].
        key, clock: of the step.
        end: the token that ends a sequence, or None.
        never: a token that is never sampled, or None.
        context: what the samples are conditioned on, [B, ...], or None.
        prefix_logits: the critic's function of sequences [M, T] to the logits of all their prefixes [M, T]; None for a
            critic of whole sequences.
    """

    tokens: Array
    log_probs: Array
    generator: tuple[nn.Module, Collections]
    logits: Callable[[Array], Array]
    key: Key
    clock: Clock
    end: int | None = None
    never: int | None = None
    context: Array | None = None
    prefix_logits: Callable[[Array], Array] | None = None


@dataclasses.dataclass(frozen=True)
class Reward:
    """The base class of rewards: functions of a `PolicyStep` with values Q [B, T].

    `uses_critic` is False if no critic is needed; then none is trained. If the reward is `partial`, the critic learns
    from prefixes.
    """

    uses_critic = True
    partial = False

    def __call__(self, step: PolicyStep) -> Array:
        raise NotImplementedError

    def memory(self, generator: Collections) -> Collections:
        """The generator's memory after a policy step."""
        return {}

    def begin(self, generator: Collections) -> Collections:
        """The generator with its memory before the first policy step."""
        return generator


@dataclasses.dataclass(frozen=True)
class RolloutReward(Reward):
    """The mean of D over completions of the sequence up to each token (Monte Carlo search), without a discount.

    Yu et al. 2017, "SeqGAN", equations 4 and 6. The paper completes prefixes with a policy that follows the generator
    slowly. In the authors' code it does not: its update has no effect on the compiled graph, and the generator itself
    completes them.

    Attributes:
        rollouts: completions of each prefix.
        lag: None: the generator completes prefixes. Otherwise a copy of it does, theta' <- lag theta' + (1 - lag) theta
            in each policy step, as in the paper, with the parameters theta before that step; the code would have 0.8.
    """

    rollouts: int = 16
    lag: float | None = None

    def __post_init__(self):
        check_counts(rollouts=self.rollouts)
        check_number("lag", self.lag, 0, 1)

    def __call__(self, step: PolicyStep) -> Array:
        return self.mean(step, lambda tokens: nn.sigmoid(step.logits(tokens)))

    def mean(self, step: PolicyStep, score: Callable[[Array], Array]) -> Array:
        """The mean of any score [M] of completions [M, T] of each prefix: [B, T]."""
        network, collections = step.generator
        if self.lag is not None:
            collections = {**collections, "params": collections[LAGGING]}
        return rollout_rewards(
            lambda tokens, _: score(tokens), network, collections, step.key, step.tokens, self.rollouts, step.context,
            end=step.end, never=step.never,
        )  # fmt: skip

    def memory(self, generator: Collections) -> Collections:
        if self.lag is None:
            return {}
        new = optax.incremental_update(generator["params"], generator[LAGGING], 1 - self.lag)
        return {LAGGING: lax.stop_gradient(new)}

    def begin(self, generator: Collections) -> Collections:
        return generator if self.lag is None else {**generator, LAGGING: generator["params"]}


@dataclasses.dataclass(frozen=True)
class PrefixReward(Reward):
    """What a critic of partial sequences gives each prefix, one pass for all of them ("reward for every generation
    step", REGS; Li et al. 2017, "Adversarial Learning for Neural Dialogue Generation", section 3.2).
    """

    partial = True

    def __call__(self, step: PolicyStep) -> Array:
        """Raises ValueError for a critic of whole sequences."""
        if step.prefix_logits is None:
            raise ValueError("`PrefixReward` requires a critic of partial sequences")
        return nn.sigmoid(step.prefix_logits(step.tokens))


@dataclasses.dataclass(frozen=True)
class SequenceReward(Reward):
    """D of the whole sequence for each of its tokens: REINFORCE."""

    def __call__(self, step: PolicyStep) -> Array:
        return jnp.broadcast_to(nn.sigmoid(step.logits(step.tokens))[:, None], step.tokens.shape)


@dataclasses.dataclass(frozen=True)
class ConstantReward(Reward):
    """A control without information: the expected gradient is zero."""

    value: float = 0.5
    uses_critic = False

    def __call__(self, step: PolicyStep) -> Array:
        return jnp.full_like(step.tokens, self.value, jnp.float32)
