"""Adversarial dialogue (Li et al. 2017, "Adversarial Learning for Neural Dialogue Generation").

A generator G of replies y to a context x is a policy. A critic D of pairs (x, y) tells humans' replies from those of G,
and its probabilities are the rewards:

    mle                L = -sum_t log G(y_t | y_<t, x),  y a human's
    critic             L = -E log D(x, y) - E log(1 - D(x, y')),  y' ~ G
    policy             L = -sum_t (Q_t - b(x)) log G(y'_t | y'_<t, x) + (b(x) - mean_t Q_t)^2,  y' ~ G
    teacher_forcing    as mle, after each step of the policy: a human's reply with reward 1

Q_t is the mean of D over completions of y'_1..y'_t (`RolloutReward`, equation 3), or the probability that a critic
of partial sequences gives y'_1..y'_t (`PrefixReward`; "reward for every generation step", REGS): that critic learns
from one prefix of each reply, whose length is uniform, because all of them would teach it mostly about beginnings. b is
linear in the state that the encoder leaves to the decoder. The critic makes `critic_moves` steps for each step of the
generator. The authors' released code has no critic of partial sequences, and gives the last token the reward of the one
before it.

An unknown word is never sampled. So the critic learns from no prefix with one: it would know humans by these words, and
its rewards would be the same for all that the generator writes.

The same game tells the endings of stories: a context of sentences, and one after them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jax import lax

from jaxgen.arguments import check_counts
from jaxgen.contracts import Array, Batch, Clock, Every, Key, LossOutput, Phase, Play, Variables
from jaxgen.losses.sequences import policy_gradient
from jaxgen.models.forward import forward, without_statistics
from jaxgen.models.sequences.conditional import ConditionalSequences, tokens_and_context
from jaxgen.models.sequences.rewards import PolicyStep, PrefixReward, Reward
from jaxgen.nets.token_sampling import sample_tokens, without_token
from jaxgen.tokens import lengths, log_probs_of, token_mask

REWARDS = "rewards"
"""The critic's collection, memory, with the mean reward of all earlier policy steps."""


@dataclasses.dataclass(frozen=True)
class AdversarialDialogue(ConditionalSequences):
    """Players `generator`, `critic` and, with a learned baseline, `baseline`; plays as above.

    Attributes:
        critic: from replies [N B, T] and contexts [B, S] to the logits of all prefixes [N B, T], such as `TurnCritic`
            or `NGramCritic(per_token=True)`.
        reward: Q: `PrefixReward()`, `RolloutReward(5)`, `SequenceReward()`, or the control `ConstantReward()`.
        baseline: b: `learned`, the `mean` of earlier rewards, or a number. `learned` needs a generator whose first
            state depends on the context, such as `AttentionSeq2Seq`.
        mle_steps, critic_steps: of the first and the second phase, in which the critic alone learns.
        critic_moves: steps of the critic for each of the generator.
        unknown: the token of unknown words; None: none.

    Raises:
        ValueError: numbers out of range; a critic with batch statistics.
    """

    _: dataclasses.KW_ONLY
    critic: nn.Module
    reward: Reward = PrefixReward()
    baseline: Literal["learned", "mean"] | float = "learned"
    mle_steps: int = 10_000
    critic_steps: int = 1_000
    critic_moves: int = 5
    unknown: int | None = 1

    def __post_init__(self):
        check_counts(0, mle_steps=self.mle_steps, critic_steps=self.critic_steps)
        check_counts(critic_moves=self.critic_moves)
        if isinstance(self.baseline, str) and self.baseline not in ("learned", "mean"):
            raise ValueError(f"`baseline` must be 'learned', 'mean' or a number, got {self.baseline!r}")

    def init(self, key: Key, batch: Batch) -> Variables:
        generator_key, critic_key, baseline_key = jax.random.split(key, 3)
        pair = tokens_and_context(batch)
        critic = without_statistics("critic", self.critic.init(critic_key, *pair))
        variables = {
            "generator": self.reward.begin(super().init(generator_key, batch)["generator"]),
            "critic": {**critic, REWARDS: {"mean": jnp.zeros(())}},
        }
        if self.baseline == "learned":
            state = self._encoded(variables, pair[1])
            variables["baseline"] = _baseline.init(baseline_key, state)
        return variables

    def plays(self) -> Mapping[str, Play]:
        """All plays; `phases` has the schedule. Optimizers are plain gradient descent with clipped gradients, as in the
        authors' code, whose rates are 0.01 (critic), 1 over the tokens of a batch (generator), and 0.0005 (baseline).
        """
        critic = optax.chain(optax.clip_by_global_norm(5.0), optax.sgd(1e-2))
        generator = optax.chain(optax.clip_by_global_norm(5.0), optax.sgd(1e-2))
        policy = by_player(generator=generator, baseline=optax.sgd(5e-4))
        after = Every(self.critic_moves)
        players = ("generator", "baseline") if self.baseline == "learned" else ("generator",)
        return {
            **super().plays(),
            "critic": Play(("critic",), self.critic_loss, critic),
            "policy": Play(players, self.policy_loss, policy, after),
            "teacher_forcing": Play(("generator",), self.mle_loss, generator, after, accumulates=True),
        }

    def phases(self, steps: int) -> tuple[Phase, ...]:
        """`mle_steps`, `critic_steps`, and the rest in rounds of `critic_moves` steps; the generator moves in the
        last."""
        plays, mle = dict(self.plays()), min(steps, self.mle_steps)
        critic = min(steps - mle, self.critic_steps) if self.reward.uses_critic else 0
        rounds = ("policy", "teacher_forcing")
        if self.reward.uses_critic:
            rounds = ("critic", *rounds)
        phases = (
            Phase({"mle": plays["mle"]}, mle),
            Phase({"critic": plays["critic"]}, critic),
            Phase(
                {name: plays[name] for name in rounds}, steps - mle - critic, enter=self.begin_rounds,
                fresh_optimizers=False,
            ),
        )
        return tuple(phase for phase in phases if phase.steps)

    def begin_rounds(self, variables: Variables, batch: Batch, key: Key) -> Variables:
        """The variables with the reward's memory as of now."""
        return {**variables, "generator": self.reward.begin(variables["generator"])}

    def critic_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metric `accuracy`, on humans' replies without unknown words and those of the generator, or on prefixes of
        both."""
        sample_key, critic_key, *position_keys = jax.random.split(key, 4)
        real, context = tokens_and_context(batch)
        fake = self.sample(lax.stop_gradient(variables), sample_key, len(real), context)
        both = jnp.concatenate([real, fake])
        logits, _ = forward(self.critic, variables["critic"], both, context, key=critic_key)
        positions = [self._judged(tokens, key) for tokens, key in zip((real, fake), position_keys, strict=True)]
        on_real, on_fake = map(_at, jnp.split(logits, 2), positions)
        known = self._known(real, positions[0])
        value = _mean(nn.softplus(-on_real), known) + nn.softplus(on_fake).mean()
        return LossOutput(value, {"accuracy": (_mean(on_real > 0, known) + (on_fake <= 0).mean()) / 2})

    def policy_loss(self, variables: Variables, batch: Batch, key: Key, clock: Clock) -> LossOutput:
        """Metrics: the mean `reward`, the `baseline`, and the `length` of the samples in tokens."""
        sample_key, reward_key = jax.random.split(key)
        _, context = tokens_and_context(batch)
        fixed = lax.stop_gradient(variables)
        tokens = self.sample(fixed, sample_key, len(context), context)
        mask = token_mask(tokens, self.end)
        logits, _ = forward(self.generator, variables["generator"], tokens, context)
        log_probs = log_probs_of(without_token(logits, self.unknown), tokens)
        step = PolicyStep(
            tokens, log_probs, (self.generator, fixed["generator"]),
            lambda x: self.whole_logits(fixed, x, context), reward_key, clock, self.end, self.unknown, context,
            lambda x: self.critic_logits(fixed, x, context),
        )  # fmt: skip
        rewards = lax.stop_gradient(self.reward(step))
        means = (mask * rewards).sum(1) / mask.sum(1)
        baseline, error = self._baseline(variables, context), 0.0
        if self.baseline == "learned":
            error = jnp.square(baseline - means).mean()
        baselines = jnp.broadcast_to(jnp.reshape(baseline, (-1, 1)), tokens.shape)
        value = policy_gradient(log_probs, rewards, mask, baselines) + error
        metrics = {"reward": means.mean(), "baseline": jnp.mean(baseline), "length": mask.sum(1).mean()}
        running = variables["critic"][REWARDS]["mean"]
        running += (means.mean() - running) / (clock.moves + 1)
        memory = {
            "critic": {REWARDS: {"mean": lax.stop_gradient(running)}},
            "generator": self.reward.memory(variables["generator"]),
        }
        return LossOutput(value, metrics, memory=memory)

    def sample(
        self, variables: Variables, key: Key, n: int, context: Array, temperature: float | Array = 1.0,
        top_k: int | None = None,
    ) -> Array:  # fmt: skip
        """n replies, int32 [n, T], given contexts [n, S] or [1, S], without unknown words (`sample_tokens`)."""
        options = {"temperature": temperature, "top_k": top_k, "end": self.end, "never": self.unknown}
        return sample_tokens(self.generator, variables["generator"], key, n, context, **options)

    def critic_logits(self, variables: Variables, x: Array, context: Array) -> Array:
        """The critic's logits of all prefixes of replies, without dropout: [N B, T]."""
        return forward(self.critic, variables["critic"], x, context, train=False)[0]

    def whole_logits(self, variables: Variables, x: Array, context: Array) -> Array:
        """The critic's logits of whole replies, without dropout: [N B]."""
        return _at(self.critic_logits(variables, x, context), lengths(x, self.end) - 1)

    def evaluate(self, variables: Variables, batch: Batch, key: Key) -> Mapping[str, Array]:
        """As `ConditionalSequences`. `critic_accuracy` on whole replies of humans, those without unknown words, and of
        the generator; and in how many humans' replies the critic prefers their own context to that of another, 0.5 for
        a critic that does not look.
        """
        tokens, context = tokens_and_context(batch)
        real, other = (self.whole_logits(variables, tokens, c) for c in (context, jnp.roll(context, 1, 0)))
        fake = self.whole_logits(variables, self.sample(variables, key, len(tokens), context), context)
        known = self._known(tokens, lengths(tokens, self.end) - 1)
        metrics = {
            "critic_accuracy": (_mean(real > 0, known) + (fake <= 0).mean()) / 2,
            "critic_context_preference": ((real > other) + 0.5 * (real == other)).mean(),
        }
        return {**super().evaluate(variables, batch, key), **metrics}

    def _judged(self, tokens: Array, key: Key) -> Array:
        """The position of each reply whose prefix the critic learns from: [B]."""
        size = lengths(tokens, self.end)
        if not self.reward.partial:
            return size - 1
        return jnp.minimum((jax.random.uniform(key, size.shape) * size).astype(jnp.int32), size - 1)

    def _known(self, tokens: Array, position: Array) -> Array:
        """1 for replies without an unknown word up to a position [B], else 0: [B]."""
        if self.unknown is None:
            return jnp.ones(position.shape)
        return 1.0 - _at(lax.cummax((tokens == self.unknown).astype(jnp.float32), 1), position)

    def _baseline(self, variables: Variables, context: Array) -> Array:
        """b [B] or a scalar."""
        if self.baseline == "learned":
            state = self._encoded(lax.stop_gradient(variables), context)
            return forward(_baseline, variables["baseline"], state)[0][:, 0]
        return variables["critic"][REWARDS]["mean"] if self.baseline == "mean" else jnp.float32(self.baseline)

    def _encoded(self, variables: Variables, context: Array) -> Array:
        """The decoder's first state [B, W]."""
        carry, _ = forward(self.generator, variables["generator"], context[:, 0], context, method="begin")[0]
        state, _ = carry
        return jax.tree.leaves(state)[-1]


def by_player(**optimizers: optax.GradientTransformation) -> optax.GradientTransformation:
    """An optimizer for each player of a play."""
    return optax.multi_transform(optimizers, lambda params: {player: player for player in params})


_baseline = nn.Dense(1, kernel_init=nn.initializers.zeros)
"""The learned baseline."""


def _at(logits: Array, position: Array) -> Array:
    """[B] of [B, T]."""
    return jnp.take_along_axis(logits, position[:, None], 1)[:, 0]


def _mean(values: Array, weights: Array) -> Array:
    """The weighted mean of values [B]; 0 without weight."""
    return (weights * values).sum() / jnp.maximum(weights.sum(), 1)
