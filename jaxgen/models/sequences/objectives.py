"""What a sequence GAN's generator minimises: the loss made of its samples and of what a critic finds in them.

    policy gradient    L = -sum_t (Q_t - b) log G(y_t | y_<t), with rewards Q (`jaxgen.models.sequences.rewards`)
    MaliGAN            L = -sum_i (w_i - b / m) log G(y_i),  w = exp(a) / sum_batch exp(a)

where a is the critic's logit. The critic judges without dropout; no gradient flows through it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Collections, Key
from jaxgen.losses.sequences import effective_sample_size, maligan, policy_gradient, sequence_log_probs
from jaxgen.models.sequences.rewards import PolicyStep, Reward, RolloutReward
from jaxgen.tokens import token_mask


@dataclasses.dataclass(frozen=True)
class Objective:
    """The base class of generators' objectives."""

    @property
    def uses_critic(self) -> bool:
        """False if the objective needs no critic; then none is trained."""
        return True

    def loss(self, step: PolicyStep) -> tuple[Array, Mapping[str, Array]]:
        """The loss of a policy step, and metrics."""
        raise NotImplementedError

    def memory(self, generator: Collections) -> Collections:
        """The generator's memory after a policy step."""
        return {}

    def begin(self, generator: Collections) -> Collections:
        """The generator with its memory before the first policy step."""
        return generator


@dataclasses.dataclass(frozen=True)
class PolicyGradient(Objective):
    """SeqGAN's: the policy gradient of a reward of each token.

    Attributes:
        reward: Q.
        baseline: b, subtracted from the rewards.
    """

    reward: Reward = RolloutReward()
    baseline: float = 0.0

    @property
    def uses_critic(self) -> bool:
        return self.reward.uses_critic

    def loss(self, step: PolicyStep) -> tuple[Array, Mapping[str, Array]]:
        """Metric `reward`, the mean of the last one of each sample: of D, for a critic of sequences."""
        rewards, mask = self.reward(step), token_mask(step.tokens, step.end)
        value = policy_gradient(step.log_probs, rewards, mask, self.baseline)
        return value, {"reward": rewards[:, -1].mean()}

    def memory(self, generator: Collections) -> Collections:
        return self.reward.memory(generator)

    def begin(self, generator: Collections) -> Collections:
        return self.reward.begin(generator)


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

        def ratio(tokens: Array) -> Array:
            return jnp.exp(jnp.minimum(step.logits(tokens) - greatest, 30.0))

        ratios = RolloutReward(self.rollouts).mean(step, ratio)
        log_probs = jnp.where(mask > 0, step.log_probs, 0)
        return maligan(log_probs, jnp.log(jnp.maximum(ratios, 1e-30)), baseline), metrics


def true_labels(key: Key, labels: Array) -> Array:
    """The labels as they are."""
    return labels


def shuffled_labels(key: Key, labels: Array) -> Array:
    """A control: the labels in random order, from which a critic learns nothing."""
    return jax.random.permutation(key, labels)

