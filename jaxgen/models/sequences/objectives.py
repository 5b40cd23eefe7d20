"""What a sequence GAN's generator minimises: rewards of its samples by a critic, and the loss made of them.

    rollout rewards    Q_t = E D(y_1..y_t, completed)       L = -sum_t Q_t log G(y_t | y_<t)
    constant reward    Q_t = c
    MaliGAN            w = exp(a) / sum_batch exp(a)        L = -sum_i (w_i - b / m) log G(y_i)

where a is the critic's logit and D = sigmoid(a). The critic judges without dropout; no gradient flows through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts, check_number
from jaxgen.contracts import Array, Clock, Collections, Key
from jaxgen.losses.sequences import effective_sample_size, maligan, policy_gradient, sequence_log_probs
from jaxgen.nets.token_sampling import rollout_rewards
from jaxgen.tokens import token_mask

LAGGING = "lagging"
"""The generator's collection, memory, with the parameters of the policy that completes prefixes."""


class PolicyStep(NamedTuple):
    """What an objective sees of a policy step.

    Attributes:
        tokens: the generator's samples, int32 [B, T].
        log_probs: log G(y_t | y_<t) of the samples, [B, T].
        generator: the network and its variables.
        logits: the critic's function of tokens [M, T], [M].
        end: the token that ends a sequence, or None.
    """

    tokens: Array
    log_probs: Array
    generator: tuple[nn.Module, Collections]
    logits: Callable[[Array], Array]
    end: int | None
    key: Key
    clock: Clock


@dataclasses.dataclass(frozen=True)
class Objective:
    """The base class of generators' objectives.

    `uses_critic` is False if the objective needs no critic; then none is trained.
    """

    uses_critic = True

    def loss(self, step: PolicyStep) -> tuple[Array, Mapping[str, Array]]:
        """The loss of a policy step, and metrics."""
        raise NotImplementedError

    def memory(self, generator: Collections) -> Collections:
        """The generator's memory after a policy step."""
        return {}

    def begin(self, generator: Collections) -> Collections:
        """The generator's memory before the first policy step."""
        return {}


@dataclasses.dataclass(frozen=True)
class RolloutReward(Objective):
    """SeqGAN's: each token's reward is the mean of D over completions of the sequence up to it. Without a discount.

    Yu et al. 2017, "SeqGAN", equations 4 and 6. The paper completes prefixes with a policy that follows the generator
    slowly. In the authors' code it does not: its update has no effect on the compiled graph, and the generator itself
    completes them.

    Attributes:
        rollouts: completions of each prefix.
        baseline: subtracted from the rewards.
        lag: None: the generator completes prefixes. Otherwise a copy of it does, theta' <- lag theta' + (1 - lag) theta
            after each policy step, as in the paper; the code would have 0.8.
    """

    rollouts: int = 16
    baseline: float = 0.0
    lag: float | None = None

    def __post_init__(self):
        check_counts(rollouts=self.rollouts)
        check_number("lag", self.lag, 0, 1)

    def rewards(self, step: PolicyStep) -> Array:
        """Q [B, T]."""
        network, collections = step.generator
        if self.lag is not None:
            collections = {**collections, "params": collections[LAGGING]}

        def score(tokens: Array, context: Array | None) -> Array:
            return nn.sigmoid(step.logits(tokens))

        return rollout_rewards(score, network, collections, step.key, step.tokens, self.rollouts, end=step.end)

    def loss(self, step: PolicyStep) -> tuple[Array, Mapping[str, Array]]:
        """Metric `reward`, the mean of D on the samples."""
        rewards, mask = self.rewards(step), token_mask(step.tokens, step.end)
        value = policy_gradient(step.log_probs, rewards, mask, self.baseline)
        return value, {"reward": rewards[:, -1].mean()}

    def memory(self, generator: Collections) -> Collections:
        if self.lag is None:
            return {}
        new = optax.incremental_update(generator["params"], generator[LAGGING], 1 - self.lag)
        return {LAGGING: lax.stop_gradient(new)}

    def begin(self, generator: Collections) -> Collections:
        return {} if self.lag is None else {LAGGING: generator["params"]}


@dataclasses.dataclass(frozen=True)
class ConstantReward(Objective):
    """A control without information: the expected gradient is zero."""

    value: float = 0.5
    uses_critic = False

    def loss(self, step: PolicyStep) -> tuple[Array, Mapping[str, Array]]:
        rewards = jnp.full_like(step.log_probs, self.value)
        return policy_gradient(step.log_probs, rewards, token_mask(step.tokens, step.end)), {}


@dataclasses.dataclass(frozen=True)
class MaliGANObjective(Objective):
    """MaliGAN's normalised weights, of whole sequences (basic), or of tokens by completions (full).

    Che et al. 2017, "Maximum-Likelihood Augmented Discrete Generative Adversarial Networks".

    Attributes:
        rollouts: completions of each prefix, over which exp(a) is averaged before the weights are normalised over the
            batch at each position; None: one weight for all tokens of a sequence.
        ramp: policy steps in which the baseline b rises from 0 to 1; 0: b = 1 from the first one.
    """

    rollouts: int | None = None
    ramp: int = 0

    def __post_init__(self):
        check_counts(0, ramp=self.ramp)
        if self.rollouts is not None:
            check_counts(rollouts=self.rollouts)

    def loss(self, step: PolicyStep) -> tuple[Array, Mapping[str, Array]]:
        """Metric `effective_samples`, 1 / sum_i w_i^2: of all in the batch, how many the gradient is made of."""
        logits, mask = step.logits(step.tokens), token_mask(step.tokens, step.end)
        baseline = jnp.minimum(1.0, step.clock.moves / self.ramp) if self.ramp else 1.0
        metrics = {"effective_samples": effective_sample_size(logits)}
        if self.rollouts is None:
            return maligan(sequence_log_probs(step.log_probs, mask), logits, baseline), metrics
        # weights are normalised: a common factor has no effect, and without it exp would overflow
        greatest = logits.max()

        def ratio(tokens: Array, context: Array | None) -> Array:
            return jnp.exp(jnp.minimum(step.logits(tokens) - greatest, 30.0))

        network, collections = step.generator
        ratios = rollout_rewards(ratio, network, collections, step.key, step.tokens, self.rollouts, end=step.end)
        log_probs = jnp.where(mask > 0, step.log_probs, 0)
        return maligan(log_probs, jnp.log(jnp.maximum(ratios, 1e-30)), baseline), metrics


def true_labels(key: Key, labels: Array) -> Array:
    """The labels as they are."""
    return labels


def shuffled_labels(key: Key, labels: Array) -> Array:
    """A control: the labels in random order, from which a critic learns nothing."""
    return jax.random.permutation(key, labels)

