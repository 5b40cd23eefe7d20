"""What a generator of discrete data minimises, from several samples of each latent and a critic's logits of them."""

from __future__ import annotations

import dataclasses
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

from jaxgen.contracts import Array
from jaxgen.losses.sequences import boundary_seeking, policy_gradient


class SampleObjective(Protocol):
    """The generator's loss, a mean over z, from M samples for each of B latents."""

    def __call__(self, log_probs: Array, logits: Array) -> Array:
        """A scalar from log g(x_m|z) and the critic's logits, [M, B] each, or [M, B, T] with one logit per position."""


@dataclasses.dataclass(frozen=True)
class DensityRatioWeights:
    """The paper's: -mean_z sum_m w_m log g(x_m|z), w the softmax of the logits over the M samples of the same z."""

    def __call__(self, log_probs: Array, logits: Array) -> Array:
        return boundary_seeking(log_probs, logits)


@dataclasses.dataclass(frozen=True)
class EqualWeights:
    """A control: weights 1/M, which say nothing, since E grad log g = 0."""

    def __call__(self, log_probs: Array, logits: Array) -> Array:
        return boundary_seeking(log_probs, jnp.zeros_like(logits))


@dataclasses.dataclass(frozen=True)
class Reinforce:
    """-mean_z mean_m (r_m - b_m) log g(x_m|z), whose gradient is minus that of E r (Williams 1992).

    Attributes:
        reward: `log_ratio`, the logit, for which the generator ascends -KL(g||p); `probability`, D, as SeqGAN.
        baseline: `others`, the mean reward of the other samples of the same z, which leaves the gradient unbiased;
            `none`.
    """

    reward: Literal["log_ratio", "probability"] = "log_ratio"
    baseline: Literal["others", "none"] = "others"

    def __post_init__(self):
        if self.reward not in ("log_ratio", "probability"):
            raise ValueError(f"`reward` must be 'log_ratio' or 'probability', got {self.reward!r}")
        if self.baseline not in ("others", "none"):
            raise ValueError(f"`baseline` must be 'others' or 'none', got {self.baseline!r}")

    def __call__(self, log_probs: Array, logits: Array) -> Array:
        m, rewards = len(logits), logits if self.reward == "log_ratio" else jax.nn.sigmoid(logits)
        baseline = jnp.zeros_like(rewards)
        if self.baseline == "others":
            baseline = (rewards.sum(0) - rewards) / max(m - 1, 1)
        # [M, B, ...] to [B, M ...]
        rows = (jnp.moveaxis(a, 0, 1).reshape(a.shape[1], -1) for a in (log_probs, rewards, baseline))
        log_probs, rewards, baseline = rows
        return policy_gradient(log_probs, rewards, baseline=baseline) / m
